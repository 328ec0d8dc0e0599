"""Record one training step of HypotheSAEs 2.0.1, for tests/sae/test_hypothesaes.py to compare ours with.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install torch==2.13.0 hypothesaes==2.0.1
    /tmp/peer/bin/python tools/record_hypothesaes.py        # writes tests/recorded/hypothesaes_2_0_1.json

Each case holds settings, weights, a batch, and what HypotheSAEs makes of them: loss, gradients, and the weights after
its step (projected gradient, clip, Adam, unit decoder). float64, so that the comparison needs no loose tolerance.
"""

import json
from importlib.metadata import version
from pathlib import Path

import torch
from hypothesaes.sae import SparseAutoencoder  # pyright: ignore[reportMissingImports]  (not installed by make test)

D_IN, M, K, ROWS = 6, 12, 3, 10
LR, CLIP, AUX_COEF, MULTI_COEF = 5e-4, 1.0, 1 / 32, 1 / 8
NAMES = {"encoder.weight": "W_enc", "decoder.weight": "W_dec", "neuron_bias": "b_enc", "input_bias": "b_dec"}
CASES = {
    "topk": {},
    "topk with dead latents": {"dead": [0, 3, 4, 7, 9, 10, 11]},
    "topk with fewer dead latents than aux_k": {"dead": [5, 6]},
    "matryoshka": {"prefix_lengths": [4, 12]},
    "matryoshka with dead latents": {"prefix_lengths": [4, 8, 12], "dead": [0, 3, 4, 7, 9, 10, 11]},
    "multi-k": {"multi_k": 6},
    "batchtopk": {"use_batch_topk": True},
    "batchtopk matryoshka with dead latents": {
        "use_batch_topk": True,
        "prefix_lengths": [4, 12],
        "dead": [1, 2, 3, 4, 5, 6, 7, 8],
    },
}


def record(case: dict, seed: int) -> dict:
    """Run one step of one case."""
    torch.manual_seed(seed)
    options = {key: value for key, value in case.items() if key != "dead"}
    sae = SparseAutoencoder(D_IN, M, K, device="cpu", **options).double()
    x = torch.randn(ROWS, D_IN, dtype=torch.float64) * 2 + 1
    sae.initialize_weights_(x)
    with torch.no_grad():
        sae.encoder.weight.add_(torch.randn_like(sae.encoder.weight) * 0.1)  # untie, so that a transpose shows
        sae.neuron_bias.copy_(torch.randn_like(sae.neuron_bias) * 0.1)
        for latent in case.get("dead", []):  # low enough not to fire, so that they stay dead in this step too
            sae.neuron_bias[latent] = -4.0 if latent % 2 else -1.0
            sae.encoder.weight[latent] *= 0.2
    for latent in case.get("dead", []):
        sae.steps_since_activation[latent] = 1000
    before = sae.steps_since_activation.clone()
    weights = _ours(sae.state_dict())
    optimiser = torch.optim.Adam(sae.parameters(), lr=LR)
    recon, info = sae(x)
    loss = sae.compute_loss(x, recon, info, aux_coef=AUX_COEF, multi_coef=MULTI_COEF)
    loss.backward()
    gradients = _ours({name: p.grad for name, p in sae.named_parameters()})
    sae.adjust_decoder_gradient_()
    torch.nn.utils.clip_grad_norm_(sae.parameters(), CLIP)
    optimiser.step()
    sae.normalize_decoder_()
    return {
        "settings": {"K": K, "M": M, "aux_coef": AUX_COEF, "multi_coef": MULTI_COEF, **options},
        "steps_silent": before.tolist(),
        "x": x.tolist(),
        "weights": weights,
        "latents": info["activations"].tolist(),
        "steps_silent_after": sae.steps_since_activation.tolist(),
        "loss": loss.item(),
        "gradients": gradients,
        "weights_after": _ours(sae.state_dict()),
    }


def _ours(tensors: dict) -> dict:
    """Rename and transpose to our W_enc (d_in, M) and W_dec (M, d_in)."""
    return {
        NAMES[name]: (tensor.T if tensor.ndim == 2 else tensor).tolist()
        for name, tensor in tensors.items()
        if name in NAMES
    }


def main(path: Path = Path("tests/recorded/hypothesaes_2_0_1.json")) -> None:
    """Record every case."""
    cases = {name: record(case, seed) for seed, (name, case) in enumerate(CASES.items())}
    content = {"hypothesaes": version("hypothesaes"), "lr": LR, "clip": CLIP, "cases": cases}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Record what SAELens 6.54.12 and dictionary_learning 0.1.0 measure, for tests/evaluation/test_peer_metrics.py.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch==2.13.0 sae-lens==6.54.12 dictionary-learning==0.1.0
    /tmp/peers/bin/pip uninstall -y torchvision
    /tmp/peers/bin/python tools/record_peer_metrics.py      # writes tests/recorded/peer_metrics.json

Their own evaluation functions run, on their own SAEs, in float64. SAELens' asks a language model for activations; here
a stand-in hands it the recorded ones, in batches of prompts. Its losses within the model come from a small random
HookedTransformer, whose logits are recorded as its function sees them; nothing is downloaded.
"""

import json
from importlib.metadata import version
from pathlib import Path

import torch
from dictionary_learning.evaluation import evaluate  # pyright: ignore[reportMissingImports]
from dictionary_learning.trainers.top_k import AutoEncoderTopK  # pyright: ignore[reportMissingImports]
from sae_lens import TopKSAE, TopKSAEConfig  # pyright: ignore[reportMissingImports]
from sae_lens.evals import (  # pyright: ignore[reportMissingImports]
    get_downstream_reconstruction_metrics,
    get_sparsity_and_variance_metrics,
)
from sae_lens.training.activation_scaler import ActivationScaler  # pyright: ignore[reportMissingImports]
from transformer_lens import HookedTransformer, HookedTransformerConfig  # pyright: ignore[reportMissingImports]

PACKAGES = ("sae-lens", "dictionary-learning", "torch", "transformer-lens")
D_IN, M, K, PROMPTS, LENGTH, BATCHES = 5, 9, 3, 4, 6, 2
HOOK = "blocks.0.hook_resid_post"
LM = {"n_layers": 2, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 16, "n_ctx": 6, "d_vocab": 11, "act_fn": "relu"}
SEQUENCES, IGNORED = 3, 0
"""Token IGNORED opens every sequence of the language model, and stands nowhere else."""


class StandIn:
    """A language model and activation store that know the recorded activations alone."""

    def __init__(self, x: torch.Tensor) -> None:
        """Cut the rows into batches of prompts."""
        self._batches = iter(x.view(BATCHES, PROMPTS // BATCHES, LENGTH, D_IN))

    def get_batch_tokens(self, _: int) -> torch.Tensor:
        """Return tokens of the right shape."""
        return torch.zeros(PROMPTS // BATCHES, LENGTH, dtype=torch.long)

    def run_with_cache(self, *_: object, **__: object) -> tuple[None, dict[str, torch.Tensor]]:
        """Return the next batch as the hook's activations."""
        return None, {HOOK: next(self._batches)}


class Listener:
    """A HookedTransformer and activation store that keeps the logits of each pass."""

    def __init__(self, lm: HookedTransformer, token_ids: torch.Tensor) -> None:
        """Take the model, and the only batch of tokens."""
        self._lm, self._token_ids, self.logits = lm, token_ids, []

    def get_batch_tokens(self, _: int) -> torch.Tensor:
        """Return all tokens."""
        return self._token_ids

    def __call__(self, *args: object, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the model as it is."""
        return self.run_with_hooks(*args, **options)

    def run_with_hooks(self, *args: object, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the model."""
        logits, loss = self._lm.run_with_hooks(*args, **options)
        self.logits.append(logits)
        return logits, loss


def topk_sae(weights: dict[str, torch.Tensor], k: int) -> TopKSAE:
    """Build SAELens' SAE."""
    d_in, d_sae = weights["W_enc"].shape
    config = TopKSAEConfig(d_in=d_in, d_sae=d_sae, k=k, dtype="float64", device="cpu", apply_b_dec_to_input=True)
    config.metadata.hook_name = HOOK
    sae = TopKSAE(config)
    sae.load_state_dict(weights)
    return sae


def saelens(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> dict[str, object]:
    """Run SAELens' evaluation."""
    model = StandIn(x)
    wanted = dict.fromkeys(("sparsity_metrics", "variance_metrics", "featurewise_density_statistics"), True)
    metrics, by_feature = get_sparsity_and_variance_metrics(
        topk_sae(weights, K),
        model,
        model,
        ActivationScaler(),
        BATCHES,
        compute_l2_norms=False,
        **{f"compute_{name}": asked for name, asked in wanted.items()},
        eval_batch_size_prompts=PROMPTS // BATCHES,
        model_kwargs={},
    )
    kept = {name: metrics[name] for name in ("mse", "l0", "explained_variance", "explained_variance_legacy")}
    return kept | {"feature_density": by_feature["feature_density"]}


def dictionary_learning(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> dict[str, float]:
    """Run dictionary_learning's evaluation on one batch of all rows."""
    sae = AutoEncoderTopK(D_IN, M, K).double()
    named = {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight", "b_dec": "b_dec"}
    ours = {named[name]: tensor.T if tensor.ndim == 2 else tensor for name, tensor in weights.items()}
    sae.load_state_dict(ours | {"k": sae.k, "threshold": sae.threshold})
    metrics = evaluate(sae, iter([x]))
    return {name: metrics[name] for name in ("l2_loss", "l0", "frac_variance_explained", "frac_alive")}


def centred(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Move b_dec so that the mean residual is 0, and b_enc so that the latents stay."""
    pre = ((x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]).relu()
    top = pre.topk(K, dim=1)
    latents = torch.zeros_like(pre).scatter(1, top.indices, top.values)
    move = (x - latents @ weights["W_dec"] - weights["b_dec"]).mean(0)
    moved = {"b_dec": weights["b_dec"] + move, "b_enc": weights["b_enc"] + move @ weights["W_enc"]}
    return weights | moved


def speak(lm: HookedTransformer, generator: torch.Generator) -> torch.Tensor:
    """Let the model draw sequences, so that it predicts them better than an ablated one."""
    token_ids = torch.full((SEQUENCES, 1), IGNORED)
    while token_ids.shape[1] < LM["n_ctx"]:
        p = lm(token_ids)[:, -1].softmax(-1)
        token_ids = torch.cat([token_ids, p.multinomial(1, generator=generator)], 1)
    return token_ids


def small_models(generator: torch.Generator) -> tuple[HookedTransformer, TopKSAE]:
    """Draw a language model, and an SAE that reconstructs most of an activation."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lm = HookedTransformer(HookedTransformerConfig(**LM, dtype=torch.float64, device="cpu", seed=0))
    for parameter in lm.parameters():
        parameter.add_(0.1 * draw(*parameter.shape))  # a fresh model has no biases
    lm.W_U.mul_(4)  # and hardly prefers a token
    lm.b_U[IGNORED] = -30
    directions = torch.linalg.qr(draw(8, 8)).Q
    W_dec = torch.cat([directions, -directions])
    return lm, topk_sae({"W_enc": W_dec.T, "b_enc": 0.1 * draw(16), "W_dec": W_dec, "b_dec": 0.1 * draw(8)}, k=4)


@torch.no_grad()
def in_model() -> dict[str, object]:
    """Run SAELens' losses with its SAE at all positions, and again with a token ignored; float64."""
    generator = torch.Generator().manual_seed(0)
    lm, sae = small_models(generator)
    token_ids, cases = speak(lm, generator), {}
    for name, ignored in {"all positions": [], "first token ignored": [IGNORED]}.items():
        lens = Listener(lm, token_ids)
        metrics = get_downstream_reconstruction_metrics(
            sae,
            lens,
            lens,
            ActivationScaler(),
            compute_kl=False,
            compute_ce_loss=True,
            n_batches=1,
            eval_batch_size_prompts=SEQUENCES,
            ignore_tokens=ignored,
        )
        logits = dict(zip(("clean", "sae", "zero"), (part.tolist() for part in lens.logits), strict=True))
        cases[name] = {"sae_lens": metrics, "logits": logits}
    kept = (token_ids != IGNORED)[..., None]
    zeros = lm.run_with_hooks(token_ids, fwd_hooks=[(HOOK, lambda x, hook: x.where(~kept, 0))])
    cases["first token ignored"]["logits"]["zero_where_sae"] = zeros.tolist()
    return {"token_ids": token_ids.tolist(), "cases": cases}


def main(path: Path = Path("tests/recorded/peer_metrics.json")) -> None:
    """Record both packages on the same rows and weights, again with a mean residual of 0, and losses in a model."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = draw(PROMPTS * LENGTH, D_IN) * torch.linspace(0.5, 2, D_IN) + 3
    W_dec = torch.nn.functional.normalize(draw(M, D_IN), dim=1)
    drawn = {
        "W_enc": W_dec.T + 0.1 * draw(D_IN, M),
        "b_enc": draw(M) * 0.5 - 1,
        "W_dec": W_dec,
        "b_dec": draw(D_IN) + 3,
    }
    cases = {}
    for name, weights in {"as drawn": drawn, "mean residual 0": centred(x, drawn)}.items():
        cases[name] = {
            "weights": {key: tensor.tolist() for key, tensor in weights.items()},
            "sae_lens": saelens(x, weights),
            "dictionary_learning": dictionary_learning(x, weights),
        }
    versions = {package: version(package).split("+")[0] for package in PACKAGES}
    content = {"versions": versions, "k": K, "lengths": [LENGTH] * PROMPTS, "x": x.tolist(), "cases": cases}
    content["in_model"] = in_model()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

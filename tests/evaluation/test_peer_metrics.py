"""Our metrics equal those of SAELens and dictionary_learning where their formula is right, and differ as stated if not.

Recorded by tools/record_peer_metrics.py.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_samples import sae_settings
from samples import array_source, evaluate_settings, rendered_tokens, runtime

from fast_sae.activations.held import Held
from fast_sae.chat.kinds import Kind
from fast_sae.chat.roles import Role
from fast_sae.evaluation.evaluate import evaluate_sae
from fast_sae.evaluation.in_model.measure import InModel
from fast_sae.evaluation.in_model.report import InModelReport
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.evaluation.report import Report
from fast_sae.sae.build import build_sae
from fast_sae.splice.causal_lm import Batch, CausalLM, Replace

RECORDED = json.loads((Path(__file__).parents[1] / "recorded/peer_metrics.json").read_text())
X = np.array(RECORDED["x"])
FLOAT32 = 1e-6
"""Both packages count active latents in float32."""


@pytest.fixture(params=RECORDED["cases"].values(), ids=RECORDED["cases"])
def case(request) -> dict:
    return request.param


def our_sae(case: dict) -> torch.nn.Module:
    weights = {name: torch.tensor(values, dtype=torch.float64) for name, values in case["weights"].items()}
    sae = build_sae(X.shape[1], sae_settings(M=len(weights["b_enc"]), K=RECORDED["k"])).double()
    sae.load_state_dict(weights, strict=False)
    return sae


def report(case: dict) -> Report:
    held = Held("test", array_source(X, RECORDED["lengths"]), [None] * len(RECORDED["lengths"]))
    kinds, machine = (int(Kind.CONTENT),), runtime()
    return evaluate_sae(
        our_sae(case), held, held, evaluate_settings(), kinds=kinds, dtype=torch.float64, runtime=machine
    )


def residual(case: dict) -> np.ndarray:
    sae = our_sae(case)
    with torch.no_grad():
        return (sae(torch.from_numpy(X)) - torch.from_numpy(X)).numpy()


def test_the_recordings_differ_where_it_matters():
    """One mean residual is 0, the other is not; L0 lies below K, since a picked latent may be 0; one latent is dead."""
    means = [np.linalg.norm(residual(case).mean(0)) for case in RECORDED["cases"].values()]
    assert max(means) > 1
    assert min(means) < 1e-12
    for case in RECORDED["cases"].values():
        assert case["sae_lens"]["l0"] < RECORDED["k"]
        assert 0 in case["sae_lens"]["feature_density"]


def test_mse_and_explained_variance_equal_saelens(case):
    """Its MSE is E‖r‖², d times ours."""
    ours, theirs = report(case).metrics(), case["sae_lens"]
    assert ours["reconstruction_mse"] * X.shape[1] == pytest.approx(theirs["mse"], rel=1e-12)
    assert ours["explained_variance"] == pytest.approx(theirs["explained_variance"], rel=1e-12)


def test_l0_and_firing_densities_equal_both(case):
    found = report(case)
    assert found.metrics()["l0"] == pytest.approx(case["sae_lens"]["l0"], rel=FLOAT32)
    assert found.metrics()["l0"] == pytest.approx(case["dictionary_learning"]["l0"], rel=FLOAT32)
    density = found.measured.firing.fired.sum(0) / len(X)
    assert density == pytest.approx(case["sae_lens"]["feature_density"], rel=FLOAT32)
    alive = 1 - found.metrics()["dead_latent_fraction"]
    assert alive == pytest.approx(case["dictionary_learning"]["frac_alive"], rel=FLOAT32)


def test_dictionary_learning_forgives_the_mean_of_the_residual(case):
    """Its residual is centred: FVU less n‖mean r‖² / Σ‖x − μ‖²; equal to ours where that mean is 0."""
    r, variance = residual(case), np.square(X - X.mean(0)).sum()
    forgiven = len(X) * np.square(r.mean(0)).sum() / variance
    ours = report(case).metrics()["explained_variance"]
    assert ours + forgiven == pytest.approx(case["dictionary_learning"]["frac_variance_explained"], rel=1e-12)


def test_what_is_forgiven_can_be_most_of_the_error():
    ours = [report(case).metrics()["explained_variance"] for case in RECORDED["cases"].values()]
    theirs = [case["dictionary_learning"]["frac_variance_explained"] for case in RECORDED["cases"].values()]
    assert (round(ours[0], 3), round(theirs[0], 3)) == (0.168, 0.568)
    assert (round(ours[1], 3), round(theirs[1], 3)) == (0.568, 0.568)


def test_dictionary_learnings_l2_loss_is_a_mean_norm_and_no_mse(case):
    theirs = case["dictionary_learning"]["l2_loss"]
    assert theirs == pytest.approx(np.linalg.norm(residual(case), axis=1).mean(), rel=1e-12)
    assert theirs**2 < 0.95 * report(case).metrics()["reconstruction_mse"] * X.shape[1]


def test_saelens_legacy_explained_variance_is_a_mean_of_ratios(case):
    """Each row's error over its own deviation from the batch mean; the ratio of sums is another number."""
    rows = [slice(0, 12), slice(12, 24)]
    ratios = [np.square(residual(case)[part]).sum(1) / np.square(X[part] - X[part].mean(0)).sum(1) for part in rows]
    legacy = case["sae_lens"]["explained_variance_legacy"]
    assert legacy == pytest.approx(1 - np.concatenate(ratios).mean(), rel=1e-12)
    assert legacy < case["sae_lens"]["explained_variance"]


TOKEN_IDS = torch.tensor(RECORDED["in_model"]["token_ids"])
WHOLE, IGNORING = (RECORDED["in_model"]["cases"][name] for name in ("all positions", "first token ignored"))
CE = {"ce_clean": "without_sae", "ce_sae": "with_sae", "ce_zero": "with_ablation", "ce_recovered": "score"}
FLOAT64 = 1e-8
"""Our figures are rounded to 1e-9."""


class RecordedLM(CausalLM):
    """A language model that knows the recorded logits alone: told by what is put in for ones, which of them."""

    def __init__(self, logits: dict[float, list]) -> None:
        self.d_in = 8
        self._logits = {value: torch.tensor(part, dtype=torch.float64) for value, part in logits.items()}
        self._value, self.masks = 1.0, []

    def batch(self, sequences: Sequence[Sequence[int]], *, pad_left: bool = False) -> Batch:
        return Batch.of(sequences, pad_left=pad_left, device=torch.device("cpu"))

    def logits(self, batch: Batch) -> torch.Tensor:
        rows = [TOKEN_IDS.tolist().index(sequence) for sequence in batch.token_ids.tolist()]
        return self._logits[self._value][rows]

    @contextmanager
    def spliced(self, layer: int, mask: torch.Tensor, replace: Replace) -> Iterator[None]:
        self.masks += mask.tolist()
        self._value = replace(torch.ones(1, self.d_in))[0, 0].item()
        yield
        self._value = 1.0


def in_model(case: dict, kinds: tuple[int, ...], zero: str = "zero") -> tuple[InModelReport, RecordedLM]:
    """Measure in batches of two sequences; the first token is begin-of-text, and the second the only user's."""
    logits = case["logits"]
    lm = RecordedLM({1.0: logits["clean"], 2.0: logits["sae"], 0.0: logits[zero], 3.0: logits["clean"]})
    n = TOKEN_IDS.shape[1]
    kind, role = [Kind.BEGIN_OF_TEXT, *[Kind.CONTENT] * (n - 1)], [Role.NONE, Role.USER, *[Role.ASSISTANT] * (n - 2)]
    chats = [rendered_tokens(sequence, kind, role) for sequence in TOKEN_IDS.tolist()]
    model = InModel(lm, 1, kinds, 2 * n, pad_left=False)
    sums = model.measure(chats, lambda states: 2 * states, torch.full((lm.d_in,), 3.0, dtype=torch.float64))
    section = {"enabled": True, "examples": None, "ce_floor": 0.0, "bootstrap_resamples": 5, "confidence": 0.9}
    return InModelReport(sums, InModelSettings.model_validate(section | {"seed": 0})), lm


def theirs(case: dict) -> dict[str, float]:
    return {ours: case["sae_lens"][f"ce_loss_{name}"] for ours, name in CE.items()}


def behind_the_first_token(zero: str) -> dict[str, float]:
    """Our figures without what begin-of-text predicts, which SAELens does not count where it ignores that token."""
    found, lm = in_model(IGNORING, (int(Kind.CONTENT),), zero)
    assert lm.masks == 3 * TOKEN_IDS.bool().tolist()
    by_role = found.tables()["by_role"].set_index("role")
    assert by_role.loc["assistant", "predictions"] == 12
    return by_role.loc["assistant", list(CE)].to_dict()


def test_losses_within_the_model_equal_saelens_where_its_sae_stands_everywhere():
    found, lm = in_model(WHOLE, (int(Kind.BEGIN_OF_TEXT), int(Kind.CONTENT)))
    assert np.all(lm.masks)
    metrics = found.metrics()
    assert metrics["predictions"] == 15
    assert {name: metrics[name] for name in CE} == pytest.approx(theirs(WHOLE), rel=FLOAT64)


def test_saelens_zeroes_also_the_positions_that_it_leaves_to_the_model():
    """All is equal with the logits of its own ablation, which are those of zeros at all positions."""
    assert IGNORING["logits"]["zero"] == WHOLE["logits"]["zero"]
    assert behind_the_first_token("zero") == pytest.approx(theirs(IGNORING), rel=FLOAT64)


def test_zeros_where_the_sae_stands_give_another_loss_and_another_score():
    ours, other = behind_the_first_token("zero_where_sae"), theirs(IGNORING)
    for name in ("ce_clean", "ce_sae"):
        assert ours[name] == pytest.approx(other[name], rel=FLOAT64)
    found = [[round(figures[name], 3) for name in ("ce_zero", "ce_recovered")] for figures in (ours, other)]
    assert found == [[5.441, 0.962], [4.01, 0.945]]

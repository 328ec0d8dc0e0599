"""Training: the best weights are kept, validation touches nothing, the same seed gives the same SAE."""

import json

import numpy as np
import pytest
import torch
from sae_samples import PENALTY, STEERED, sae_settings
from samples import array_source, runtime

from fast_sae.errors import ArtifactError, ParamsError
from fast_sae.sae.settings import ARCHITECTURES
from fast_sae.training import loop
from fast_sae.training.adam import SharedAdam
from fast_sae.training.centre import CENTRES
from fast_sae.training.loop import train_sae
from fast_sae.training.settings import TrainSettings
from fast_sae.training.sparse_gradients import SparseGradients
from fast_sae.training.validation import Validation, validate
from fast_sae.training.workers import Workers

RUNTIME = runtime(sae_batch_rows=50)


def settings(**overrides: object) -> TrainSettings:
    section = {
        "kinds": ["content"],
        "source": "stored",
        "buffer_tokens": 1000,
        "batch_size": 32,
        "loss": "nmse",
        "normalise_input": "none",
        "init_b_dec": "median",
        "init_encoder": "tied",
        "lr": 0.01,
        "schedule": "constant",
        "lr_end": None,
        "lr_warmup_steps": 0,
        "lr_decay_steps": 0,
        "epochs": 4,
        "patience": 2,
        "clip": 1.0,
        "gradient_bits": None,
        "dead_after_steps": 5,
        "resample_every": None,
        "init_rows": 1000,
        "dtype": "float64",
        "encode_in": "full",
        "log_every": 3,
        "seed": 0,
    } | overrides
    return TrainSettings.model_validate_json(json.dumps(section))


def rows(n: int, seed: int) -> np.ndarray:
    """Sparse combinations of 12 directions in 6 dimensions, so that there is something to find."""
    draw = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(12, 6))
    return (draw.random((n, 12)) * (draw.random((n, 12)) < 0.2) @ directions + 3).astype(np.float32)


def source(x: np.ndarray):
    return array_source(x, [len(x)])


def trained(sae: dict | None = None, **overrides: object):
    train, validation = source(rows(300, 1)), source(rows(100, 2))
    return train_sae(sae_settings(**(sae or {})), settings(**overrides), train, validation, RUNTIME)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in STEERED])
def test_training_reconstructs_better_than_it_started(architecture):
    run = trained({"architecture": architecture, "matryoshka": [6, 12]}, epochs=15)
    losses = run.history._curves["validation_loss"]
    assert run.metrics["validation_loss"] < 0.7 * losses[0][1]


def test_an_encoder_in_bfloat16_trains_about_as_well():
    full, rough = (trained(encode_in=value, epochs=15).metrics["validation_loss"] for value in ("full", "bfloat16"))
    assert full != rough
    assert rough == pytest.approx(full, rel=0.1)


def test_the_best_weights_are_kept_and_training_stops_after_patience(monkeypatch):
    """Validation is made to tell 0.5, 0.3, 0.4, 0.6: the best is epoch 2, and after two worse ones training ends."""
    told, weights = iter([0.5, 0.3, 0.4, 0.6, 0.1]), []

    def scripted(gradients, batches):
        weights.append(gradients._sae.W_dec.detach().clone())
        return Validation(next(told), 3.0, 1.0, 0.0)

    monkeypatch.setattr(loop, "validate", scripted)
    run = trained(epochs=10)
    assert (run.metrics["best_epoch"], run.metrics["epochs"]) == (2, 4)
    assert run.metrics["validation_loss"] == 0.3
    assert torch.equal(run.sae.W_dec, weights[1])
    assert not torch.equal(run.sae.W_dec, weights[3])


def test_the_same_seed_gives_the_same_sae_and_another_does_not():
    a, b, c = (trained(seed=seed).sae.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["W_enc"], c["W_enc"])


def test_validation_advances_no_dead_counter(monkeypatch):
    seen = []
    original = loop.DeadLatentCounter.observe
    monkeypatch.setattr(
        loop.DeadLatentCounter, "observe", lambda self, fired: seen.append(fired) or original(self, fired)
    )
    run = trained(epochs=2)
    assert len(seen) == run.metrics["steps"] == 2 * 10


def test_batchtopk_keeps_k_latents_on_validation_after_it_is_saved(tmp_path):
    from fast_sae.sae.checkpoint import load_sae, save_sae

    run = trained({"architecture": "batchtopk"}, epochs=3)
    save_sae(run.sae, tmp_path)
    x = torch.from_numpy(rows(100, 2))
    l0 = float((load_sae(tmp_path).encode(x) > 0).sum() / len(x))
    assert l0 == pytest.approx(3, rel=0.02)
    assert run.metrics["validation_l0"] == pytest.approx(3, rel=0.02)


def test_validation_loss_is_one_ratio_of_sums_whatever_the_portions():
    run = trained(epochs=1)
    x = torch.from_numpy(rows(100, 2)).double()

    class Portions:
        def __init__(self, size):
            self.size, self.rows = size, len(x)

        def __iter__(self):
            return iter(x.split(self.size))

    whole = (run.sae(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    for size in (7, 100):
        assert validate(SparseGradients(run.sae, Workers()), Portions(size)).loss == pytest.approx(
            whole.item(), rel=1e-10
        )


def test_a_large_mean_costs_validation_no_digits():
    run = trained(epochs=1)
    x = torch.from_numpy(rows(100, 2)).double() + 1e5

    class Whole:
        rows = len(x)

        def __iter__(self):
            return iter([x])

    whole = (run.sae(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert validate(SparseGradients(run.sae, Workers()), Whole()).loss == pytest.approx(whole.item(), rel=1e-5)


def test_activations_without_a_trained_kind_are_told():
    train, validation = source(rows(30, 1)), source(rows(10, 2))
    with pytest.raises(ArtifactError, match="the train activations hold no row of train.kinds"):
        train_sae(sae_settings(), settings(kinds=["scaffold"]), train, validation, RUNTIME)


def test_activations_that_are_all_equal_are_told():
    equal = source(np.ones((40, 6), np.float32))
    with pytest.raises(ArtifactError, match="all activations are equal"):
        train_sae(sae_settings(), settings(), equal, equal, RUNTIME)


@pytest.mark.parametrize("init", ["median", "geometric_median", "mean", "zero"])
def test_the_decoder_bias_starts_from_the_trained_rows(init, monkeypatch):
    started = []
    original = loop.SparseAutoencoder.initialise

    def spy(self, b_dec, generator, *, tied):
        started.append(b_dec.double())
        original(self, b_dec, generator, tied=tied)

    monkeypatch.setattr(loop.SparseAutoencoder, "initialise", spy)
    trained(epochs=1, init_b_dec=init)
    trained(epochs=1, init_b_dec=init, init_rows=10)
    x = torch.from_numpy(rows(300, 1)).double()
    assert torch.allclose(started[0], CENTRES[init](x), rtol=1e-12)
    assert torch.equal(started[0], started[1]) == (init == "zero")


def test_an_sae_trained_on_scaled_rows_takes_raw_ones():
    run = trained({"architecture": "batchtopk"}, epochs=8, normalise_input="rms")
    x = torch.from_numpy(rows(100, 2)).double()
    with torch.no_grad():
        fvu = (run.sae(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert fvu.item() == pytest.approx(run.metrics["validation_loss"], rel=1e-9)
    assert (run.sae.encode(x) > 0).sum().item() / 100 == pytest.approx(run.metrics["validation_l0"])


def test_the_scale_of_the_data_changes_nothing_once_rows_are_scaled():
    """Two runs on the same rows in other units end at the same FVU."""
    found = []
    for unit in (1.0, 1024.0):
        train, validation = source(rows(300, 1) * unit), source(rows(100, 2) * unit)
        run = train_sae(sae_settings(), settings(normalise_input="rms", epochs=3), train, validation, RUNTIME)
        found.append(run.metrics["validation_loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_learning_rate_follows_its_schedule(monkeypatch):
    used = []
    original = SharedAdam.step
    monkeypatch.setattr(SharedAdam, "step", lambda self, lr, norm: used.append(lr) or original(self, lr, norm))
    trained(epochs=2, patience=9, schedule="linear", lr_end=0.001, lr_warmup_steps=4, lr_decay_steps=5)
    assert len(used) == 20
    assert used[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert used[4] == pytest.approx(0.01)
    assert used[-1] < used[-5] < used[6] < used[5]


def test_dead_latents_are_resampled_and_the_metrics_say_how_many():
    sae = {"M": 40, "K": 1, "aux_k": 0}
    run = trained(sae, patience=12, resample_every=25, dead_after_steps=10, log_every=1)
    left = trained(sae, patience=12, dead_after_steps=10, log_every=1)
    assert run.metrics["resampled_latents"] > 0
    assert "resampled_latents" not in left.metrics
    dead, left_dead = (dict(r.history._curves["dead_fraction"]) for r in (run, left))
    assert dead[24] == left_dead[24] > 0
    assert dead[25] == left_dead[25]  # who has not fired is told, started anew or not


def test_without_the_wanted_l0_the_nearest_weights_are_kept_and_that_is_said(monkeypatch, capsys):
    told = iter([Validation(0.2, 9.0, 1.0, 0.0), Validation(0.5, 5.0, 1.0, 0.0), Validation(0.1, 7.0, 1.0, 0.0)])
    monkeypatch.setattr(loop, "validate", lambda sae, batches: next(told))
    run = trained({"architecture": "standard"}, epochs=3, patience=1)
    assert (run.metrics["best_epoch"], run.metrics["epochs"]) == (2, 3)
    assert "L0 on validation is 5, not the sae.K=3 that λ was to bring about" in capsys.readouterr().err


def test_at_the_wanted_l0_the_least_loss_counts_and_patience_begins(monkeypatch):
    """Epochs at another L0 are neither the best nor a reason to stop."""
    values = [(0.1, 9.0), (0.5, 3.0), (0.2, 3.5), (0.4, 3.01), (0.1, 3.5), (0.6, 3.0)]
    told = iter([Validation(loss, l0, 1.0, 0.0) for loss, l0 in values])
    monkeypatch.setattr(loop, "validate", lambda sae, batches: next(told))
    run = trained({"architecture": "jumprelu"}, epochs=9, patience=1)
    assert (run.metrics["best_epoch"], run.metrics["epochs"]) == (4, 6)


def test_with_a_fixed_coefficient_the_penalty_counts_once_it_is_warm(monkeypatch):
    """Of a run of 10 steps an epoch: epoch 1 is not warm; 2 is 0.5 + 0.1 · 9, 3 is 0.6 + 0.1 · 3, 4 is no better."""
    values = [(0.1, 9.0), (0.5, 9.0), (0.6, 3.0), (0.6, 4.0)]
    told = iter([Validation(loss, 99.0, 1.0, penalty) for loss, penalty in values])
    monkeypatch.setattr(loop, "validate", lambda sae, batches: next(told))
    fixed = PENALTY | {"coefficient": 0.1, "warmup_steps": 15}
    run = trained({"architecture": "standard", "standard": fixed}, epochs=9, patience=1)
    assert (run.metrics["best_epoch"], run.metrics["epochs"]) == (3, 4)
    assert run.metrics["validation_loss"] == 0.6


def test_a_warm_up_as_long_as_the_run_is_told():
    fixed = PENALTY | {"coefficient": 0.1, "warmup_steps": 41}
    with pytest.raises(ParamsError, match="warmup_steps of sae.standard is not below the 40 steps of the run"):
        trained({"architecture": "standard", "standard": fixed})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_row_left_over_does_not_spoil_the_weights(architecture):
    """A batch of one row has no variance, by which the loss divides."""
    train, validation = source(rows(32 * 9 + 1, 1)), source(rows(100, 2))
    run = train_sae(sae_settings(architecture=architecture), settings(epochs=2), train, validation, RUNTIME)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in run.sae.state_dict().values())
    assert run.metrics["steps"] == 2 * 9

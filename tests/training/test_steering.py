"""A penalty steered to a target L0 reaches it: every architecture that has one, whatever the loss and the scale."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from sae_samples import PENALTY, STEERED, sae_settings
from samples import array_source
from training.test_loop import RUNTIME, settings

from fast_sae.sae.build import build_sae
from fast_sae.training.loop import train_sae

OPTIONS = {"jumprelu": PENALTY | {"bandwidth": 0.05, "initial_threshold": 0.05}}
"""As in params.yaml."""


def rows(n: int, seed: int) -> np.ndarray:
    """Sparse combinations of 32 directions in 16 dimensions, 3 of them on average, far from 0."""
    draw = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(32, 16))
    return ((1 + draw.random((n, 32))) * (draw.random((n, 32)) < 0.1) @ directions + 5).astype(np.float32)


@cache
def run(architecture, k, unit=1.0, **overrides):
    sae = sae_settings(architecture=architecture, M=48, K=k, **OPTIONS)
    chosen = {"batch_size": 128, "epochs": 25, "patience": 25, "normalise_input": "rms", "dtype": "float32"} | overrides
    chosen |= {"lr": 0.002, "schedule": "cosine", "lr_end": 0.0002}
    train, validation = (array_source(rows(n, seed) * unit, [n]) for n, seed in ((4000, 1), (6000, 2)))
    return train_sae(sae, settings(**chosen), train, validation, RUNTIME)


def test_there_are_architectures_to_steer():
    assert {"standard", "jumprelu"} <= set(STEERED)


@pytest.mark.parametrize("architecture", STEERED)
@pytest.mark.parametrize(("k", "overrides"), [(3, {}), (6, {"loss": "sse", "unit": 300.0})], ids=["K=3", "K=6, sse"])
def test_l0_lands_within_5_percent_on_rows_it_was_not_steered_on(architecture, k, overrides):
    found = run(architecture, k, **overrides)
    x = torch.from_numpy(rows(6000, 3) * overrides.get("unit", 1.0))
    l0 = (found.sae.encode(x.to(found.sae.b_dec)) > 0).sum().item() / len(x)
    assert l0 == pytest.approx(k, rel=0.05)
    assert found.metrics["validation_loss"] < 0.8


def test_l0_of_a_jumprelu_moves_by_its_thresholds():
    """SAELens issue 494: they stay where they started, and L0 hardly falls."""
    l0 = run("jumprelu", 3).history._curves["l0"]
    assert l0[0][1] > 15
    assert l0[-1][1] < 3.5


def test_a_coefficient_that_is_given_stays_and_rises_over_its_warm_up():
    sae = sae_settings(architecture="standard", standard=PENALTY | {"coefficient": 0.5, "warmup_steps": 4})
    coefficient = build_sae(4, sae).coefficient
    assert [coefficient.at(step).item() for step in range(6)] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    coefficient.update(torch.tensor(900.0), torch.tensor(1.0), torch.tensor(1.0), lr=0.01)
    assert coefficient.value.item() == 0.5
    assert [coefficient.distance(900.0, steps) for steps in (3, 4)] == [1.0, 0.0]


def test_a_heavier_coefficient_gives_fewer_latents():
    sae = lambda value: sae_settings(architecture="standard", standard=PENALTY | {"coefficient": value})  # noqa: E731
    train, validation = array_source(rows(1000, 1)[:, :6], [1000]), array_source(rows(300, 2)[:, :6], [300])
    light, heavy = (
        train_sae(sae(value), settings(loss="sse", epochs=4), train, validation, RUNTIME) for value in (0.01, 3.0)
    )
    assert heavy.metrics["validation_l0"] < 0.7 * light.metrics["validation_l0"]


def test_the_settings_are_plain_json():
    assert json.loads(json.dumps(sae_settings(architecture="jumprelu", **OPTIONS).model_dump(mode="json")))

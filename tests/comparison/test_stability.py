"""Decoders of two seeds matched one to one, by hand."""

import numpy as np
import pytest
import torch
from sae_samples import initialised
from samples import array_source

from fast_sae.chat.kinds import Kind
from fast_sae.comparison.stability import firing_latents, match_decoders


def at(*degrees: float) -> np.ndarray:
    """Rows in the plane, at these angles, of length 2."""
    angles = np.radians(degrees)
    return 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_the_same_latents_in_another_order_and_length_match_wholly():
    rows = np.random.default_rng(0).normal(size=(7, 5))
    found = match_decoders(rows, 3 * rows[[3, 1, 6, 0, 2, 5, 4]])
    assert found.mean_cosine == pytest.approx(1)
    assert found.shared == 1


def test_one_to_one_is_not_each_latents_nearest():
    """A at 0° and 10°, B at 5° and 60°: 5° is nearest to both; 0°–5° and 10°–60° beat 0°–60° and 10°–5°."""
    found = match_decoders(at(0, 10), at(5, 60))
    assert found.mean_cosine == pytest.approx(np.cos(np.radians([5, 50])).mean())
    assert found.shared == 0.5


def test_a_negated_latent_is_another_one():
    found = match_decoders(at(0), at(180))
    assert (found.mean_cosine, found.shared) == (pytest.approx(-1), 0)


def test_of_two_sizes_what_is_over_counts_as_not_found():
    found = match_decoders(at(0, 90), at(0, 90, 200, 300))
    assert (found.mean_cosine, found.shared) == (pytest.approx(1), 0.5)


def test_an_sae_of_dead_latents_has_no_stability():
    assert match_decoders(np.zeros((0, 2)), at(0)) is None


def test_a_latent_fires_if_it_does_on_a_row_that_counts():
    """Latent i reads axis i of rows that light axes 0, 1 and, in the template, 2."""
    sae = initialised(d_in=3, M=3, K=1)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    source = array_source(np.eye(3), kinds=[Kind.CONTENT, Kind.CONTENT, Kind.SCAFFOLD])
    assert firing_latents(sae, source, [Kind.CONTENT], batch_rows=2).tolist() == [True, True, False]

"""Which latents are steered, on cases a hand can follow; and controls of the same norm."""

import numpy as np
import pandas as pd
import pytest
import torch
from sae_samples import sae_settings
from samples import rendered_tokens
from steering_samples import steer_settings

from fast_sae.chat.kinds import Kind
from fast_sae.chat.roles import Role
from fast_sae.errors import UserError
from fast_sae.sae.build import build_sae
from fast_sae.steering.choosing import best_latents, mean_maxima, special_flags, strongest
from fast_sae.steering.directions import latent_direction, other_latents, random_directions

BOT, SCAFFOLD, ROLE, CONTENT, END = Kind


def identity_sae(d: int = 3):
    """Latent k is the k-th number, if positive; its decoder row is as long as float32 made it."""
    sae = build_sae(d, sae_settings(layer=1, M=d, K=d))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(d))
        sae.W_dec.copy_(torch.eye(d) * 1.0001)
    return sae


def test_each_label_has_the_latent_that_tells_it_best_and_named_labels_are_left_out():
    labels = pd.DataFrame(
        {
            "latent": [0, 1, 2, 2, 3],
            "label": ["a_b", "a_b", "c", "d", "d"],
            "validation_auroc": [0.7, 0.9, 0.8, 0.95, 0.95],
        }
    )
    assert [one[:2] for one in best_latents(labels, 5, ["Write."])] == [("d", 2), ("a_b", 1), ("c", 2)]
    assert [one[:2] for one in best_latents(labels, 1, ["Write."])] == [("d", 2)]
    assert [one[0] for one in best_latents(labels, 5, ["Show me A b!", "a D here"])] == ["c"]


def test_the_mean_of_the_maxima_over_examples_is_what_a_hand_computes():
    """Latent 0: maxima 2 and 4; latent 1: 0 and 1; latent 2: 5 and 0. An example without such tokens is left out."""
    states = [torch.tensor([[1.0, 0, 5], [2, -1, 0]]), torch.empty(0, 3), torch.tensor([[4.0, 1, -3]])]
    found = mean_maxima(identity_sae(), states)
    assert found.tolist() == [3.0, 0.5, 2.5]
    assert strongest(found, 2) == [0, 2]
    assert mean_maxima(identity_sae(), [torch.empty(0, 3)]).tolist() == [0, 0, 0]


WORDS = ("<s>", "user", "hello", "<e>")


def test_special_tokens_are_those_of_the_kinds_and_of_the_named_texts_alone():
    chat = rendered_tokens([0, 1, 1, 2, 3], [SCAFFOLD, ROLE, CONTENT, CONTENT, END], [Role.USER] * 5)
    kinds = steer_settings(special_kinds=["role_name", "end_of_turn"])
    assert special_flags(chat, WORDS.__getitem__, kinds).tolist() == [False, True, False, False, True]
    named = steer_settings(special_kinds=["role_name", "end_of_turn"], special_tokens=["user"])
    assert special_flags(chat, WORDS.__getitem__, named).tolist() == [False, True, False, False, False]


def test_latents_and_controls_have_norm_1_and_are_the_same_each_time():
    sae = identity_sae()
    found = [latent_direction(sae, 2), *random_directions(3, 2, seed=5), *other_latents(sae, [0, 1], 1, seed=5)]
    assert [float(direction.vector.norm()) for direction in found] == pytest.approx([1] * 4, abs=1e-15)
    assert found[0].vector.tolist() == [0, 0, 1]
    again = random_directions(3, 2, seed=5)
    assert torch.equal(found[1].vector, again[0].vector)
    assert not torch.equal(found[1].vector, found[2].vector)
    assert not torch.equal(random_directions(3, 1, seed=6)[0].vector, again[0].vector)
    assert [one.latent for one in other_latents(sae, [0, 1], 5, seed=1)] == [0, 1]


@pytest.mark.parametrize("latent", [-1, 3])
def test_a_latent_that_the_sae_does_not_have_is_refused(latent):
    with pytest.raises(UserError, match=rf"latent {latent} does not exist: the SAE has 0 to 2"):
        latent_direction(identity_sae(), latent)


def test_strength_of_nothing_chooses_nothing():
    assert strongest(np.zeros(3), 2) == []

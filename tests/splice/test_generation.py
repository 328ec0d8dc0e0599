"""Steered generation: each token is what the whole model says when everything is run again."""

import numpy as np
import pytest
import torch
from lm_samples import CAUSAL_LMS, random_lm, toy_lm
from samples import MODEL

from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.settings import ModelSettings
from fast_sae.splice.causal_lm import CausalLM, load_causal_lm
from fast_sae.splice.generation import generate, stop_tokens

PROMPTS = [[5, 9, 2, 40], [3], [8, 8, 59, 1], [7, 7]]
OPTIONS = {"stop": {11}, "max_new_tokens": 6, "batch_tokens": 30}


def reference(lm: CausalLM, prompt: list[int], shift: torch.Tensor, layer: int, stop: set[int], limit: int):
    """Run everything again for each token, alone and without a cache."""
    written: list[int] = []
    while len(written) < limit and not (written and written[-1] in stop):
        with lm.shifted(layer, shift[None]):
            written.append(int(lm.logits(lm.batch([prompt + written]))[0, -1].argmax()))
    return written


@pytest.mark.parametrize("layer", [0, 2, 3])
@pytest.mark.parametrize("family", CAUSAL_LMS)
def test_it_writes_what_a_plain_rerun_of_everything_writes(family, layer):
    lm = CausalLM(random_lm(family))
    shifts = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 32))) * 3
    shifts[0] = 0
    expected = [reference(lm, p, s, layer, {11}, 6) for p, s in zip(PROMPTS, shifts, strict=True)]
    assert generate(lm, PROMPTS, shifts, layer, **OPTIONS) == expected


def embedded() -> CausalLM:
    name = str(MODEL)
    settings = ModelSettings(name=name, files=name, revision=None, dtype="float64")
    return load_causal_lm(settings, None, torch.device("cpu"))


def test_the_embedded_model_in_float64_writes_the_same_with_and_without_what_it_keeps():
    lm = embedded()
    shift = torch.zeros(96, dtype=torch.float64)
    shift[3] = 60.0
    written = generate(lm, [[0, 2, 700, 800]], shift[None], 5, stop={4}, max_new_tokens=8, batch_tokens=100)
    assert written == [reference(lm, [0, 2, 700, 800], shift, 5, {4}, 8)]


def test_the_steered_residual_is_z_plus_alpha_d_at_every_position():
    lm = CausalLM(random_lm("llama"))
    d = torch.nn.functional.normalize(torch.arange(1.0, 33.0, dtype=torch.float64), dim=0)
    alphas = torch.tensor([0.0, 15.0], dtype=torch.float64)
    batch = lm.batch([[5, 9, 2], [8, 8, 59]])
    z = lm.read(batch, 2, batch.real)
    seen: list[torch.Tensor] = []
    with lm.shifted(2, alphas[:, None] * d):  # what is shifted first is what a later hook reads
        handle = lm._blocks[2].register_forward_pre_hook(lambda _, args, kwargs: seen.append(args[0]), with_kwargs=True)
        lm.logits(batch)
        handle.remove()
    expected = z.reshape(2, 3, 32) + (alphas[:, None] * d)[:, None]
    assert torch.equal(seen[0], expected)
    assert torch.equal(lm.read(batch, 2, batch.real), z)


def test_padding_that_is_shifted_too_changes_nothing():
    lm = CausalLM(random_lm("llama"))
    shift = torch.full((2, 32), 5.0, dtype=torch.float64)
    batch = lm.batch([[5, 9, 2, 40], [3, 8]], pad_left=True)
    with lm.shifted(2, shift):
        padded = lm.logits(batch)[1, -2:]
    alone = lm.batch([[3, 8]])
    with lm.shifted(2, shift[:1]):
        torch.testing.assert_close(padded, lm.logits(alone)[0], rtol=0, atol=1e-10)


def test_a_model_that_keeps_nothing_reads_everything_again_and_a_hand_can_follow():
    """Token 0 is followed by 1, 1 by 2; 2 stops. A shift of 9 towards 0 makes 0 follow on everything."""
    lm = CausalLM(toy_lm([[0.0, 3.0, 1.0], [0.0, 1.0, 2.0], [5.0, 0.0, 0.0]]))
    shifts = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], dtype=torch.float64)
    written = generate(lm, [[0], [0]], shifts, 1, stop={2}, max_new_tokens=4, batch_tokens=100)
    assert written == [[1, 2], [0, 0, 0, 0]]


def test_every_prompt_is_told_of_once():
    told: list[int] = []
    generate(CausalLM(random_lm("gpt2")), PROMPTS, torch.zeros(4, 32), 1, **OPTIONS, done=told.append)
    assert sum(told) == 4


def test_the_end_of_a_turn_stops_the_embedded_model():
    settings = ModelSettings(name=str(MODEL), files=str(MODEL), revision=None, dtype="float64")
    assert stop_tokens(embedded(), load_tokenizer(settings, None)) == {4}

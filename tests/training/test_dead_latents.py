import pytest
import torch

from fast_sae.training.dead_latents import DeadLatentCounter

SILENT = torch.zeros(4, dtype=torch.bool)


def fired(*latents):
    """These of four latents fired."""
    return SILENT.index_fill(0, torch.tensor(latents), True)


def observed(found, marked):
    """Count a step, and tell who is dead after it."""
    found.observe(marked)
    return found.dead.tolist()


def counter(dead_after):
    return DeadLatentCounter(4, dead_after, torch.device("cpu"))


def test_nothing_is_dead_before_training():
    assert counter(1).dead.tolist() == [False] * 4


def test_a_latent_is_dead_after_more_than_the_given_steps_of_silence():
    found = counter(2)
    dead = [observed(found, fired(0)) for _ in range(4)]
    assert dead == [[False] * 4, [False] * 4, [False, True, True, True], [False, True, True, True]]


def test_one_firing_row_brings_a_latent_back_and_its_count_starts_anew():
    found = counter(2)
    for _ in range(5):
        found.observe(SILENT)
    assert observed(found, fired(3)) == [True, True, True, False]
    assert observed(found, SILENT) == [True, True, True, False]
    assert observed(found, SILENT) == [True, True, True, False]
    assert observed(found, SILENT) == [True] * 4


def test_looking_at_the_dead_counts_nothing():
    found = counter(1)
    found.observe(SILENT)
    for _ in range(5):
        assert not found.dead.any()
    assert found.steps_silent.tolist() == [1] * 4


def test_what_would_be_dead_after_a_step_is_told_without_counting_it():
    found = counter(1)
    found.observe(SILENT)
    assert found.after(fired(2)).tolist() == [True, True, False, True]
    assert found.steps_silent.tolist() == [1] * 4


def test_forgiven_latents_start_anew_and_the_others_go_on():
    found = counter(1)
    for _ in range(3):
        found.observe(SILENT)
    found.forgive(fired(1))
    assert found.steps_silent.tolist() == [3, 0, 3, 3]


@pytest.mark.parametrize("dead_after", [0, 1, 3, 70])
def test_what_is_known_of_the_longest_silence_hides_no_dead_latent(dead_after):
    """Against the definition, in 400 steps in which latents fall silent for different lengths."""
    generator = torch.Generator().manual_seed(dead_after)
    often = torch.tensor([0.95, 0.9, 0.85, 0.9])
    found, silent = counter(dead_after), torch.zeros(4, dtype=torch.long)
    dead_at = []
    for step in range(400):
        marked = torch.rand(4, generator=generator) < often * (step // 100 % 2 == 0)
        silent = (silent + 1).masked_fill(marked, 0)
        assert found.after(marked).tolist() == (silent > dead_after).tolist()
        assert observed(found, marked) == (silent > dead_after).tolist()
        assert float(found.dead_fraction) == float((silent > dead_after).double().mean())
        dead_at.append(bool((silent > dead_after).any()))
    assert any(dead_at)
    assert not all(dead_at)

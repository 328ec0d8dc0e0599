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

import torch

from fast_sae.training.dead_latents import DeadLatentCounter

SILENT = torch.zeros(3, 4)


def fired(*latents):
    """A batch of three rows in which these latents fire in the second row."""
    batch = SILENT.clone()
    batch[1, list(latents)] = 0.5
    return batch


def counter(dead_after):
    return DeadLatentCounter(4, dead_after, torch.device("cpu"))


def test_nothing_is_dead_before_training():
    assert counter(1).dead.tolist() == [False] * 4


def test_a_latent_is_dead_after_more_than_the_given_steps_of_silence():
    found = counter(2)
    dead = [found.observe(fired(0)).tolist() for _ in range(4)]
    assert dead == [[False] * 4, [False] * 4, [False, True, True, True], [False, True, True, True]]


def test_one_firing_row_brings_a_latent_back_and_its_count_starts_anew():
    found = counter(2)
    for _ in range(5):
        found.observe(SILENT)
    assert found.observe(fired(3)).tolist() == [True, True, True, False]
    assert found.observe(SILENT).tolist() == [True, True, True, False]
    assert found.observe(SILENT).tolist() == [True, True, True, False]
    assert found.observe(SILENT).tolist() == [True] * 4


def test_zero_is_no_firing_and_neither_is_less():
    found = counter(1)
    for _ in range(2):
        found.observe(torch.tensor([[0.0, -1.0, 1e-30, 1.0]]))
    assert found.dead.tolist() == [True, True, False, False]


def test_looking_at_the_dead_counts_nothing():
    found = counter(1)
    found.observe(SILENT)
    for _ in range(5):
        assert not found.dead.any()
    assert found.steps_silent.tolist() == [1] * 4


def test_a_step_is_a_batch_of_any_size():
    found = counter(2)
    for rows in (1, 500, 7):
        found.observe(torch.zeros(rows, 4))
    assert found.steps_silent.tolist() == [3] * 4


def test_what_was_told_dead_does_not_change_with_the_next_step():
    found = counter(1)
    found.observe(SILENT)
    told = found.observe(SILENT)
    found.observe(fired(0, 1, 2, 3))
    assert told.tolist() == [True] * 4

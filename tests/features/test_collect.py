from functools import cache

import numpy as np
import pytest
from collect_samples import (
    BATCH_ROWS,
    collected,
    held,
    peaks_by,
    random_latents,
    random_lengths,
    split_source,
    window_rows,
)

from fast_sae.chat.kinds import Kind
from fast_sae.features.collect import Collected

M = 6
LENGTHS = {"validation": random_lengths(20), "test": random_lengths(15, seed=1)}
LATENTS = {split: random_latents(sum(lengths), M, seed=i) for i, (split, lengths) in enumerate(LENGTHS.items())}
LATENTS["validation"][:, [1, 4]] = 0
LATENTS["test"][:, [4, 5]] = 0


@cache
def both(batch_rows: int = 1000, **overrides) -> Collected:
    parts = (held(split, split_source(LATENTS[split], LENGTHS[split])) for split in ("validation", "test"))
    return collected(*parts, batch_rows=batch_rows, **overrides)


def test_the_living_fire_in_either_split():
    assert both().living.tolist() == [0, 1, 2, 3, 5]


def test_each_split_is_counted_by_itself():
    found = both()
    for part in (found.validation, found.test):
        split = part.held.split
        assert part.sums.fired.tolist() == (LATENTS[split] > 0).sum(0).tolist()
        assert (part.sums.examples, part.sums.tokens) == (len(LENGTHS[split]), sum(LENGTHS[split]))
        assert part.sums.windows == len(window_rows(LENGTHS[split], 3))


def test_tokens_and_cofiring_are_those_of_validation():
    found = both()
    for latent in range(M):
        assert found.tokens.of(latent)[0].tolist() == np.flatnonzero(LATENTS["validation"][:, latent]).tolist()
    near = dict(zip(found.living.tolist(), found.cofiring.nearest(found.living, 9), strict=True))
    assert near[1][0].tolist() == []
    assert set(near[0][0].tolist()) == {2, 3, 5}


@pytest.mark.parametrize("n", [1, 2, 50])
def test_cofiring_counts_no_more_tokens_than_asked(n):
    always = split_source(np.ones((50, 2)), [50])
    found = collected(held("validation", always), held("test", always), cofiring_rows=n).cofiring
    assert len(found._rows) == n
    assert [value.tolist() for _, value in found.nearest(np.arange(2), 1)] == [[1.0], [1.0]]


@pytest.mark.parametrize("batch_rows", BATCH_ROWS)
@pytest.mark.parametrize("n", [1, 10, 999])
def test_pooled_latents_are_the_largest_in_each_drawn_example(batch_rows, n):
    found = both(batch_rows, pooled_examples=n)
    for part in (found.validation, found.test):
        lengths, latents = LENGTHS[part.held.split], LATENTS[part.held.split]
        examples = part.pooled.examples
        assert len(examples) == min(n, len(lengths))
        assert (np.diff(examples) > 0).all()
        expected = peaks_by(latents, window_rows(lengths, 100))[examples]
        np.testing.assert_array_equal(part.pooled.result().toarray(), expected)


def test_another_seed_draws_other_examples_and_windows():
    one, other = (both(seed=seed, pooled_examples=10) for seed in (0, 1))
    assert one.validation.pooled.examples.tolist() != other.validation.pooled.examples.tolist()
    assert one.test.kept.firing.window.tolist() != other.test.kept.firing.window.tolist()
    assert one.test.kept.top.window.tolist() == other.test.kept.top.window.tolist()


def test_equal_splits_draw_other_windows_each():
    source = split_source(np.ones((99, 1)), [1] * 99)
    found = collected(held("validation", source), held("test", source))
    windows = [part.kept.firing.of(0)[0].tolist() for part in (found.validation, found.test)]
    assert windows[0] != windows[1]


def test_a_split_of_one_example_and_one_in_which_nothing_fires():
    one = held("validation", split_source([[1, 0], [0, 0]], [2]))
    none = held("test", split_source([[0, -1], [3, 3]], [1, 1], [Kind.CONTENT, Kind.BEGIN_OF_TEXT]))
    found = collected(one, none)
    assert found.living.tolist() == [0]
    assert found.test.pooled.result().toarray().tolist() == [[0, 0], [0, 0]]
    assert found.validation.pooled.result().toarray().tolist() == [[1, 0]]

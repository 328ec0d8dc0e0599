"""The mixing buffer by hand: full, half served, filled again; all served at the end."""

import numpy as np
import pytest

from fast_sae.activations.live.buffer import mix


def rows(numbers) -> np.ndarray:
    return np.array(numbers, np.float16)[:, None]


def mixed(portions, capacity, served=100, seed=0):
    found = mix((rows(part) for part in portions), capacity, served, np.random.default_rng(seed))
    return [part[:, 0].astype(int).tolist() for part in found]


class Reversed(np.random.Generator):
    """A generator of "random" orders that are the reverse of the order given."""

    def permutation(self, x, axis=0) -> np.ndarray:
        return (np.arange(x) if isinstance(x, int) else x)[::-1]


def test_half_of_a_full_buffer_is_served_and_filled_again():
    """Places 0 1 2 3 hold 10 11 12 13; the last two are served; 14 and 15 take their places; and so on."""
    stream = (rows(part) for part in ([10, 11, 12], [13, 14], [15, 16]))
    found = mix(stream, 4, 100, Reversed(np.random.PCG64()))
    assert [part[:, 0].astype(int).tolist() for part in found] == [
        [13, 12],  # full with 10 11 12 13
        [14, 15],  # full with 10 11 15 14: places 3 and 2 had been freed in this order
        [16, 11, 10],  # the end: place 3 was filled again, place 2 was not
    ]


@pytest.mark.parametrize("served", [1, 3, 100])
@pytest.mark.parametrize("capacity", [1, 2, 5, 8, 57, 200])
@pytest.mark.parametrize("portion", [1, 4, 57])
def test_every_row_comes_once_in_portions_no_larger_than_asked(capacity, served, portion):
    parts = [list(range(at, min(at + portion, 57))) for at in range(0, 57, portion)]
    found = mixed(parts, capacity, served)
    assert max(map(len, found)) <= served
    assert sorted(number for part in found for number in part) == list(range(57))


def test_the_order_hangs_on_the_seed_alone_not_on_the_portions():
    def order(portions, seed, served=100):
        return [number for part in mixed(portions, 8, served, seed) for number in part]

    whole = order([range(40)], 0)
    assert whole == order([[n] for n in range(40)], 0) == order([range(11), range(11, 40)], 0, served=3)
    assert whole != order([range(40)], 1)
    assert whole != list(range(40))


def test_no_row_is_served_before_the_buffer_is_full_and_none_waits_for_more_than_the_stream_holds():
    read = []

    def stream():
        for number in range(30):
            read.append(number)
            yield rows([number])

    found = mix(stream(), 10, 1, np.random.default_rng(0))
    next(found)
    assert len(read) == 10
    for _ in range(5):
        next(found)
    assert len(read) == 15  # the first half was served before one row more than it was read


def test_a_row_comes_from_anywhere_in_the_buffer():
    first = [mixed([range(100)], 100, 1, seed)[0][0] for seed in range(200)]
    assert np.mean(first) == pytest.approx(49.5, abs=6)  # 29/√200 = 2


def test_what_is_served_is_not_overwritten_by_what_comes_later():
    parts = list(mix((rows([n]) for n in range(20)), 4, 2, np.random.default_rng(0)))
    assert sorted(int(x) for part in parts for x in part[:, 0]) == list(range(20))


def test_a_stream_without_rows_gives_none():
    assert mixed([], 4) == []
    assert mixed([[], []], 4) == []

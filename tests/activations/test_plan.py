import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from samples import rendered_tokens

from fast_sae.activations.plan import Plan, plan_shards
from fast_sae.errors import ArtifactError


def rendered(*lengths):
    return [rendered_tokens([0] * n) for n in lengths]


def random_lengths(seed):
    return np.random.default_rng(seed).integers(1, 40, 57).tolist()


def test_a_plan_counts_examples_tokens_and_bytes():
    plan = Plan.of(rendered(3, 5), stored_share=1.0, layers=2, d_in=10, itemsize=2)
    # a row: 10 activations of 2 bytes; example, position and token id of 4 each; kind of 1
    assert (plan.examples, plan.tokens, plan.stored, plan.bytes) == (2, 8, 8, 8 * 2 * (20 + 13))


def test_splits_that_are_not_stored_take_the_room_of_their_tokens_alone():
    plan = Plan.of(rendered(3, 5), stored_share=0.375, layers=2, d_in=10, itemsize=2)
    assert (plan.tokens, plan.stored, plan.bytes) == (8, 3, 2 * (3 * 20 + 8 * 13))


def test_a_plan_of_a_sample_is_scaled_up():
    assert Plan(2, 8, 3, 328).scaled(10.0) == Plan(20, 80, 30, 3280)


@pytest.mark.parametrize(
    ("lengths", "shard_rows", "shards"),
    [
        ([], 5, []),
        ([4], 5, [range(1)]),
        ([5], 5, [range(1)]),
        ([5, 5], 5, [range(1), range(1, 2)]),
        ([2, 2, 2, 2], 5, [range(3), range(3, 4)]),
        ([9, 1], 5, [range(1), range(1, 2)]),
        ([1, 1, 1], 1, [range(1), range(1, 2), range(2, 3)]),
        ([1, 1, 1], 100, [range(3)]),
    ],
    ids=str,
)
def test_a_shard_ends_with_the_example_that_fills_it(lengths, shard_rows, shards):
    assert plan_shards(lengths, shard_rows) == shards


@pytest.mark.parametrize("shard_rows", [1, 17, 100, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_shards_hold_every_example_once_in_order_and_are_about_as_large_as_asked(seed, shard_rows):
    lengths = random_lengths(seed)
    shards = plan_shards(lengths, shard_rows)
    assert [i for shard in shards for i in shard] == list(range(len(lengths)))
    for shard in shards[:-1]:
        assert sum(lengths[i] for i in shard) >= shard_rows
    for shard in shards:
        assert sum(lengths[i] for i in shard[:-1]) < shard_rows


def test_a_disk_that_cannot_hold_the_shards_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    with pytest.raises(ArtifactError) as caught:
        Plan(examples=1, tokens=1, stored=1, bytes=3_500_000_000).require_disk(tmp_path)
    for part in (str(tmp_path), "3.5 GB", "2 MB", "data.max_examples"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("free", "fits"), [(999, False), (1000, True), (1001, True)])
def test_the_disk_must_have_as_much_as_the_shards_take(monkeypatch, tmp_path, free, fits):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if fits:
        Plan(1, 1, 1, 1000).require_disk(tmp_path)
    else:
        with pytest.raises(ArtifactError):
            Plan(1, 1, 1, 1000).require_disk(tmp_path)


def test_what_is_to_come_is_told_in_tokens_bytes_and_time():
    line = Plan(examples=1234, tokens=9_000_000, stored=7_325_000, bytes=1_500_000_000).tell(tokens_per_second=1000.0)
    for part in ("1,234 examples", "9,000,000 tokens", "1.5 GB", "2:02:05", "1,000 tokens/s"):
        assert part in line
    assert "\n" not in line


def test_no_time_is_told_where_nothing_is_computed():
    line = Plan(examples=5, tokens=700, stored=0, bytes=9100).tell(None)
    assert line == "5 examples, 700 tokens, 9.1 kB of tokens, whose activations are computed live"


@pytest.mark.parametrize(
    ("n_bytes", "size"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_234_000, "1.23 MB"), (999_900, "1 MB")],
)
def test_a_size_is_told_with_a_unit_and_never_in_powers_of_ten(n_bytes, size):
    assert f" {size} of activations" in Plan(1, 1, 1, n_bytes).tell(1.0)

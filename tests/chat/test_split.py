"""Train, validation and test: exact totals, labels in proportion, the same seed the same split."""

from collections import Counter
from fractions import Fraction

import pytest
from chat_samples import data_settings, text

from fast_sae.chat.examples import Example
from fast_sae.chat.split import SPLITS, split_examples
from fast_sae.errors import DataError


def examples(**per_label: int) -> list[Example]:
    """So many examples of each label, the labels interleaved."""
    left, made = Counter(per_label), []
    while +left:
        for label in [label for label in per_label if left[label]]:
            made.append(text(f"{label} {left[label]}", id=f"{label}-{left[label]}", label=label.strip("_")))
            left[label] -= 1
    return made


def ids(splits: dict[str, list[Example]]) -> dict[str, list[str]]:
    return {name: [example.id for example in part] for name, part in splits.items()}


@pytest.mark.parametrize(
    ("n", "validation", "test", "sizes"),
    [
        (10, 0.1, 0.1, (8, 1, 1)),
        (100, 0.1, 0.1, (80, 10, 10)),
        (300, 0.1, 0.1, (240, 30, 30)),
        (4500, 0.1, 0.1, (3600, 450, 450)),
        (7, 0.2, 0.3, (4, 1, 2)),  # 7 * 0.3 = 2.1 and 7 * 0.2 = 1.4
        (20, 0.25, 0.25, (10, 5, 5)),
        (3, 0.3, 0.3, (1, 1, 1)),
        (5, 0.4, 0.4, (1, 2, 2)),
    ],
)
def test_the_sizes_of_the_splits_are_the_fractions_of_the_whole(n, validation, test, sizes):
    settings = data_settings(validation_fraction=validation, test_fraction=test)
    splits = split_examples(examples(a=n), settings)
    assert list(splits) == ["train", "validation", "test"] == list(SPLITS)
    assert tuple(len(part) for part in splits.values()) == sizes


def test_every_example_is_in_one_split_and_keeps_the_order_of_the_data():
    data = examples(a=31, b=12, c=7)
    splits = split_examples(data, data_settings())
    assert sorted(e.id for part in splits.values() for e in part) == sorted(e.id for e in data)
    place = {example.id: i for i, example in enumerate(data)}
    for part in splits.values():
        assert [place[e.id] for e in part] == sorted(place[e.id] for e in part)


@pytest.mark.parametrize("seed", range(5))
def test_each_label_is_split_exactly_when_its_count_divides(seed):
    splits = split_examples(examples(a=50, b=30, c=20), data_settings(seed=seed))
    counts = {name: dict(Counter(e.label for e in part)) for name, part in splits.items()}
    assert counts["test"] == counts["validation"] == {"a": 5, "b": 3, "c": 2}
    assert counts["train"] == {"a": 40, "b": 24, "c": 16}


@pytest.mark.parametrize(
    ("validation", "test"), [("0.1", "0.1"), ("0.2", "0.3"), ("0.4", "0.4")], ids=["10-10", "20-30", "40-40"]
)
def test_each_labels_share_in_a_split_is_within_one_example_of_its_fraction(validation, test):
    settings = data_settings(validation_fraction=float(validation), test_fraction=float(test))
    share = {"validation": Fraction(validation), "test": Fraction(test)}
    far = []
    for sizes in ((3, 4, 5, 6), (1, 7, 9, 13), (11, 2, 17, 5), (23, 19, 8, 8)):
        labelled = dict(zip("abcd", sizes, strict=True))
        parts = split_examples(examples(**labelled), settings)
        for name in share:
            counts = Counter(example.label for example in parts[name])
            far += [(name, la, n) for la, n in labelled.items() if abs(counts[la] - n * share[name]) > 1]
    assert far == []


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    data = examples(a=30, b=30)
    first, again, other = (ids(split_examples(data, data_settings(seed=seed))) for seed in (3, 3, 4))
    assert first == again
    assert first["test"] != other["test"]
    assert first["validation"] != other["validation"]


def test_examples_are_drawn_at_random_and_not_by_their_place():
    drawn = {e.id for seed in range(60) for e in split_examples(examples(a=20), data_settings(seed=seed))["test"]}
    assert len(drawn) == 20


def test_examples_without_a_label_are_split_as_one_label():
    data = [text(f"t{i}", id=f"t{i}") for i in range(20)] + examples(a=20)
    test = split_examples(data, data_settings())["test"]
    assert Counter(e.label for e in test) == {None: 2, "a": 2}


def test_a_label_of_great_length_does_not_swell_the_memory():
    import tracemalloc

    data = [text("x", id=str(i), label="a" if i else "long " * 20_000) for i in range(200)]
    tracemalloc.start()
    split_examples(data, data_settings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("n", [1, 2, 4])
def test_too_few_examples_for_three_splits_are_refused_with_what_to_do(n):
    with pytest.raises(DataError, match=f"{n} examples leave none for .*add data or raise its fraction"):
        split_examples(examples(a=n), data_settings())

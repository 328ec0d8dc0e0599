"""What has become of latents, on decoders and activations that can be checked by eye."""

import numpy as np
import pandas as pd
import pytest

from fast_sae.comparison.experiments import git
from fast_sae.comparison.latents import Described, Status, compare_described
from fast_sae.comparison.revision import WORKSPACE, find_revision
from fast_sae.comparison.side_by_side import metric_table
from fast_sae.errors import UserError

RISING, FALLING = [0.0, 1, 2, 3], [3.0, 2, 1, 0]
OTHER, FLAT = [1.0, 0, 0, 1], [2.0, 2, 2, 2]


def described(numbers: list[int], decoder, pooled) -> Described:
    return Described(
        np.array(numbers),
        None if decoder is None else np.array(decoder, np.float64),
        None if pooled is None else np.array(pooled, np.float32),
    )


def test_latents_are_found_in_another_order_and_judged_by_what_they_do():
    a = described([3, 5, 8], np.eye(3), [RISING, RISING, OTHER])
    b = described([0, 1, 2], np.eye(3)[[2, 0, 1]], [OTHER, RISING, FALLING])
    rows = compare_described(a, b, "decoder").rows
    assert [*zip(rows["a"], rows["b"], rows["status"], strict=True)] == [
        (3, 1, Status.FOUND),
        (5, 2, Status.CHANGED),
        (8, 0, Status.FOUND),
    ]
    assert rows["cosine"].tolist() == pytest.approx([1, 1, 1])
    assert rows["pearson"].tolist() == pytest.approx([1, -1, 1])


def test_what_has_no_pair_vanished_or_appeared_and_its_nearest_is_told():
    a = described([7, 9], [[1, 0], [0, 1]], [RISING, OTHER])
    b = described([4, 6, 2], [[1, 0], [0.8, -0.6], [-1, 0]], [RISING, FLAT, OTHER])
    found = compare_described(a, b, "decoder")
    by = {status: found.rows[found.rows["status"] == status] for status in Status}
    assert (found.count(Status.FOUND), found.count(Status.VANISHED), found.count(Status.APPEARED)) == (1, 1, 2)
    vanished = by[Status.VANISHED].iloc[0]
    assert (vanished["a"], vanished["nearest_by_activation"]) == (9, 2)
    assert vanished["nearest_pearson"] == pytest.approx(1)
    assert found.living_on == 1
    appeared = by[Status.APPEARED].set_index("b")
    assert appeared.loc[6, "nearest"] == 7
    assert appeared.loc[6, "nearest_cosine"] == pytest.approx(0.8)
    assert pd.isna(appeared.loc[6, "nearest_pearson"])  # it fires alike everywhere


def test_a_pair_just_short_of_the_bound_is_no_pair():
    angle = np.arccos(0.69)
    a, b = described([0], [[1, 0]], None), described([0], [[np.cos(angle), np.sin(angle)]], None)
    assert compare_described(a, b, "decoder").rows["status"].tolist() == [Status.VANISHED, Status.APPEARED]


def test_of_two_copies_one_is_found():
    a = described([0, 1], [[1, 0], [1, 0]], None)
    rows = compare_described(a, described([5], [[1, 0]], None), "decoder").rows
    assert rows["status"].tolist() == [Status.FOUND, Status.VANISHED]


def test_other_widths_are_matched_by_what_they_do():
    a = described([0, 1], None, [RISING, OTHER])
    b = described([2, 3], None, [[0, 0, 1, 1], [2, 0, 0, 2]])
    rows = compare_described(a, b, "activation").rows
    assert [*zip(rows["a"], rows["b"], rows["status"], strict=True)] == [(0, 2, Status.FOUND), (1, 3, Status.FOUND)]
    assert rows["cosine"].isna().all()


def test_greedy_matching_agrees_where_pairs_are_clear():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(12, 30))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = generator.permutation(12)
    a, b = described([*range(12)], rows, None), described([*range(12)], rows[order], None)
    exact, greedy = compare_described(a, b, "decoder"), compare_described(a, b, "decoder", most=3)
    assert exact.exact
    assert not greedy.exact
    assert dict(zip(greedy.rows["a"], greedy.rows["b"], strict=True)) == {int(at): i for i, at in enumerate(order)}
    assert dict(zip(exact.rows["a"], exact.rows["b"], strict=True)) == {int(at): i for i, at in enumerate(order)}


def test_metrics_stand_side_by_side_with_their_intervals():
    a = {"evaluate.l0": 8.0, "evaluate.fvu": 0.1, "evaluate.fvu_low": 0.09, "evaluate.fvu_high": 0.11, "old.one": 1.0}
    b = {"evaluate.l0": 16.0, "evaluate.fvu": 0.2, "evaluate.fvu_low": 0.19, "evaluate.fvu_high": 0.21}
    table = metric_table(a, b).set_index("metric")
    assert [*table.index] == ["evaluate.fvu", "evaluate.l0", "old.one"]
    assert table.loc["evaluate.l0", "difference"] == 8
    assert table.loc["evaluate.fvu", "intervals_overlap"] is False
    assert pd.isna(table.loc["old.one", "b"])
    assert table.loc["evaluate.l0", "intervals_overlap"] is None


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    for text in ("one", "two"):
        (tmp_path / "file").write_text(text)
        git("add", "-A")
        git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", text)
    return tmp_path


def test_a_revision_is_what_git_or_dvc_calls_so(repository):
    first = git("rev-parse", "HEAD~1")
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/my-run", "HEAD")
    assert find_revision("main~1").commit == first
    assert find_revision("my-run").commit == git("rev-parse", "HEAD")
    assert find_revision(WORKSPACE).commit is None
    assert find_revision("main~1").text("file") == "one"
    assert find_revision(WORKSPACE).text("file") == "two"
    assert find_revision("main").text("no/such/file") is None


@pytest.mark.parametrize("asked", ["no-such", "", "--help", "main~9"])
def test_an_unknown_revision_is_told_in_one_line(repository, asked):
    with pytest.raises(UserError, match="no revision, branch, tag or experiment") as refused:
        find_revision(asked)
    assert "\n" not in str(refused.value)


def test_two_experiments_of_one_name_are_not_guessed_between(repository):
    for commit in ("HEAD", "HEAD~1"):
        base = git("rev-parse", commit)
        git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/twice", base)
    with pytest.raises(UserError, match="2 experiments are called twice"):
        find_revision("twice")

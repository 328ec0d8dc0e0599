"""What latents are called: read as it was written, and names before what only says why there is none."""

import csv

import pytest
from dashboard_samples import HYPOTHESIS, NAMED, UNNAMED

from fast_sae.dashboard.names import Names, read_names
from fast_sae.errors import ArtifactError

TEXTS = (
    *("NA", "null", "nan", "None", "N/A", "-inf", "", " ", "007", "1e5", "True", "#"),
    *(
        "a,b",
        'say "it"',
        "'",
        "one\ntwo",
        "one\r\ntwo",
        "\r",
        "a\tb",
        "\u2028",
        "\u202e",
        "\0",
        "ü👩‍👩‍👧",
        "x" * 10_000,
    ),
)


def written(path, rows):
    """A table as the stages write it, every text quoted."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*rows[0]], quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return path


def read(folder, interpretations=(), hypotheses=()) -> Names:
    paths = []
    for name, rows in (("interpretations", interpretations), ("hypotheses", hypotheses)):
        paths.append(folder / f"{name}.csv")
        if rows:
            written(paths[-1], rows)
        else:
            paths[-1].write_text("\n")
    return read_names(*paths)


def test_texts_come_back_as_they_were_written(tmp_path):
    names = read(
        tmp_path,
        [NAMED | {"neuron_idx": i, "interpretation": text, "rating_reason": text} for i, text in enumerate(TEXTS)],
        [HYPOTHESIS | {"latent": i, "interpretation": text, "target": text} for i, text in enumerate(TEXTS)],
    )
    for i, text in enumerate(TEXTS):
        assert (names.interpreted[i]["text"], names.interpreted[i]["rating_reason"]) == (text, text)
        assert names.hypotheses[i] == [[text, text, True, 0.9123, 0.0001235]]


def test_a_name_stands_before_a_hypothesis_and_a_hypothesis_before_none(tmp_path):
    reasons = [
        NAMED | {"neuron_idx": k, "status": status, "interpretation": text}
        for k, status, text in ((1, "no_pattern", "no pattern found"), (2, "refused", ""), (3, "failed", ""))
    ]
    hypotheses = [HYPOTHESIS | {"latent": k, "interpretation": text} for k, text in ((0, "a"), (1, "b"), (1, "c"))]
    names = read(tmp_path, [NAMED, *reasons], [*hypotheses, UNNAMED | {"latent": 4}])
    assert [names.headline(latent) for latent in range(6)] == [
        ("the word pearl", "explained"),
        ("b", "hypothesis"),
        (None, "refused"),
        (None, "failed"),
        (None, None),
        (None, None),
    ]
    assert 4 not in names.hypotheses  # one that has no name is none


def test_what_was_not_scored_has_no_score(tmp_path):
    names = read(tmp_path, [NAMED | {"rating": None, "balanced_accuracy": None}])
    assert (names.score(0, "rating"), names.score(0, "balanced_accuracy")) == (None, None)
    assert names.score(0, "fuzzing_balanced_accuracy") == 0.75
    assert names.score(1, "rating") is names.score(1, "f1") is None


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"neuron_idx\n0\n", id="columns are missing"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(b'"neuron_idx","interpretation"\n0,"never closed', id="cut off within a text"),
        pytest.param(b"a,b\n1,2\n1,2,3\n", id="a row too long"),
        pytest.param(b"neuron_idx,interpretation\n0,1,2\n3,4,5\n", id="all rows too long"),
        pytest.param(b"x" + b",".join(map(str.encode, NAMED)) + b"\n" + b"0," * (len(NAMED) - 1) + b"0\n", id="header"),
        pytest.param(b",".join(map(str.encode, NAMED)) + b"\n" + b"no," * (len(NAMED) - 1) + b"no\n", id="no numbers"),
    ],
)
def test_a_damaged_table_is_told_in_one_line(tmp_path, damaged):
    read(tmp_path, [NAMED], [HYPOTHESIS])
    (tmp_path / "interpretations.csv").write_bytes(damaged)
    with pytest.raises(ArtifactError, match=r"interpretations.csv is damaged .*dvc repro interpret_sae") as refused:
        read_names(tmp_path / "interpretations.csv", tmp_path / "hypotheses.csv")
    assert "\n" not in str(refused.value)


def test_damaged_hypotheses_are_told(tmp_path):
    read(tmp_path, [NAMED], [HYPOTHESIS])
    (tmp_path / "hypotheses.csv").write_text("target,status\na,named\n")
    with pytest.raises(ArtifactError, match="damaged .KeyError: 'confirmed'.; run: dvc repro generate_hypotheses"):
        read_names(tmp_path / "interpretations.csv", tmp_path / "hypotheses.csv")

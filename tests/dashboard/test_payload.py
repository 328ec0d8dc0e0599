"""The data of the page against its contract, the docstring of payload.py, over a run that can be checked by eye."""

import json

import pytest
from dashboard_samples import METRICS, MODEL_NAME, PROMPTS, ReadPage, Run
from features_samples import example_tokens

from fast_sae.chat.kinds import KIND_NAMES


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run) -> ReadPage:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return run.build(monkeypatch)


def test_the_blocks_and_fields_are_those_of_the_contract(page):
    assert page.blocks.keys() == {"overview", "chunk-0"}
    assert {*page.overview} == {
        *("run", "settings", "metrics", "curves", "density", "kinds", "labels", "split", "latents", "chunks")
    }
    assert {*page.overview["latents"]} == {
        *(
            "latent",
            "name",
            "named",
            "rating",
            "score",
            "fuzzing",
            "density",
            "label",
            "auroc",
            "token",
            "max",
            "x",
            "y",
        )
    }
    assert {*page.chunks[0]} == {"tokens", "texts", "latents"}
    for about in page.latents.values():
        assert {*about} == {
            *("name", "hypotheses", "rates", "quantiles", "kinds", "histogram", "top", "sampled", "tokens"),
            *("promoted", "suppressed", "decoder", "cofiring", "labels", "steering"),
        }


def test_the_run_is_told(page, run):
    about = page.overview["run"]
    assert {key: about[key] for key in ("model", "revision", "layer", "architecture", "M", "K", "d_in", "alive")} == {
        **{"model": MODEL_NAME, "revision": None, "layer": 5, "architecture": "topk"},
        **{"M": 4, "K": 2, "d_in": 3, "alive": 3},
    }
    assert about["test"] == {"examples": 60, "windows": 60, "tokens": 480}
    features = json.loads((run.folder / "features/manifest.json").read_text())
    assert about["sae"] == features["facts"]["sae_sha256"]
    assert page.overview["split"] == "test"
    assert page.overview["kinds"] == [*KIND_NAMES]


def test_settings_are_flat_sorted_texts(page):
    settings = page.overview["settings"]
    assert settings == sorted(settings)
    assert all(isinstance(text, str) for pair in settings for text in pair)
    told = dict(settings)
    assert len(told) == len(settings)
    assert (told["sae.M"], told["train.seed"], told["sae.aux_k"]) == ("4", "42", "null")
    assert told["sae.subtract_b_dec"] == "true"


def test_metrics_stand_beside_their_bounds(page):
    metrics = page.overview["metrics"]
    assert ["evaluate", "fvu", 0.0646538, 0.0642, 0.0651] in metrics
    assert ["evaluate", "l0", 8.0, None, None] in metrics
    assert ["prepare", "examples", 123456, None, None] in metrics
    assert ["train", "mse_low", 0.5, None, None] in metrics  # a bound of nothing is a figure of its own
    assert not [line for line in metrics if line[1] in ("fvu_low", "fvu_high")]
    assert {section for section, *_ in metrics} == {section for section, _ in METRICS.values()}


def test_curves_and_density_hold_exact_steps_and_counts(page):
    assert page.overview["curves"].keys() == {"loss", "validation_loss", "l0", "dead_fraction"}
    assert page.overview["curves"]["loss"] == [[50, 0.1235], [123450, 0.1], [123500, 0]]
    assert page.overview["density"] == [["dead", 1], ["-6.0", 0], ["-5.5", 12345]]


def test_labels_are_numbered_by_their_names(page):
    assert page.overview["labels"] == ["counting", "waiting"]


def test_the_table_has_a_row_per_living_latent(page):
    rows = page.columns
    assert [*rows] == [0, 1, 2]
    places = {k: (row.pop("x"), row.pop("y")) for k, row in rows.items()}
    assert all(0 <= place <= 1 for pair in places.values() for place in pair)
    assert rows[0] == {
        **{"latent": 0, "name": "the word pearl", "named": "explained", "rating": 5, "score": 0.8765, "fuzzing": 0.75},
        **{"density": 0.09877, "label": 1, "auroc": None, "token": " pearl", "max": 1.983},
    }
    assert rows[1] == {
        **{"latent": 1, "name": "counts aloud", "named": "hypothesis", "rating": None, "score": None, "fuzzing": None},
        **{"density": 0.04, "label": 0, "auroc": 0.9877, "token": "", "max": 2.967},
    }
    assert rows[2] == {
        **{"latent": 2, "name": None, "named": None, "rating": None, "score": None, "fuzzing": None},
        **{"density": 0.125, "label": -1, "auroc": None, "token": None, "max": None},
    }


def test_dead_latents_are_absent(page):
    assert [*page.latents] == [0, 1, 2]
    assert page.overview["chunks"] == {"size": 4, "count": 1, "embedded": True}


def test_what_was_said_of_a_latent(page):
    assert page.latents[0]["name"] == {
        **{"text": "the word pearl", "reason": "", "status": "explained", "rating": 5},
        "rating_reason": "clear, and short",
        "scores": {
            **{"balanced_accuracy": 0.8765, "precision": 1, "recall": 0.5, "f1": 0.6667, "correlation": None},
            **{"fuzzing_balanced_accuracy": 0.75, "other_f1": 0.1, "constant_f1": 0.2},
            "other_fuzzing_balanced_accuracy": None,
        },
    }
    assert page.latents[0]["hypotheses"] == []
    assert page.latents[1]["name"] is None
    assert page.latents[1]["hypotheses"] == [["counting", "counts aloud", True, 0.9123, 0.0001235]]


def test_the_numbers_of_a_latent(page):
    about = page.latents[0]
    assert about["rates"] == {"validation": [0.1235, 0.2, 0.25], "test": [0.09877, 0.3, 0.4]}
    assert about["quantiles"] == [1, 1.25, 1.5, 1.75, 1.9, 1.983, 1.235]
    assert about["kinds"] == [0, 0, 0, 1, 0]
    assert about["histogram"] == [[1, 1.543, 7], [1.543, 2, 123456]]
    assert about["tokens"] == [[" pearl", 36, 37, 6.667], ["Pearl", 1, 10000, 1.5]]
    assert about["promoted"] == [[" shell", 2.346], [" sea", 1]]
    assert about["suppressed"] == [[" sky", -3.457]]
    assert about["decoder"] == [[2, 0.6], [1, 0]]
    assert about["cofiring"] == [[1, 0.3333]]
    assert about["labels"] == []
    other = page.latents[1]
    assert other["labels"] == [[0, 1, 0.9877], [1, 0.1235, None]]
    assert (other["promoted"], other["suppressed"]) == ([], [[" one", -0.0001235]])


def test_what_a_latent_has_nothing_of_is_null_or_empty(page):
    about = page.latents[2]
    assert about["name"] is None
    assert about["quantiles"] == [None] * 7
    assert about["rates"]["validation"] == [0, 0, 0]
    for what in ("hypotheses", "histogram", "tokens", "promoted", "suppressed", "decoder", "cofiring", "labels"):
        assert about[what] == [], what


def test_top_windows_are_the_strongest_with_every_firing_token(page):
    # Latent 0 fires on the words of every fifth example i, at 1 + i / 60, which are tokens 4 to 6 behind the header
    strength = {59: 1.983, 54: 1.9, 49: 1.817}
    texts = page.chunks[0]["texts"]
    shown = [(texts[number][0], firing) for number, firing in page.latents[0]["top"]]
    assert shown == [(i, [4, s, 5, s, 6, s]) for i, s in strength.items()]


def test_sampled_windows_are_spread_over_the_tenths(page):
    # Of 12 windows, those of rank 1, 5, 8 and 12
    texts = page.chunks[0]["texts"]
    shown = [(texts[number][0], decile, firing[:2]) for number, decile, firing in page.latents[0]["sampled"]]
    assert shown == [(59, 10, [4, 1.983]), (39, 7, [4, 1.65]), (24, 5, [4, 1.4]), (4, 1, [4, 1.067])]


def test_every_text_is_the_examples_own(page):
    chunk = page.chunks[0]
    assert len({*chunk["tokens"]}) == len(chunk["tokens"])
    assert len({row[0] for row in chunk["texts"]}) == len(chunk["texts"])  # each once: an example is one window here
    for example, first, label, numbers, kinds in chunk["texts"]:
        tokens, of, name = example_tokens(example)
        assert [chunk["tokens"][number] for number in numbers] == tokens
        assert (first, page.overview["labels"][label], kinds) == (0, name, "".join(map(str, of)))
    used = {number for about in page.latents.values() for number, *_ in [*about["top"], *about["sampled"]]}
    assert used == {*range(len(chunk["texts"]))}


def test_positions_lie_within_the_text(page):
    texts = page.chunks[0]["texts"]
    for about in page.latents.values():
        for number, *_, firing in [*about["top"], *about["sampled"]]:
            assert firing[::2] == sorted({*firing[::2]})
            assert all(0 <= at < len(texts[number][3]) for at in firing[::2])
            assert all(value > 0 for value in firing[1::2])


def test_steering_shows_the_curve_and_two_prompts_unsteered_first(page):
    about = page.latents[1]["steering"]
    assert about["label"] == "counting"
    # Of three prompts none is recognised unsteered, two at each dose
    assert [dose[:2] for dose in about["doses"]] == [[0, 0], [25, 0.6667], [50, 0.6667]]
    assert all(len(dose) == 4 and dose[2] <= dose[1] <= dose[3] for dose in about["doses"])
    told = {prompt: [one[1:] for one in about["samples"] if one[0] == prompt] for prompt in PROMPTS}
    assert sum(map(len, told.values())) == len(about["samples"])
    assert told[PROMPTS[0]] == [[0, "text 0", "waiting"], [25, "text 0", "counting"], [50, "text 0", "counting"]]
    assert told[PROMPTS[1]] == [[0, "text 1", None], [25, "text 1", "waiting"], [50, "text 1", "waiting"]]
    prompts = [one[0] for one in about["samples"]]
    assert prompts[0] == prompts[2] != prompts[3] == prompts[5]  # one prompt behind the other


def test_a_latent_steered_for_no_label_has_samples_alone(page):
    about = page.latents[2]["steering"]
    assert (about["label"], about["doses"]) == (None, [])
    assert [one[1] for one in about["samples"]] == [0, 25, 50] * 2
    assert page.latents[0]["steering"] is None

"""data/features against what a plain loop finds in the same latents, and the store's view of it."""

import dataclasses
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from collect_samples import (
    TRAINED,
    collected,
    features_settings,
    held,
    model_settings,
    peaks_by,
    random_latents,
    split_source,
    window_rows,
    written_features,
)
from sae_samples import initialised

from fast_sae.activations.live.identity import identify
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.chat.kinds import KIND_NAMES, Kind
from fast_sae.chat.pieces import TokenPieces
from fast_sae.features import writing
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import SCHEMAS, read_features_table
from fast_sae.features.writing import FeatureTables
from fast_sae.statistics import auroc

TEXTS = [
    "Plain words, and a number: 42.",
    "👩‍👩‍👧 and 😀😁",
    'He said "no"\0 twice',
    "\u202eright\u200fto left",
    "naïve café, 東京",
    "x" * 40,
    "one",
]
M = 6
SPLITS = ("validation", "test")
TOKENIZER = load_tokenizer(model_settings(), None)
IDS = {
    split: [TOKENIZER.encode(TEXTS[(i * step) % 7], add_special_tokens=False) for i in range(n)]
    for split, n, step in (("validation", 21, 1), ("test", 14, 3))
}
LENGTHS = {split: [len(ids) for ids in IDS[split]] for split in SPLITS}
LABELS = {"validation": (["a", "b", None, "only here"] * 8)[:21], "test": (["b", "a", None] * 8)[:14]}
KINDS = {
    split: [int(kind) for n in LENGTHS[split] for kind in (Kind.BEGIN_OF_TEXT, *[Kind.CONTENT] * n)[:n]]
    for split in SPLITS
}


def made_latents() -> dict[str, np.ndarray]:
    """0 to 2 fire in both splits, 3 in validation alone, 4 is dead, 5 fires in test alone."""
    found = {split: random_latents(sum(LENGTHS[split]), M, share=0.2, seed=i) for i, split in enumerate(SPLITS)}
    found["validation"][:, [4, 5]] = 0
    found["test"][:, [3, 4]] = 0
    return found


LATENTS = made_latents()
LOOKED_AT = {split: LATENTS[split] * np.isin(KINDS[split], TRAINED)[:, None] for split in SPLITS}
WINDOWS = {split: window_rows(LENGTHS[split], 3) for split in SPLITS}
PEAKS = {split: peaks_by(LOOKED_AT[split], WINDOWS[split]) for split in SPLITS}
EXAMPLE_PEAKS = {split: peaks_by(LOOKED_AT[split], window_rows(LENGTHS[split], 10**6)) for split in SPLITS}
LIVING = [0, 1, 2, 3, 5]


def sources():
    flat = {split: [token for ids in IDS[split] for token in ids] for split in SPLITS}
    return [
        held(split, split_source(LATENTS[split], LENGTHS[split], KINDS[split], flat[split]), LABELS[split])
        for split in SPLITS
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FeatureStore:
    return written_features(tmp_path_factory.mktemp("made") / "features", *sources())


def known(labels) -> list[str | None]:
    """A column of labels, with None where one is missing."""
    return [None if missing else label for label, missing in zip(labels, labels.isna(), strict=True)]


def rows(store: FeatureStore, name: str, **wanted) -> list[dict]:
    return read_features_table(store.folder, name, **wanted).to_pylist()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_table_has_its_columns_and_living_latents_alone_in_their_order(store, name):
    table = read_features_table(store.folder, name)
    assert table.schema == SCHEMAS[name]
    if "latent" in table.column_names and name not in ("pooled", "logit_lens"):
        latents = table["latent"].to_pylist()
        assert latents == sorted(latents)
        assert set(latents) <= set(LIVING)
    assert len(table) > 0 or name == "logit_lens"


def test_nothing_else_is_in_the_folder(store):
    assert {path.name for path in store.folder.iterdir()} == {"manifest.json", *(f"{name}.parquet" for name in SCHEMAS)}
    assert [path.name for path in store.folder.parent.iterdir()] == [store.folder.name]


def test_the_manifest_tells_how_much_was_seen(store):
    assert (store.M, store.manifest.facts["living"]) == (M, 5)
    assert store.manifest.facts["token_counts_short_by"] == 0
    for split in SPLITS:
        assert store.count("examples", split) == len(LENGTHS[split])
        assert store.count("windows", split) == len(WINDOWS[split])
        assert store.count("tokens", split) == int(np.isin(KINDS[split], TRAINED).sum())
        assert store.manifest.facts[split]["activations_sha256"] == "0" * 64
    assert store.manifest.settings == {"made": "by hand"}


@pytest.mark.parametrize("latent", LIVING)
def test_a_latents_row_tells_what_it_does(store, latent):
    row = store.latents.loc[latent]
    for split in SPLITS:
        fired = LOOKED_AT[split][:, latent] > 0
        expected = {
            "density": fired.sum() / np.isin(KINDS[split], TRAINED).sum(),
            "window_rate": (PEAKS[split][:, latent] > 0).mean(),
            "example_rate": (EXAMPLE_PEAKS[split][:, latent] > 0).mean(),
        }
        for name, value in expected.items():
            assert row[f"{split}_{name}"] == pytest.approx(value, rel=1e-5), name
    fires = LOOKED_AT["validation"][:, latent]
    fires = fires[fires > 0]
    assert row["mean_activation"] == pytest.approx(fires.mean() if len(fires) else 0, rel=1e-5)
    assert row["max_activation"] == fires.max(initial=0)
    quantiles = row[["q05", "q25", "q50", "q75", "q95"]].to_numpy(float)
    if len(fires):
        lower = np.quantile(fires, (0.05, 0.25, 0.5, 0.75, 0.95), method="inverted_cdf")
        assert (quantiles >= lower / 2 ** (1 / 16) * 0.999).all()
        assert (quantiles <= lower * 2 ** (1 / 16) * 1.001).all()
    assert row[list(KIND_NAMES)].tolist() == [0, 0, 0, float(len(fires) > 0), 0]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("latent", LIVING)
def test_the_windows_of_a_latent_are_what_it_does_there(store, split, latent):
    peaks = PEAKS[split][:, latent]
    example = np.repeat(np.arange(len(LENGTHS[split])), LENGTHS[split])
    position = np.concatenate([np.arange(n) for n in LENGTHS[split]])
    number = {(int(example[w[0]]), int(position[w[0]])): i for i, w in enumerate(WINDOWS[split])}
    found = {sample: store.windows(latent, split, sample) for sample in ("top", "firing", "silent")}
    for sample, shown in found.items():
        for one in shown:
            assert one.window.split == split
            here = number[one.window.example, one.window.start]
            expected = LOOKED_AT[split][WINDOWS[split][here], latent]
            assert one.activations == (() if sample == "silent" else tuple(expected.tolist()))
            assert one.activation == peaks[here]
            assert one.fires == (sample != "silent")
            ids = IDS[split][one.window.example][one.window.start : one.window.start + 3]
            assert one.window.tokens == TokenPieces(TOKENIZER).of(ids)
            assert one.window.text.replace("\ufffd", "") == TOKENIZER.decode(ids).replace("\ufffd", "")
            assert one.window.kinds == tuple(KINDS[split][row] for row in WINDOWS[split][here])
            assert one.window.label == LABELS[split][one.window.example]
        strengths = [one.activation for one in shown]
        assert strengths == sorted(strengths, reverse=True)
        assert len({id(one.window) for one in shown}) == len(shown)
    n_firing = int((peaks > 0).sum())
    assert [len(found["top"]), len(found["firing"])] == [min(2, n_firing), min(10, n_firing)]
    assert len(found["silent"]) == 4
    assert [one.activation for one in found["top"]] == sorted(peaks[peaks > 0], reverse=True)[:2]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("latent", LIVING)
def test_the_weights_add_up_to_the_windows_of_the_split(store, split, latent):
    firing, silent = (store.windows(latent, split, sample) for sample in ("firing", "silent"))
    fires = int((PEAKS[split][:, latent] > 0).sum())
    assert sum(shown.weight for shown in firing) == pytest.approx(fires)
    assert sum(shown.weight for shown in silent) == pytest.approx(len(WINDOWS[split]) - fires)
    assert len({shown.weight for shown in firing}) <= 1
    assert {shown.weight for shown in store.windows(latent, split, "top")} <= {0.0}


@pytest.mark.parametrize(("n", "deciles"), [(10, range(10, 0, -1)), (25, None), (7, None), (1, [10])])
def test_windows_drawn_at_random_are_told_by_their_tenth(tmp_path, n, deciles):
    source = split_source(np.arange(1.0, n + 1)[:, None], [1] * n)
    store = written_features(
        tmp_path / "f", held("validation", source), held("test", source), window_tokens=1, sampled_windows=25
    )
    shown = store.windows(0, "test", "firing")
    found = [one.decile for one in shown]
    assert found == sorted(found, reverse=True)
    assert found == (list(deciles) if deciles else found)
    assert found[0] == 10
    assert (found[-1] == 1) == (n >= 10)
    counts = [found.count(decile) for decile in range(1, 11)]
    assert max(counts) - min(counts) <= 1
    assert {one.decile for one in store.windows(0, "test", "top")} == {0}


def test_texts_are_numbered_by_their_row_and_each_is_kept_by_some_latent(store):
    texts = rows(store, "texts")
    assert [text["window"] for text in texts] == list(range(len(texts)))
    used = {row["window"]: row["split"] for row in rows(store, "windows")}
    assert used.keys() == set(range(len(texts)))
    for text in texts:
        assert used[text["window"]] == text["split"]
        assert text["token_ids"] == IDS[text["split"]][text["example"]][text["start"] : text["start"] + 3]
    places = [(SPLITS.index(text["split"]), text["example"], text["start"]) for text in texts]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


def test_texts_written_in_portions_are_the_same(store, monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "_TEXTS", 4)
    made = written_features(tmp_path / "features", *sources())
    assert pq.ParquetFile(made.folder / "texts.parquet").num_row_groups > len(SPLITS)
    assert rows(made, "texts") == rows(store, "texts")


def test_the_ranks_of_the_windows_count_from_one(store):
    groups = Counter()
    for row in rows(store, "windows"):
        groups[row["latent"], row["split"], row["sample"]] += 1
        assert row["rank"] == groups[row["latent"], row["split"], row["sample"]]


@pytest.mark.parametrize("split", SPLITS)
def test_pooled_latents_are_those_of_each_example(store, split):
    assert store.pooled_examples(split)["example"].tolist() == list(range(len(LENGTHS[split])))
    assert known(store.pooled_examples(split)["label"]) == LABELS[split]
    np.testing.assert_array_equal(store.pooled(split).toarray(), EXAMPLE_PEAKS[split])


@pytest.mark.parametrize("split", SPLITS)
def test_fewer_examples_than_the_split_has_may_be_pooled(tmp_path, split):
    store = written_features(tmp_path / "f", *sources(), pooled_examples=9)
    examples = store.pooled_examples(split)
    assert len(examples) == 9
    assert (np.diff(examples["example"]) > 0).all()
    assert known(examples["label"]) == [LABELS[split][i] for i in examples["example"]]
    np.testing.assert_array_equal(store.pooled(split).toarray(), EXAMPLE_PEAKS[split][examples["example"]])
    assert store.count("examples", split) == len(LENGTHS[split])


def test_labels_are_those_of_the_examples_that_are_pooled(tmp_path):
    n = 40
    source = split_source(np.tile([[1.0], [0.0]], (n // 2, 1)), [1] * n)
    parts = (held(split, source, ["fires", "does not"] * (n // 2)) for split in SPLITS)
    store = written_features(tmp_path / "f", *parts, pooled_examples=10)
    drawn = store.pooled_examples("test")["example"]
    assert 0 < sum(drawn % 2) < 10
    assert drawn.tolist() != list(range(10))
    found = store.table("labels")
    assert found["label"].tolist() == ["fires", "does not"]
    assert found["validation_auroc"].tolist() == found["test_auroc"].tolist() == [1.0, 0.0]


def test_the_histogram_holds_each_firing_of_validation_in_its_bin(store):
    for latent in LIVING:
        fires = LOOKED_AT["validation"][:, latent]
        found = rows(store, "histograms", latent=latent)
        assert sum(row["tokens"] for row in found) == (fires > 0).sum()
        for row in found:
            inside = (fires >= row["low"] * (1 - 1e-6)) & (fires < row["high"] * (1 - 1e-6))
            assert row["tokens"] == inside.sum() > 0


def test_tokens_are_listed_by_lift(store):
    flat = np.array([token for ids in IDS["validation"] for token in ids])
    trained = np.isin(KINDS["validation"], TRAINED)
    for latent in LIVING:
        found = rows(store, "tokens", latent=latent)
        fires = LOOKED_AT["validation"][:, latent] > 0
        assert [row["rank"] for row in found] == list(range(1, min(5, len(set(flat[fires]))) + 1))
        lifts = [row["lift"] for row in found]
        assert lifts == sorted(lifts, reverse=True)
        for row in found:
            here = (flat == row["token_id"]) & trained
            assert (row["fired"], row["count"]) == ((here & fires).sum(), here.sum())
            assert row["lift"] == pytest.approx(fires[here].mean() / fires[trained].mean(), rel=1e-5)
            assert row["token"] == TokenPieces(TOKENIZER).alone(row["token_id"])


def test_each_latent_has_other_latents_near_it(store):
    for latent in LIVING:
        for by in ("decoder", "cofiring"):
            found = rows(store, "neighbours", latent=latent, by=by)
            others = [row["neighbour"] for row in found]
            assert latent not in others
            assert set(others) <= set(LIVING)
            assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
            assert len(found) == 3 or by == "cofiring"
    # the decoder is the identity: all cosines are 0, and the lower numbers come first
    assert [row["neighbour"] for row in rows(store, "neighbours", latent=2, by="decoder")] == [0, 1, 3]


def test_labels_are_scored_on_labelled_examples_and_chosen_on_validation(store):
    for latent in LIVING:
        expected = {}
        for split in SPLITS:
            known = np.array([label is not None for label in LABELS[split]])
            of = np.array([label or "" for label in LABELS[split]])[known]
            values = EXAMPLE_PEAKS[split][known][:, [latent]]
            for label in ("a", "b", "only here"):
                expected[split, label] = auroc(values, (of == label)[None])[0, 0]
        found = rows(store, "labels", latent=latent)
        assert {row["label"] for row in found} == {"a", "b", "only here"}
        for row in found:
            assert row["validation_auroc"] == pytest.approx(expected["validation", row["label"]], rel=1e-5)
            if row["label"] == "only here":
                assert row["test_auroc"] is None
            else:
                assert row["test_auroc"] == pytest.approx(expected["test", row["label"]], rel=1e-5)
        scores = [row["validation_auroc"] for row in found]
        assert scores == sorted(scores, reverse=True)
        best = store.latents.loc[latent]
        assert (best["best_label"], best["validation_auroc"]) == (found[0]["label"], found[0]["validation_auroc"])


def test_without_labels_there_are_none(tmp_path):
    store = written_features(tmp_path / "f", *(dataclasses.replace(part, labels=[None] * 99) for part in unlabelled()))
    assert store.table("labels").empty
    assert store.latents["best_label"].isna().all()
    assert store.latents["validation_auroc"].isna().all()
    assert store.pooled_examples("test")["label"].isna().all()


def unlabelled():
    source = split_source(random_latents(99, 2), [1] * 99)
    return [held(split, source) for split in SPLITS]


def test_a_dead_sae_gives_empty_tables_and_no_crash(tmp_path):
    source = split_source(np.zeros((4, 3)), [2, 2])
    store = written_features(tmp_path / "f", held("validation", source, ["a", "b"]), held("test", source, ["a", "b"]))
    assert (store.M, store.manifest.facts["living"]) == (3, 0)
    assert store.latents.empty
    assert store.pooled("test").toarray().tolist() == [[0, 0, 0], [0, 0, 0]]
    assert store.windows(0, "test", "silent") == []


def test_one_example_a_split_is_enough(tmp_path):
    source = split_source([[1.0, 0], [2, 0]], [2])
    store = written_features(tmp_path / "f", held("validation", source, ["a"]), held("test", source, ["a"]))
    assert [shown.activations for shown in store.windows(0, "test", "firing")] == [(1.0, 2.0)]
    assert store.windows(0, "test", "silent") == []


def lens(logits: list[list[float]], n: int) -> list[tuple]:
    """The logit lens of two latents that both fire, said to promote these logits."""
    source = split_source([[1.0, 1.0]], [1])
    tables = FeatureTables(
        collected(held("validation", source), held("test", source)),
        np.eye(2),
        TokenPieces(TOKENIZER),
        lambda directions: directions @ np.array(logits),
        features_settings(logit_tokens=n),
    )
    return [tuple(row) for row in tables._logit_lens()]


def test_the_logit_lens_lists_both_ends_and_of_equals_the_lower_number():
    found = lens([[1, 3, 3, -2, 0, -2], [0, 0, 0, 0, 0, 9]], 2)
    alone = TokenPieces(TOKENIZER).alone
    assert found[:4] == [
        (0, "promoted", 1, 1, alone(1), 3.0),
        (0, "promoted", 2, 2, alone(2), 3.0),
        (0, "suppressed", 1, 3, alone(3), -2.0),
        (0, "suppressed", 2, 5, alone(5), -2.0),
    ]
    assert [row[3] for row in found[4:]] == [5, 0, 0, 1]


def test_the_logit_lens_lists_no_more_tokens_than_there_are():
    assert len(lens([[1, 3, 2], [1, 2, 3]], 10)) == 2 * 2 * 3


def test_logits_equal_to_nine_digits_are_equal():
    found = lens([[1, 1 + 1e-12, 0], [0, 0, 0]], 1)
    assert found[0][:4] == (0, "promoted", 1, 0)


def test_the_bytes_hang_on_no_batch_size(tmp_path):
    """In float64, an SAE of random weights; strengths that tie are among its latents' quarters."""
    random = np.random.default_rng(0)
    parts = []
    for split in SPLITS:
        x = random.integers(-4, 5, (sum(LENGTHS[split]), 8)) / 4
        flat = [token for ids in IDS[split] for token in ids]
        parts.append(held(split, split_source(x, LENGTHS[split], KINDS[split], flat), LABELS[split]))
    sae = initialised(8, M=12, K=4)
    written = [
        {
            path.name: path.read_bytes()
            for path in written_features(tmp_path / str(n), *parts, sae=sae, batch_rows=n).folder.iterdir()
        }
        for n in (1, 8, 4096)
    ]
    assert len(written[0]) == 11
    assert written[0] == written[1] == written[2]


def test_what_is_made_twice_is_made_the_same(store, tmp_path):
    again = written_features(tmp_path / "f", *sources(), batch_rows=2)
    for path in store.folder.iterdir():
        assert path.read_bytes() == (again.folder / path.name).read_bytes(), path.name


def test_the_sources_are_said_to_be_of_the_embedded_model():
    (validation, _) = sources()
    assert validation.source.provenance.model != identify(model_settings())

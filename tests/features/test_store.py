import re

import numpy as np
import pytest
from features_samples import N_EXAMPLES, RECORD, M, example_activations, example_tokens, make_store

from fast_sae.errors import ArtifactError
from fast_sae.features.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("features"))


def test_it_tells_how_much_there_is(store):
    assert store.M == 4
    assert store.count("examples", "test") == store.count("windows", "validation") == 60
    assert store.count("tokens", "test") == 480
    assert store.latents.index.tolist() == [0, 1, 2]
    assert store.latents.loc[1, "best_label"] == "counting"


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("latent", range(3))
def test_windows_are_what_was_kept_of_the_latent_and_split(store, split, latent):
    peaks = np.array([example_activations(i)[:, latent].max() for i in range(N_EXAMPLES)], np.float32)
    firing = store.windows(latent, split, "firing")
    assert [shown.window.example for shown in firing] == [i for i in np.argsort(-peaks, kind="stable") if peaks[i] > 0]
    assert [shown.window.example for shown in store.windows(latent, split, "top")] == [
        shown.window.example for shown in firing[:5]
    ]
    assert [s.window.example for s in store.windows(latent, split, "silent")] == np.flatnonzero(peaks == 0).tolist()
    for shown in firing:
        tokens, kinds, label = example_tokens(shown.window.example)
        expected = example_activations(shown.window.example)[:, latent].astype(np.float32)
        assert shown.activations == tuple(expected.tolist())
        assert (shown.window.tokens, shown.window.kinds) == (tuple(tokens), tuple(kinds))
        assert (shown.window.label, shown.window.split, shown.window.start) == (label, split, 0)
        assert (shown.sample, shown.weight, shown.fires) == ("firing", 1.0, True)
    assert [shown.decile for shown in firing] == sorted((shown.decile for shown in firing), reverse=True)
    assert not any(shown.fires for shown in store.windows(latent, split, "silent"))


def test_latents_share_the_windows_they_keep(store):
    one = {shown.window.example: shown.window for shown in store.windows(0, "test", "firing")}
    both = [(s.window, one[s.window.example]) for s in store.windows(2, "test", "firing") if s.window.example in one]
    assert both
    assert all(first is second for first, second in both)


@pytest.mark.parametrize("latent", [3, 99])
def test_a_dead_latent_has_no_windows(store, latent):
    assert store.windows(latent, "validation", "firing") == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_pooled_latents_are_the_largest_of_each_example(store, split):
    examples = store.pooled_examples(split)
    assert examples["example"].tolist() == list(range(N_EXAMPLES))
    assert examples["label"].tolist() == [example_tokens(i)[2] for i in range(N_EXAMPLES)]
    pooled = store.pooled(split)
    assert pooled.shape == (N_EXAMPLES, M)
    assert pooled.dtype == np.float32
    expected = np.array([example_activations(i).max(0) for i in range(N_EXAMPLES)], np.float32)
    np.testing.assert_array_equal(pooled.toarray(), expected)


def test_a_table_is_read_by_name(store):
    assert store.table("labels")["label"].tolist() == ["counting", "waiting"]
    assert store.table("tokens").empty


def test_features_of_other_settings_are_refused_in_one_line(store):
    with pytest.raises(ArtifactError, match=r"features\.window_tokens=64, but params\.yaml says 32") as error:
        FeatureStore.open(store.folder, {"features": {"window_tokens": 32}})
    assert "\n" not in str(error.value)
    assert "dvc repro collect_features" in str(error.value)


def test_a_missing_folder_and_a_missing_table_are_told(tmp_path):
    with pytest.raises(ArtifactError, match=re.escape(f"{tmp_path / 'no/manifest.json'} does not exist")):
        FeatureStore.open(tmp_path / "no", RECORD)
    store = make_store(tmp_path / "yes")
    (store.folder / "texts.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"texts\.parquet does not exist; run: dvc pull, or: dvc repro"):
        store.windows(0, "test", "firing")

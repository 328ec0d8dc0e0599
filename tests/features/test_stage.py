"""The stage as `dvc repro` runs it: paths, sections and refusals."""

import pytest
import yaml
from activation_samples import LAYER, Extracted, extract
from collect_samples import features_settings
from sae_samples import initialised

import collect_features
from fast_sae.artifacts import file_sha256, write_manifest
from fast_sae.chat.prepared import read_prepared
from fast_sae.errors import ArtifactError
from fast_sae.features.settings import features_record
from fast_sae.features.store import FeatureStore
from fast_sae.params import parse_section
from fast_sae.sae.checkpoint import sae_sha256, save_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.training.settings import TrainSettings, training_record

STORED = ["train", "validation", "test"]


class Stage:
    """A repository in small: what the stage reads, and its run."""

    def __init__(self, folder, monkeypatch, **overrides):
        sae = initialised(96, **{"layer": LAYER, "M": 24, "K": 4})
        features = features_settings(window_tokens=16, logit_tokens=2).model_dump()
        fixed = {"features": features, "sae.M": 24, "sae.K": 4, "sae.layer": LAYER, "runtime.device": "cpu"}
        self.made: Extracted = extract(folder, **fixed | overrides)
        self.folder, self.sections = folder, self.made.sections
        self.sections["sae"] |= {"architecture": "topk", "matryoshka": None, "aux_k": None, "multi_k": None}
        self.settings = parse_section(self.sections, "sae", SAESettings)
        save_sae(sae, folder / "sae")
        validation = folder / f"activations/layer_{LAYER}/validation/manifest.json"
        self.record = training_record(
            self.made.model, self.made.settings, self.settings, parse_section(self.sections, "train", TrainSettings)
        )
        facts = {"activations": {"validation_sha256": file_sha256(validation)}}
        write_manifest(folder / "sae", "train_sae", self.record, facts)
        monkeypatch.chdir(folder)

    def run(self) -> FeatureStore:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.sections))
        folder = self.folder
        collect_features.main(folder / "prepared", folder / "activations", folder / "sae", folder / "features")
        features = features_settings(**self.sections["features"])
        return FeatureStore.open(folder / "features", features_record(self.record, features))


@pytest.fixture
def stage(tmp_path, monkeypatch) -> Stage:
    return Stage(tmp_path, monkeypatch, **{"extract.store": STORED})


def test_the_stage_writes_what_the_store_opens(stage):
    store = stage.run()
    for split in ("validation", "test"):
        examples = read_prepared(stage.folder / "prepared", split)
        assert store.count("examples", split) == len(examples)
        shown = [one for latent in store.latents.index for one in store.windows(latent, split, "firing")]
        assert shown
        content = {i: example.messages[-1]["content"] for i, example in enumerate(examples)}
        assert all(part in content[one.window.example] for one in shown for part in one.window.content.split("\n"))
    assert not store.table("logit_lens").empty


def test_live_activations_give_the_same_tables(stage, tmp_path, monkeypatch):
    stored = stage.run()
    live = Stage(tmp_path / "live", monkeypatch, **{"extract.store": ["train"], "evaluate.source": "live"}).run()
    for path in stored.folder.glob("*.parquet"):
        assert path.read_bytes() == (live.folder / path.name).read_bytes(), path.name


def refusal(stage: Stage) -> str:
    with pytest.raises(ArtifactError) as error:
        stage.run()
    assert "\n" not in str(error.value)
    assert not (stage.folder / "features").exists()
    return str(error.value)


def test_what_does_not_belong_together_is_refused(stage):
    stage.sections["train"]["lr"] *= 2
    assert "train.lr" in refusal(stage)
    stage.sections["train"]["lr"] /= 2
    write_manifest(stage.folder / "sae", "train_sae", stage.record, {"activations": {"validation_sha256": "0" * 64}})
    assert "was trained on other activations" in refusal(stage)
    path = stage.folder / "prepared/test.jsonl"
    path.write_text(path.read_text().replace("a", "b"))
    assert "test activations are not those of" in refusal(stage)


def test_a_split_that_is_not_stored_and_may_not_be_computed_is_told(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch, **{"extract.store": ["train", "validation"], "evaluate.source": "stored"})
    assert "name test in extract.store" in refusal(stage)


def test_features_of_other_weights_are_refused_though_the_settings_are_the_same(stage):
    store = stage.run()
    store.require_sae(sae_sha256(stage.folder / "sae"))
    with pytest.raises(ArtifactError, match="is of another SAE than now; run: dvc repro collect_features"):
        store.require_sae("0" * 64)


def test_features_of_other_examples_are_refused(stage):
    store = stage.run()
    for split in ("validation", "test"):
        store.require_examples(stage.folder / "prepared", split)
    path = stage.folder / "prepared/test.jsonl"
    path.write_text(path.read_text().replace("a", "b"))
    store.require_examples(stage.folder / "prepared", "validation")
    with pytest.raises(ArtifactError, match="is not of the test examples of .*; run: dvc repro collect_features"):
        store.require_examples(stage.folder / "prepared", "test")


def test_other_features_settings_make_other_features(stage):
    store = stage.run()
    stage.sections["features"]["window_tokens"] = 8
    features = features_settings(**stage.sections["features"])
    with pytest.raises(ArtifactError, match=r"features\.window_tokens=16, but params\.yaml says 8"):
        FeatureStore.open(store.folder, features_record(stage.record, features))

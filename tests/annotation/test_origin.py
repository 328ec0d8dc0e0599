"""What made an SAE is read from beside it, and an SAE of which that is not known is refused."""

import json
import shutil

import pytest
import torch
from annotation_samples import save_origin

from fast_sae.annotation.origin import read_origin
from fast_sae.chat.kinds import Kind
from fast_sae.errors import ArtifactError


def test_model_template_layer_and_kinds_are_those_of_the_manifest(tmp_path):
    sections = {
        "train.kinds": ["content"],
        "train.dtype": "float32",
        "extract.max_length": 77,
        "model.dtype": "float32",
    }
    origin = read_origin(save_origin(tmp_path / "sae", sections=sections))
    assert origin.kinds == origin.said_kinds == (Kind.CONTENT,)
    assert origin.sae.b_dec.dtype == torch.float32
    assert (origin.extract.layers, origin.extract.max_length, origin.model.dtype) == ((2,), 77, "float32")
    assert origin.folder == tmp_path / "sae"


def test_a_missing_sae_names_what_to_run(tmp_path):
    with pytest.raises(ArtifactError, match=r"manifest.json does not exist; run: dvc pull, or: dvc repro train_sae"):
        read_origin(tmp_path / "sae")
    folder = save_origin(tmp_path / "sae")
    (folder / "sae.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"sae.safetensors does not exist; run: dvc pull, or: dvc repro train_sae"):
        read_origin(folder)


def test_a_manifest_of_another_sae_is_refused(tmp_path):
    folder, other = save_origin(tmp_path / "sae"), save_origin(tmp_path / "other", layer=1)
    shutil.copy(other / "config.json", folder)
    with pytest.raises(ArtifactError, match="describe two SAEs; run: dvc repro train_sae"):
        read_origin(folder)


@pytest.mark.parametrize(
    ("section", "value"), [("model", ...), ("extract", []), ("train", {"dtype": "int8", "kinds": ["content"]})]
)
def test_a_manifest_that_does_not_tell_is_refused_in_one_line(tmp_path, section, value):
    path = save_origin(tmp_path / "sae") / "manifest.json"
    content = json.loads(path.read_text())
    content["settings"][section] = value
    if value is ...:
        del content["settings"][section]
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="does not tell what made the SAE") as told:
        read_origin(path.parent)
    assert "\n" not in str(told.value)


def test_content_is_what_is_said_unless_it_was_not_trained_on(tmp_path):
    def origin(*kinds: str):
        return read_origin(save_origin(tmp_path / "_".join(kinds), sections={"train.kinds": [*kinds]}))

    assert origin("scaffold", "role_name", "content", "end_of_turn").said_kinds == (Kind.CONTENT,)
    assert origin("scaffold").said_kinds == (Kind.SCAFFOLD,)

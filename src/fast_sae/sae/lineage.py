"""Whether an SAE belongs to the split of the data and to the language model that are there now."""

from pathlib import Path
from typing import cast

from fast_sae.artifacts import Json, Manifest, file_sha256
from fast_sae.chat.prepared import split_path
from fast_sae.errors import ArtifactError


def require_same_split(sae: Manifest, prepared: Path) -> None:
    """Refuse an SAE trained on another split of the data: its training chats could be among the test chats of this.

    Args:
        sae: Its manifest.
        prepared: data/prepared.
    """
    used = cast(Json, sae.facts["activations"])
    if used.get("validation_prepared_sha256") != file_sha256(split_path(prepared, "validation")):
        raise ArtifactError(
            f"{sae.path.parent} was trained on another split than that of {prepared}; run: dvc repro {sae.stage}"
        )


def require_same_model(sae: Manifest, identity: Json) -> None:
    """Refuse an SAE trained on another language model, or on another state of it, under the same name.

    Args:
        sae: Its manifest.
        identity: What `identify` tells of the model.
    """
    used = cast(Json, sae.facts["activations"])
    if {name: used.get(name) for name in identity} != identity:
        raise ArtifactError(
            f"{sae.path.parent} was trained on another state of the language model than now; run: dvc repro {sae.stage}"
        )

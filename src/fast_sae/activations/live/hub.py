"""Models on the Hugging Face hub: found in its cache or downloaded, and pinned to one commit."""

from pathlib import Path

from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError


def config_path(model: ModelSettings) -> Path:
    """Find a model's config.json, in its folder, in the hub's cache, or on the hub.

    Raises:
        ModelError: if it is nowhere, or access to it is refused.
    """
    if model.is_local:
        return Path(model.name) / "config.json"
    from huggingface_hub import hf_hub_download  # here, because a local model needs none of it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        try:  # what is here needs no network, nor its retries
            return Path(hf_hub_download(model.name, "config.json", revision=model.revision, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(hf_hub_download(model.name, "config.json", revision=model.revision))
    except LocalEntryNotFoundError:
        raise ModelError(f"{model.name} is not in the hub's cache, and the hub cannot be reached") from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelError(f"{model.name} cannot be had from the hub: {str(error).splitlines()[0]}") from None


def resolve_commit(model: ModelSettings) -> str | None:
    """Return the commit that a hub model's revision stands for now; None for a local model."""
    return None if model.is_local else config_path(model).parent.name

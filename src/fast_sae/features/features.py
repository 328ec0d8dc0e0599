"""Features, whole: collect, make the tables, write the folder."""

from pathlib import Path

import torch

from fast_sae.activations.held import Held
from fast_sae.activations.live.identity import identify
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.settings import STAGE as EXTRACTION
from fast_sae.activations.settings import ModelSettings
from fast_sae.artifacts import Json, whole_folder, write_manifest
from fast_sae.chat.pieces import TokenPieces
from fast_sae.errors import ArtifactError
from fast_sae.features.collect import Collected, SplitFeatures, collect_features
from fast_sae.features.encoded import Encoder
from fast_sae.features.settings import FeaturesSettings
from fast_sae.features.tables import STAGE
from fast_sae.features.writing import FeatureTables, Promoted
from fast_sae.runtime import RuntimeSettings, give_freed_memory_back
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.splice.unembedding import load_unembedding


def write_features(
    folder: Path,
    sae: SparseAutoencoder,
    validation: Held,
    test: Held,
    settings: FeaturesSettings,
    *,
    record: Json,
    sae_sha256: str,
    model: ModelSettings,
    kinds: tuple[int, ...],
    dtype: torch.dtype,
    runtime: RuntimeSettings,
) -> None:
    """Find out what each latent does on both splits, and write data/features.

    Args:
        folder: Where to write; whole or not at all.
        sae: As loaded.
        validation: The split that explains.
        test: The split that scores.
        settings: The `features` section.
        record: What decides the folder, for its manifest.
        sae_sha256: Digest of the SAE's weights.
        model: The `model` section; its tokenizer is read, and its LM head if logits are wanted.
        kinds: Kinds of tokens the SAE was trained on.
        dtype: What to compute in.
        runtime: The `runtime` section.

    Raises:
        ArtifactError: if the activations are of another state of the model than now.
    """
    give_freed_memory_back()
    identity, device = identify(model), runtime.torch_device()
    if identity != validation.source.provenance.model:
        raise ArtifactError(
            f"the activations are of another state of {model.name} than now; run: dvc repro {EXTRACTION}"
        )
    commit = identity["commit"]
    pieces = TokenPieces(load_tokenizer(model, commit))
    promoted = _promoted(model, commit, sae.settings.layer, device) if settings.logit_tokens else None
    encoder = Encoder(sae.to(device, dtype), kinds, settings.window_tokens, runtime.sae_batch_rows)
    collected = collect_features(encoder, validation, test, settings)
    directions = sae.W_dec.detach().double().cpu().numpy()
    with whole_folder(folder) as part:
        FeatureTables(collected, directions, pieces, promoted, settings).write(part)
        write_manifest(part, STAGE, record, {"sae_sha256": sae_sha256, **_facts(sae, collected)})


def _promoted(model: ModelSettings, commit: str | None, layer: int, device: torch.device) -> Promoted:
    unembedding = load_unembedding(model, commit, layer, device)
    return lambda directions: unembedding.logits(torch.from_numpy(directions).to(device)).double().cpu().numpy()


def _facts(sae: SparseAutoencoder, collected: Collected) -> Json:
    parts = {"validation": collected.validation, "test": collected.test}
    counts = {name: _counts(part) for name, part in parts.items()}
    living = len(collected.living)
    return {"M": sae.settings.M, "living": living, "token_counts_short_by": collected.tokens.short_by, **counts}


def _counts(part: SplitFeatures) -> Json:
    sums = part.sums
    found = {"examples": sums.examples, "windows": sums.windows, "tokens": sums.tokens}
    of = part.held.source.provenance
    return {**found, "activations_sha256": of.sha256, "prepared_sha256": of.prepared_sha256}

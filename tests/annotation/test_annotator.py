"""What fires, by hand and against stored activations; and that no more is read than is needed."""

import json

import numpy as np
import pytest
import torch
from annotation_samples import identity_sae, incoming, save_origin, table_extractor
from chat_samples import chat, text
from samples import CORPUS, runtime

from fast_sae.activations.extract import extract_activations
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.rendering import make_renderer
from fast_sae.activations.settings import activation_record
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.annotation.annotator import Annotated, Annotator, require_latents
from fast_sae.annotation.incoming import render_each
from fast_sae.annotation.origin import read_origin
from fast_sae.chat.examples import Example
from fast_sae.chat.prepared import read_prepared, write_prepared
from fast_sae.errors import ArtifactError, UserError

TABLE = [[3, 1, 0], [-1, 2, 5], [0, 0, -4], [1, 1, 1]]


def fired(parts: list[Annotated]) -> list[tuple[str, int, int, float]]:
    return [
        (part.incoming[part.example[row]].id, int(part.position[row]), int(latent), float(value))
        for part in parts
        for row, latent, value in zip(part.row, part.latent, part.activation, strict=True)
    ]


def test_what_fires_is_what_the_weights_say():
    annotator = Annotator(identity_sae(K=2), table_extractor(TABLE), 2)
    assert fired([*annotator.annotate(incoming([1, 2], [0, 0, 1]))]) == [
        *(("example-0", 0, 1, 2), ("example-0", 0, 2, 5)),
        *(("example-1", 0, 0, 3), ("example-1", 0, 1, 1), ("example-1", 1, 0, 3), ("example-1", 1, 1, 1)),
        *(("example-1", 2, 1, 2), ("example-1", 2, 2, 5)),
    ]


def test_batch_top_k_fires_by_its_threshold_whatever_stands_beside_a_token():
    sae = identity_sae(architecture="batchtopk", K=1)
    sae.get_buffer("threshold").fill_(1.5)
    annotator = Annotator(sae, table_extractor(TABLE), 100)
    alone = fired([*annotator.annotate(incoming([1]))])
    assert alone == [("example-0", 0, 1, 2), ("example-0", 0, 2, 5)]
    assert fired([*annotator.annotate(incoming([1], [1, 0, 3]))])[:2] == alone


def test_only_the_latents_asked_for():
    annotator = Annotator(identity_sae(), table_extractor(TABLE), 100, latents={0, 2})
    assert fired([*annotator.annotate(incoming([0, 1, 2]))]) == [("example-0", 0, 0, 3), ("example-0", 1, 2, 5)]


def test_nothing_fires():
    (part,) = Annotator(identity_sae(), table_extractor(TABLE), 100).annotate(incoming([2]))
    assert fired([part]) == []


def test_no_example_is_read_before_the_shard_that_needs_it():
    read = []

    def examples():
        for one in incoming([0, 1], [2], [1], [3, 3]):
            read.append(one.id)
            yield one

    parts = Annotator(identity_sae(), table_extractor(TABLE, shard_rows=3), 100).annotate(examples())
    assert [one.id for one in next(parts).incoming] == ["example-0", "example-1"]
    assert read == ["example-0", "example-1"]
    assert [one.id for one in next(parts).incoming] == ["example-2", "example-3"]
    assert next(parts, None) is None


def test_an_sae_of_another_layer_or_width_is_refused():
    with pytest.raises(ArtifactError, match=r"reads layer 1, and the model gives \[2\]"):
        Annotator(identity_sae(), table_extractor(TABLE, layer=2), 1)
    with pytest.raises(ArtifactError, match="of width 4, and the model gives 3"):
        Annotator(identity_sae(4), table_extractor(TABLE), 1)


def test_a_latent_that_is_not_there_is_refused():
    require_latents(identity_sae(), {0, 2})
    for wrong in (3, -1):
        with pytest.raises(UserError, match=f"latent {wrong} does not exist: the SAE has 0 to 2"):
            require_latents(identity_sae(), {1, wrong})


def corpus() -> list[Example]:
    told = [json.loads(line) for line in CORPUS.read_text().splitlines()[:12]]
    return [*(text(one["text"], id=one["id"]) for one in told), chat("user: What is this?", "assistant: <|eot_id|>")]


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_latents_are_those_of_the_stored_activations_to_the_digit(dtype, architecture, tmp_path):
    """In float32 too, where the batch decides the last bits: shards and batches are those of extraction."""
    sections = {"model.dtype": dtype, "train.dtype": dtype, "extract.shard_rows": 150}
    origin = read_origin(save_origin(tmp_path / "sae", sections=sections, architecture=architecture))
    settings = runtime(extract_batch_tokens=100, sae_batch_rows=40)
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    write_prepared({"train": [], "validation": [], "test": corpus()}, [], 0, prepared)
    extract_activations(
        {"test": read_prepared(prepared, "test")},
        origin.model,
        origin.extract.model_copy(update={"store": ("test",)}),
        runtime=settings,
        prepared=prepared,
        destination=tmp_path / "activations",
    )
    record = activation_record(origin.model, origin.extract)
    stored = StoredActivations(open_folder(tmp_path / "activations", 2, "test", record))
    chunks = [*stored.chunks(settings.sae_batch_rows)]
    with torch.no_grad():
        wanted = np.concatenate(
            [origin.sae.encode(torch.from_numpy(np.array(rows.activations)).to(origin.sae.b_dec)) for rows in chunks]
        )

    tokenizer = load_tokenizer(origin.model, None)
    annotator = Annotator.open(origin, tokenizer, settings)
    examples = render_each(corpus(), make_renderer(tokenizer, origin.extract), pytest.fail)
    parts = [*annotator.annotate(examples)]
    found = [np.zeros((len(part.kind), wanted.shape[1]), wanted.dtype) for part in parts]
    for latents, part in zip(found, parts, strict=True):
        assert part.activation.dtype == np.dtype(dtype)
        latents[part.row, part.latent] = part.activation
    assert len(parts) > 2
    np.testing.assert_array_equal(np.concatenate(found), wanted)
    for name in ("position", "token_id", "kind"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, np.concatenate([getattr(rows, name) for rows in chunks]))

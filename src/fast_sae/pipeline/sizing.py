"""How much there is to extract and to train on: examples, tokens, bytes, by a sample where a count would take long."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.plan import Plan
from fast_sae.activations.rendering import make_renderer
from fast_sae.chat.examples import Example
from fast_sae.chat.gather import gather_examples
from fast_sae.chat.render import Rendered
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import ModelError
from fast_sae.pipeline.model_files import FoundModel
from fast_sae.preflight import Parsed

SAMPLE = 200
"""Examples rendered to learn how long examples are."""
TOKENS_PER_WORD = 1.3
"""Of English text in tokenizers of 32,000 to 150,000 entries, about."""


@dataclass(frozen=True)
class Amount:
    """What the pipeline will go through."""

    plan: Plan
    """Of all splits and layers; tokens and bytes are extrapolated from the sample."""
    train_rows: int
    """Rows of train of the kinds that training takes, about."""
    sample: list[Rendered]
    """The examples that were rendered; none if the tokenizer is not at hand."""
    how: str
    """How tokens were counted."""


def read_examples(data: DataSettings) -> list[Example]:
    """Read and check the whole data file; duplicates by n-grams are kept, so that this takes seconds.

    Raises:
        DataError: as prepare_data would.
    """
    return gather_examples(Path(data.path), data.model_copy(update={"dedup_ngram": 0})).examples


def measure_amount(examples: Sequence[Example], parsed: Parsed, model: FoundModel | None, d_in: int) -> Amount:
    """Extrapolate tokens and bytes from a random sample of the examples.

    Args:
        examples: All of them, before the split.
        parsed: Every section.
        model: Where the tokenizer lies; None or not downloaded: words are counted instead.
        d_in: Width of one row of activations.

    Raises:
        ModelError: if the tokenizer or its template cannot be used, or refuses every example.
    """
    chosen = np.random.default_rng(0).permutation(len(examples))[:SAMPLE]
    picked = [examples[i] for i in chosen]
    rendered, how = _render(picked, parsed, model)
    scale = len(examples) / len(rendered)
    itemsize = np.dtype(parsed.extract.dtype).itemsize
    held_out = {"validation": parsed.data.validation_fraction, "test": parsed.data.test_fraction}
    shares = {"train": 1 - sum(held_out.values()), **held_out}
    plan = Plan.of(
        rendered,
        stored_share=min(1.0, sum((shares[split] for split in parsed.extract.store), start=0.0)),
        layers=len(parsed.extract.layers),
        d_in=d_in,
        itemsize=itemsize,
    )
    trained = sum(int(np.isin(example.kinds, parsed.train.kind_numbers).sum()) for example in rendered)
    return Amount(
        plan.scaled(scale),
        train_rows=round(trained * scale * shares["train"]),
        sample=rendered if model is not None and model.folder is not None else [],
        how=how,
    )


def _render(examples: Sequence[Example], parsed: Parsed, model: FoundModel | None) -> tuple[list[Rendered], str]:
    if model is None or model.folder is None:
        how = f"words × {TOKENS_PER_WORD}, as the tokenizer is not at hand"
        return [_by_words(example, parsed) for example in examples], how
    renderer = make_renderer(load_tokenizer(parsed.model, model.commit), parsed.extract)
    rendered: list[Rendered] = []
    refused: list[str] = []
    for example in examples:
        try:
            rendered.append(renderer.render(example))
        except ModelError as error:
            refused.append(str(error))
    if refused:
        raise ModelError(f"{len(refused)} of {len(examples)} sampled examples cannot be rendered: {refused[0]}")
    return rendered, f"counted by the model's tokenizer on {len(examples):,} of them"


def _by_words(example: Example, parsed: Parsed) -> Rendered:
    words = sum(len(message["content"].split()) for message in example.messages)
    tokens = max(1, min(round(words * TOKENS_PER_WORD), parsed.extract.max_length))
    kinds = np.full(tokens, parsed.train.kind_numbers[0], np.uint8)
    return Rendered(np.zeros(tokens, np.int32), kinds, truncated=False, roles=np.zeros(tokens, np.uint8))

"""The embedded corpus and model, in small: prepared, extracted, and opened as a stage would."""

import json
from dataclasses import dataclass
from pathlib import Path

from chat_samples import text
from samples import CORPUS, MODEL, params, runtime

from fast_sae.activations.extract import extract_activations
from fast_sae.activations.opening import Activations
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.chat.prepared import read_prepared, write_prepared
from fast_sae.chat.splits import SPLITS
from fast_sae.params import parse_section

LAYER = 2


@dataclass(frozen=True)
class Extracted:
    """What an extraction was asked, and where it lies."""

    folder: Path
    sections: dict

    @property
    def model(self) -> ModelSettings:
        return parse_section(self.sections, "model", ModelSettings)

    @property
    def settings(self) -> ExtractSettings:
        return parse_section(self.sections, "extract", ExtractSettings)

    @property
    def activations(self) -> Path:
        return self.folder / "activations"

    def manifest(self, split: str) -> dict:
        return json.loads((self.activations / f"layer_{LAYER}" / split / "manifest.json").read_text())

    def opened(self, source: str = "stored", buffer_tokens: int = 300, **overrides: object) -> Activations:
        """Open as train_sae does."""
        return Activations(
            self.activations, LAYER, self.model, self.settings, source, buffer_tokens, runtime(**overrides)
        )


def extract(folder: Path, counts: tuple[int, int, int] = (12, 5, 4), **overrides: object) -> Extracted:
    """Extract layer 2 of so many texts for train, validation and test, with some values of params.yaml changed."""
    fixed = {"model.name": str(MODEL), "model.files": str(MODEL), "extract.layers": [LAYER]}
    extracted = Extracted(folder, params(**(fixed | overrides)))
    lines = CORPUS.read_text().splitlines()[:: 7000 // sum(counts)]
    examples = [text(told["text"], id=told["id"]) for told in map(json.loads, lines)]
    ends = [sum(counts[:n]) for n in range(4)]
    (folder / "prepared").mkdir(parents=True)
    splits = {split: examples[ends[n] : ends[n + 1]] for n, split in enumerate(SPLITS)}
    write_prepared(splits, [], 0, folder / "prepared")
    extract_activations(
        {split: read_prepared(folder / "prepared", split) for split in SPLITS},
        extracted.model,
        extracted.settings,
        runtime=runtime(extract_batch_tokens=500),
        prepared=folder / "prepared",
        destination=extracted.activations,
    )
    return extracted

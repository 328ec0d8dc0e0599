"""The tables of data/features, made from what was collected."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32, Int64

from fast_sae.chat.pieces import TokenPieces
from fast_sae.features.collect import Collected, SplitFeatures
from fast_sae.features.firing import bin_edges
from fast_sae.features.labels import LabelScores, score_latents
from fast_sae.features.neighbours import nearest_directions
from fast_sae.features.settings import FeaturesSettings
from fast_sae.features.tables import from_columns, from_rows, write_features_table

_WINDOWS = 64
"""Latents whose windows make one row group: the least that is read."""
_TEXTS = 4096
"""Windows whose texts are in memory as Python's lists, some kB each, and make one row group."""
_LOGITS = 256
"""Latents whose logits are in memory at once."""
_DIGITS = 6

Promoted = Callable[[Float[np.ndarray, "latent d_in"]], Float[np.ndarray, "latent vocabulary"]]
"""What some directions add to the logits."""


@dataclass(frozen=True)
class FeatureTables:
    """Makes each table of the folder."""

    collected: Collected
    directions: Float[np.ndarray, "M d_in"]
    """The decoder's rows, of norm 1."""
    pieces: TokenPieces
    promoted: Promoted | None
    """None: there are no logits."""
    settings: FeaturesSettings

    def write(self, folder: Path) -> None:
        """Write every table."""
        for name in ("latents", "histograms", "tokens", "logit_lens", "neighbours", "labels", "examples"):
            write_features_table(folder, name, [from_rows(name, getattr(self, f"_{name}")())])
        for name in ("pooled", "texts", "windows"):
            write_features_table(folder, name, getattr(self, f"_{name}")())

    @cached_property
    def _living(self) -> Int64[np.ndarray, " living"]:
        return self.collected.living

    @cached_property
    def _splits(self) -> tuple[SplitFeatures, SplitFeatures]:
        return self.collected.validation, self.collected.test

    @cached_property
    def _silent(self) -> tuple[list[Int64[np.ndarray, " kept"]], ...]:
        """The windows kept of each latent in which it is silent, of both splits."""
        return tuple(part.kept.silent() for part in self._splits)

    @cached_property
    def _offsets(self) -> tuple[int, int]:
        """What is added to a window's number, so that those of test come behind those of validation."""
        return 0, self.collected.validation.sums.windows

    @cached_property
    def _scores(self) -> LabelScores:
        validation, test = (
            (part.pooled.result(), [part.held.labels[i] for i in part.pooled.examples]) for part in self._splits
        )
        return score_latents(validation, test, self._living)

    @cached_property
    def _numbers(self) -> dict[int, int]:
        """The row in the table of texts of each window that is kept."""
        numbers: dict[int, int] = {}
        for part, offset, silent in zip(self._splits, self._offsets, self._silent, strict=True):
            quiet = [silent[latent] for latent in self._living]
            firing = [kept.window.ravel() for kept in (part.kept.top, part.kept.firing)]
            used = np.unique(np.concatenate([*quiet, *firing]))
            numbers |= {offset + int(w): len(numbers) + n for n, w in enumerate(used[used >= 0])}
        return numbers

    def _latents(self) -> Iterator[Sequence[object]]:
        validation, test = (part.sums for part in self._splits)
        quantiles = validation.quantiles()
        for place, latent in enumerate(self._living.tolist()):
            rates = [
                count[latent] / max(n, 1)
                for sums in (validation, test)
                for count, n in (
                    (sums.fired, sums.tokens),
                    (sums.windows_fired, sums.windows),
                    (sums.examples_fired, sums.examples),
                )
            ]
            shape = validation.mean[latent], *quantiles[latent], validation.largest[latent]
            kinds = validation.by_kind[latent] / max(1, validation.fired[latent])
            numbers = np.array([*rates, *shape, *kinds]).tolist()
            yield [latent, *map(_short, numbers), *self._best_label(place)]

    def _best_label(self, place: int) -> Sequence[object]:
        scores = self._scores
        best = scores.best(place, 1)
        if not len(best):
            return None, None, None
        return scores.labels[best[0]], _short(scores.validation[best[0], place]), _short(scores.test[best[0], place])

    def _labels(self) -> Iterator[Sequence[object]]:
        scores = self._scores
        for place, latent in enumerate(self._living.tolist()):
            for rank, label in enumerate(scores.best(place, self.settings.listed_labels), 1):
                found = scores.validation[label, place], scores.test[label, place]
                yield latent, rank, scores.labels[label], *map(_short, found)

    def _histograms(self) -> Iterator[Sequence[object]]:
        histogram, edges = self.collected.validation.sums.histogram, bin_edges()
        for latent in self._living.tolist():
            for at in np.flatnonzero(histogram[latent]):
                yield latent, _short(edges[at]), _short(edges[at + 1]), histogram[latent, at]

    def _tokens(self) -> Iterator[Sequence[object]]:
        counts = self.collected.tokens
        for latent in self._living.tolist():
            found = counts.lift(latent, self.settings.min_token_count)
            token, fired, lift = (part[: self.settings.listed_tokens] for part in found)
            rows = zip(token.tolist(), fired, counts.count(token), lift, strict=True)
            for rank, (one, times, count, factor) in enumerate(rows, 1):
                yield latent, rank, one, self.pieces.alone(one), times, count, _short(factor)

    def _logit_lens(self) -> Iterator[Sequence[object]]:
        n = self.settings.logit_tokens
        if self.promoted is None:
            return
        for at in range(0, len(self._living), _LOGITS):
            latents = self._living[at : at + _LOGITS]
            for latent, logits in zip(latents, self.promoted(self.directions[latents]), strict=True):
                for direction, sign in (("promoted", 1), ("suppressed", -1)):
                    for rank, token in enumerate(_largest(sign * logits, n), 1):
                        yield latent, direction, rank, token, self.pieces.alone(int(token)), _short(logits[token])

    def _neighbours(self) -> Iterator[Sequence[object]]:
        n = self.settings.neighbours
        by_decoder = nearest_directions(self.directions[self._living], self._living, n)
        by_cofiring = self.collected.cofiring.nearest(self._living, n)
        for latent, *found in zip(self._living, by_decoder, by_cofiring, strict=True):
            for by, near in zip(("decoder", "cofiring"), found, strict=True):
                for rank, (other, value) in enumerate(zip(*near, strict=True), 1):
                    yield latent, by, rank, other, value

    def _examples(self) -> Iterator[Sequence[object]]:
        for part in self._splits:
            for example in part.pooled.examples.tolist():
                yield part.held.split, example, part.held.labels[example]

    def _pooled(self) -> Iterator[pa.Table]:
        for part in self._splits:
            pooled = part.pooled.result().tocoo()
            examples = part.pooled.examples[pooled.row].astype(np.int32)
            split = np.full(len(examples), part.held.split)
            yield from_columns("pooled", [split, examples, pooled.col.astype(np.int32), pooled.data])

    def _texts(self) -> Iterator[pa.Table]:
        for part, offset in zip(self._splits, self._offsets, strict=True):
            used = sorted(window for window in part.kept.tokens if offset + window in self._numbers)
            for at in range(0, len(used), _TEXTS):
                yield from_rows("texts", [self._text(part, offset, window) for window in used[at : at + _TEXTS]])

    def _text(self, part: SplitFeatures, offset: int, window: int) -> Sequence[object]:
        tokens = part.kept.tokens[window]
        ids, label = tokens.token_ids.tolist(), part.held.labels[tokens.example]
        place = self._numbers[offset + window], part.held.split, tokens.example, tokens.start, label
        return *place, ids, self.pieces.of(ids), tokens.kinds.tolist()

    def _windows(self) -> Iterator[pa.Table]:
        for at in range(0, len(self._living), _WINDOWS):
            rows = []
            for latent in self._living[at : at + _WINDOWS].tolist():
                for part, offset, quiet in zip(self._splits, self._offsets, self._silent, strict=True):
                    for about, window, activations in _kept_windows(part, latent, quiet[latent]):
                        peak = activations.max(initial=0)
                        rows.append((latent, *about, self._numbers[offset + window], peak, activations))
            yield from_rows("windows", rows)


def _kept_windows(
    part: SplitFeatures, latent: int, silent: Int64[np.ndarray, " kept"]
) -> Iterator[tuple[Sequence[object], int, Float32[np.ndarray, " token"]]]:
    """Yield (split, sample, rank, decile, weight), window and activations of each window kept of a latent."""
    split, fires = part.held.split, int(part.sums.windows_fired[latent])
    for sample, kept in (("top", part.kept.top), ("firing", part.kept.firing)):
        windows, activations = kept.of(latent)
        for rank, (window, found) in enumerate(zip(windows.tolist(), activations, strict=True), 1):
            decile = 10 - (rank - 1) * 10 // len(windows) if sample == "firing" else 0
            weight = fires / len(windows) if sample == "firing" else 0.0
            yield (split, sample, rank, decile, weight), window, found[: len(part.kept.tokens[window].kinds)]
    for rank, window in enumerate(silent.tolist(), 1):
        weight = (part.sums.windows - fires) / len(silent)
        yield (split, "silent", rank, 0, weight), window, np.empty(0, np.float32)


def _largest(logits: Float[np.ndarray, " vocabulary"], n: int) -> Int64[np.ndarray, " largest"]:
    """Return the n largest, the largest first; of equals (to 9 digits) the lower number first."""
    n = min(n, len(logits))
    rounded = np.round(logits, 9)
    able = np.flatnonzero(rounded >= np.partition(rounded, -n)[-n]) if n else np.empty(0, np.int64)
    return able[np.argsort(-rounded[able], kind="stable")[:n]]


def _short(value: float) -> float | None:
    """Round to 6 significant digits, which no processor changes; NaN is no value."""
    return None if np.isnan(value) else float(f"{value:.{_DIGITS}g}")

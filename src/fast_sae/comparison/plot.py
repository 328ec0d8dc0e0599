"""The plot of a plan: a panel per measure, every seed a dot, every mean with its interval."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fast_sae.artifacts import whole_file
from fast_sae.comparison.intervals import t_interval
from fast_sae.comparison.measures import MEASURES
from fast_sae.comparison.verdict import Cell

_COLOURS = ("#0072b2", "#d55e00")
"""Blue and vermilion, which colour-blind eyes tell apart (Okabe & Ito 2008)."""
_COLUMNS = 4


def draw(cells: Sequence[Cell], packings: Sequence[str], path: Path) -> None:
    """Write an SVG, the same bytes each time."""
    panels = _panels(cells)
    rows = math.ceil(len(panels) / _COLUMNS)
    with mpl.rc_context({"svg.hashsalt": "fast_sae", "svg.fonttype": "none"}):  # without a salt, names are random
        figure = Figure(figsize=(4 * _COLUMNS, 0.9 + rows * (1 + 0.45 * len(cells))), layout="constrained")
        for place, (title, values) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(rows, _COLUMNS, place)
            _panel(axes, title, values, [f"{cell.model}, {cell.architecture}" for cell in cells])
            if (place - 1) % _COLUMNS:
                axes.set_yticklabels([])
        handles = figure.axes[0].collections[: len(packings)]
        figure.legend(handles, packings, loc="outside upper left", ncols=len(packings), frameon=False)
        with whole_file(path) as part:
            figure.savefig(part, format="svg", metadata={"Date": None})


Pair = tuple[Mapping[str, float], Mapping[str, float]]


def _panels(cells: Sequence[Cell]) -> dict[str, list[Pair | None]]:
    """Return by title the values of each cell under the two packings; None where it has none."""
    panels: dict[str, list[Pair | None]] = {"L0": [(cell.sparsity.first, cell.sparsity.second) for cell in cells]}
    for measure in MEASURES:
        found: list[Pair | None] = [
            next(((c.first, c.second) for c in cell.comparisons if c.measure == measure), None) for cell in cells
        ]
        if any(found):
            panels[f"{measure.title} ({measure.better} is better)"] = found
    return panels


def _panel(axes: Axes, title: str, values: Sequence[Pair | None], labels: Sequence[str]) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    for packing, colour in enumerate(_COLOURS):
        at = [(row + 0.3 * packing - 0.15, pair[packing]) for row, pair in enumerate(values) if pair]
        dots = [(value, height) for height, found in at for value in found.values()]
        axes.scatter([x for x, _ in dots], [y for _, y in dots], s=14, color=colour, alpha=0.5, linewidths=0)
        for height, found in at:
            interval = t_interval(list(found.values()))
            axes.plot([interval.mean], [height], "|", color=colour, markersize=11)
            if interval.low is not None and interval.high is not None:
                axes.plot([interval.low, interval.high], [height, height], color=colour, linewidth=1)

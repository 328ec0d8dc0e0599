"""Two runs compared, whole: read both, match their latents, write tables and a page."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from fast_sae.artifacts import Json, write_table
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.comparison.contents import Contents, read_contents
from fast_sae.comparison.latents import LatentComparison, Status, compare_latents
from fast_sae.comparison.overview import headline, rules
from fast_sae.comparison.revision import find_revision
from fast_sae.comparison.scripts import SCRIPTS, STYLES
from fast_sae.comparison.side_by_side import differing_params, metric_table
from fast_sae.comparison.signs import add_signs
from fast_sae.comparison.texts import Texts
from fast_sae.page.cells import short
from fast_sae.page.page import INDEX, Page

REPORTS = Path("reports/compare")
DETAILED = 2048
"""Rows of the table whose latents the page shows the texts of: those that changed first, then the others by number."""


def compare_runs(asked_a: str, asked_b: str, out: Path | None) -> Iterator[str]:
    """Compare two revisions, write index.html, metrics.csv and latents.csv, and yield what to say, line by line.

    Args:
        asked_a: A revision, as `find_revision` knows it.
        asked_b: The one it is compared with.
        out: Where to write; None: a folder of the two names in `REPORTS`.

    Raises:
        UserError: if one of the two is not there, has no SAE, or is not at hand.
    """
    revisions = find_revision(asked_a), find_revision(asked_b)
    folder = out or REPORTS / f"{_safe(asked_a)}_vs_{_safe(asked_b)}"
    with TemporaryDirectory() as scratch:
        a, b = (read_contents(one, Path(scratch) / side) for side, one in zip("ab", revisions, strict=True))
        latents = compare_latents(a, b)
        rows = add_signs(latents.rows, a, b)
        metrics = metric_table(a.metrics, b.metrics)
        write_table(folder / "metrics.csv", metrics)
        write_table(folder / "latents.csv", rows)
        block = comparison_block(a, b, latents, rows, metrics)
    Page(f"{a.revision} against {b.revision}", STYLES, SCRIPTS, {"compare": block}).write(folder)
    yield from (f"A: {a.revision}", f"B: {b.revision}", *headline(a, b, latents), *a.notes, *b.notes, *latents.notes)
    yield from (str(folder / name) for name in (INDEX, "metrics.csv", "latents.csv"))


def comparison_block(
    a: Contents, b: Contents, latents: LatentComparison, rows: pd.DataFrame, metrics: pd.DataFrame
) -> Json:
    """Return all that the page shows; assets/compare.js reads it.

    `latents` holds a list per column of latents.csv; `details` by side and latent what `Texts.strongest` returns.
    """
    texts = Texts()
    order = [status.value for status in Status]
    shown = rows.sort_values("status", key=lambda column: column.map(order.index), kind="stable")
    details = [_details(run, shown[side].tolist()[:DETAILED], texts) for side, run in (("a", a), ("b", b))]
    return {
        "runs": [{"name": run.revision.asked, "commit": run.revision.commit} for run in (a, b)],
        "headline": [*headline(a, b, latents)],
        "rules": [*rules(latents)],
        "notes": [*a.notes, *b.notes, *latents.notes],
        "by": latents.by,
        "kinds": [*KIND_NAMES],
        "metrics": _columns(metrics),
        "params": differing_params(a.params, b.params),
        "curves": {name: [_points(run, name) for run in (a, b)] for name in sorted({*a.curves, *b.curves})},
        "density": [run.density for run in (a, b)],
        "latents": _columns(shown),
        "details": details,
        "detailed": min(DETAILED, len(shown)),
        **texts.table.block(),
    }


def _details(run: Contents, numbers: list, texts: Texts) -> Json:
    known = {int(one) for one in numbers if one is not pd.NA}
    return texts.strongest(run.behaviour, known) if run.behaviour else {}


def _points(run: Contents, name: str) -> list[list[object]]:
    return [[_cell(number) for number in point] for point in run.curves.get(name, [])]


def _columns(table: pd.DataFrame) -> Json:
    return {str(name): [_cell(value) for value in column.tolist()] for name, column in table.items()}


def _cell(value: object) -> object:
    """Round a number to 5 significant digits, for runs may be close, and leave what is none; pandas' NA is null."""
    return None if value is pd.NA else short(value, 5) if isinstance(value, float) else value


def _safe(name: str) -> str:
    """Make a folder's name of a revision's.

    >>> _safe("origin/main~1"), _safe("../..")
    ('origin-main-1', 'run')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:80] or "run"

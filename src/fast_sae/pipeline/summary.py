"""The metrics after a run, as `dvc metrics diff` tells them: each value, and the last commit's where it differs."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import cast

from fast_sae.pipeline.terminal import table

_Change = Mapping[str, float | int | str | None]


def summarise_metrics() -> list[str]:
    """Set the metrics of every file that dvc.yaml declares in a table; where DVC cannot tell them, say so."""
    done = subprocess.run(["dvc", "metrics", "diff", "--all", "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr.strip()[-200:])
        return [f"not known: dvc metrics diff fails ({told}); try: dvc metrics show"]
    changes = cast(Mapping[str, Mapping[str, _Change]], json.loads(done.stdout or "{}"))
    return table([["metric", "now", "at HEAD, where it differs", "file"], *_rows(changes)])


def _rows(changes: Mapping[str, Mapping[str, _Change]]) -> Iterator[list[str]]:
    for file, metrics in sorted(changes.items()):
        for name, change in sorted(metrics.items()):
            new, old = _value(change.get("new")), _value(change.get("old"))
            yield [name, new, "" if new == old else old, file]


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)

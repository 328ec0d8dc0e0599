"""The whole comparison: plan, runs, results, report."""

from dataclasses import dataclass
from pathlib import Path

from fast_sae.artifacts import whole_file, write_table
from fast_sae.comparison.collect import collect
from fast_sae.comparison.experiments import Workers, git, require_clean
from fast_sae.comparison.plan import read_plan, runs
from fast_sae.comparison.plot import draw
from fast_sae.comparison.report import Report
from fast_sae.comparison.tables import run_table
from fast_sae.comparison.verdict import compare


@dataclass(frozen=True)
class Options:
    """What the user asks for."""

    plan: Path
    jobs: int
    """Runs at once."""
    out: Path
    """Folder of the report."""
    logs: Path
    """Folder of what each run says."""


def run_plan(options: Options, command: str) -> list[Path]:
    """Run what the present commit does not have, and write report, table and plot; return their paths.

    Args:
        options: What the user asks for.
        command: What the user types, for the report.

    Raises:
        UserError: if the plan does not hold, the working tree is not that of a commit, or a run fails.
    """
    name = options.plan.stem
    report, table, plot = written = [options.out / f"{name}.{suffix}" for suffix in ("md", "csv", "svg")]
    plan = read_plan(options.plan)
    require_clean(written)
    commit, planned = git("rev-parse", "HEAD"), runs(plan, name)
    Workers(commit, options.jobs, options.logs / name).run(planned)
    results = collect(planned, commit)
    cells = compare(plan, results)
    write_table(table, run_table(results))
    draw(cells, list(plan.packings), plot)
    with whole_file(report) as part:
        part.write_text(Report(name, command, commit, plan, results, cells).markdown(), encoding="utf-8")
    return written

"""The whole command: preset, prerequisites, forecast, question, run, summary."""

from dataclasses import dataclass

from fast_sae.errors import UserError
from fast_sae.pipeline.findings import Finding
from fast_sae.pipeline.forecast import forecast
from fast_sae.pipeline.prerequisites import Survey, require_all, survey
from fast_sae.pipeline.preset import apply_preset
from fast_sae.pipeline.repro import run_repro
from fast_sae.pipeline.summary import summarise_metrics
from fast_sae.pipeline.terminal import agreed, tell


@dataclass(frozen=True)
class Options:
    """What the user asks for."""

    preset: str | None
    """Name of a file in presets/, applied first."""
    plan: bool
    """Say what would run, and end."""
    yes: bool
    """Go on without asking."""


def run_pipeline(options: Options, environment: list[Finding]) -> int:
    """Check, tell, ask and run; return the exit status of `dvc repro`.

    Args:
        options: What the user asks for.
        environment: What was found of Python, packages and DVC.

    Raises:
        UserError: if a prerequisite fails, or the user does not go on.
    """
    if options.preset is not None:
        _apply(options.preset)
    seen = _look(environment)
    require_all([*environment, *seen.findings])
    if options.plan:
        return 0
    if not seen.due:
        tell("Nothing to run.")
    elif not (options.yes or agreed("Go on?")):
        raise UserError("stopped; nothing was run")
    elif status := run_repro():
        return status
    _section("Metrics", summarise_metrics())
    return 0


def _apply(name: str) -> None:
    changes = apply_preset(name)
    told = [change.line() for change in changes] or ["nothing: params.yaml holds these values already"]
    _section(f"Preset {name}, written into params.yaml (git checkout params.yaml takes it back)", told)


def _look(environment: list[Finding]) -> Survey:
    """Say what is found and what will run, a line at a time as it is known."""
    seen = survey()
    _section("Prerequisites", [finding.line() for finding in [*environment, *seen.findings]])
    if lines := forecast(seen):
        _section("What will run", lines)
    return seen


def _section(title: str, lines: list[str]) -> None:
    tell(title)
    for line in lines:
        tell(f"  {line}".rstrip())
    tell()

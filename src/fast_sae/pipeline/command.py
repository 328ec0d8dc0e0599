"""The whole command: preset, prerequisites, forecast, question, run, summary; nothing is written before the yes."""

from collections.abc import Iterable
from dataclasses import dataclass

from fast_sae.errors import UserError
from fast_sae.pipeline.findings import Finding
from fast_sae.pipeline.forecast import forecast
from fast_sae.pipeline.prerequisites import Survey, require_all, survey
from fast_sae.pipeline.preset import Preset, read_preset
from fast_sae.pipeline.repro import run_repro
from fast_sae.pipeline.summary import summarise_metrics
from fast_sae.pipeline.terminal import agreed, tell


@dataclass(frozen=True)
class Options:
    """What the user asks for."""

    preset: str | None
    """Name of a file in presets/, written into params.yaml if the user goes on."""
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
    preset = read_preset(options.preset) if options.preset is not None else None
    if preset:
        told = [change.line() for change in preset.changes] or ["nothing: params.yaml holds these values already"]
        _section(f"Preset {options.preset} changes", told)
    seen = _look(environment, preset)
    require_all([*environment, *seen.findings])
    if not seen.due:
        tell("Nothing to run.")
    if options.plan:
        return 0
    changed = bool(preset and preset.changes)
    if (seen.due or changed) and not (options.yes or agreed("Go on?" if seen.due else "Write the preset?")):
        raise UserError("stopped; nothing was run" + (", and params.yaml is as it was" if changed else ""))
    if preset and changed:
        kept = preset.keep()
        tell(f"The preset is in params.yaml now; to go back: mv {kept} params.yaml")
    if seen.due and (status := run_repro()):
        return status
    _section("Metrics", summarise_metrics())
    return 0


def _look(environment: list[Finding], preset: Preset | None) -> Survey:
    """Say what is found and what will run, a line at a time as it is known."""
    tell("Prerequisites")
    for finding in environment:
        _tell_finding(finding)
    seen = survey(preset, _tell_finding)
    tell()
    if seen.due:
        _section("What will run", forecast(seen))
    return seen


def _tell_finding(finding: Finding) -> None:
    tell(f"  {finding.line()}")


def _section(title: str, lines: Iterable[str]) -> None:
    tell(title)
    for line in lines:
        tell(f"  {line}".rstrip())
    tell()

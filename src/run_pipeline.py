"""Check, say what will run and what it takes, ask, run `dvc repro`, show metrics: `python src/run_pipeline.py`.

Ways: --preset NAME puts a set of values into params.yaml after the yes, --plan only tells, --yes does not ask.
"""

import argparse
import sys
from pathlib import Path

from fast_sae.errors import UserError, run
from fast_sae.pipeline.environment import check_environment


def main() -> None:
    """Read the flags and hand over; whatever is missing is told before anything that needs it is imported."""
    flags = _flags()
    if not (flags.yes or flags.plan or sys.stdin.isatty()):
        raise UserError("no terminal to ask on, and nothing was run; say --yes to go on, or --plan to be told only")
    environment = check_environment(Path("requirements.txt"))
    try:
        from fast_sae.pipeline.command import Options, run_pipeline  # noqa: PLC0415  (needs the packages just checked)
    except ImportError as error:
        sys.stdout.write("".join(f"{finding.line()}\n" for finding in environment))
        raise UserError(f"the rest cannot be checked: {error}") from None
    sys.exit(run_pipeline(Options(flags.preset, flags.plan, flags.yes), environment))


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", metavar="NAME", help="put presets/NAME.yaml into params.yaml, comments kept")
    parser.add_argument("--plan", action="store_true", help="say what would run and what it takes, and end")
    parser.add_argument("--yes", action="store_true", help="go on without asking")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)

"""Compare FAST with block training, as a plan says, at matched L0: `python src/fast_vs_block.py [--plan FILE]`.

Runs each model × architecture × packing × seed of the plan as a DVC experiment of the present commit, where it is not
there yet, and writes reports/<name of the plan>.md, .csv and .svg. A plan of yours is a copy of
experiments/fast_vs_block.yaml with your model; commit it first.
"""

import argparse
import sys
from pathlib import Path

from fast_sae.arguments import positive
from fast_sae.errors import run

DEFAULT = Path("experiments/fast_vs_block.yaml")


def main() -> None:
    """Read the command line, run, and say what was written."""
    asked = _parser().parse_args()
    from fast_sae.comparison.command import Options, run_plan  # noqa: PLC0415  (seconds, which --help need not wait)

    command = "make paper" if asked.plan == DEFAULT else f"python src/fast_vs_block.py --plan {asked.plan}"
    options = Options(asked.plan, asked.jobs, Path("reports"), Path(".scratch/fast_vs_block"))
    sys.stdout.write("".join(f"{path}\n" for path in run_plan(options, command)))


def _parser() -> argparse.ArgumentParser:
    about, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--plan", type=Path, default=DEFAULT, metavar="FILE", help=f"default: {DEFAULT}")
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="runs at once; default: 2")
    return parser


if __name__ == "__main__":
    run(main)

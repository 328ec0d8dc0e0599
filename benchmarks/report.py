"""Write the tables of BENCHMARKS.md from benchmarks/results.json: `python benchmarks/report.py`; --check only compares.

Each table stands between two marks, <!-- report: NAME --> and <!-- end -->; the words around them are written by hand.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "BENCHMARKS.md"
RESULTS = ROOT / "benchmarks/results.json"
NAMES = {
    "ours": "ours",
    "hypothesaes": "HypotheSAEs",
    "dictionary_learning": "dictionary_learning",
    "sae_lens": "SAELens",
    "sparsify": "sparsify",
}
"""How each library is called on the page."""
_MARKED = re.compile(r"(<!-- report: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NOTHING = "Not measured yet.\n"
Found = dict[str, Any]


def render(page: str, results: Found) -> str:
    """Return the page with each marked part made anew."""
    return _MARKED.sub(lambda marked: f"{marked[1]}{_PARTS[marked[2]](results)}{marked[3]}", page)


def _machine(results: Found) -> str:
    machine = {name: value for name, value in results.get("machine", {}).items() if not isinstance(value, dict)}
    both = [machine, results.get("versions", {})]
    return "".join(f"{', '.join(f'{name} {value}' for name, value in one.items())}.\n\n" for one in both if one)


def _of_device(results: Found, device: str) -> list[str]:
    described = results.get("machine", {}).get("training", {})
    return [name for name in results.get("training", {}) if described[name]["device"] == device]


def _training(results: Found, device: str = "cpu") -> str:
    """Tell speeds, ratios and rooflines of the settings measured on a device."""
    names = _of_device(results, device)
    parts = [_speeds(results, names), _ratios(results, names), _rooflines(results, names)]
    return "\n".join(parts) if names else _NOTHING


def _speeds(results: Found, names: Sequence[str]) -> str:
    rows = [[_shape(results, name), *(_speed(results["training"][name].get(of)) for of in NAMES)] for name in names]
    return "Tokens/s, median · FVU on held-out rows:\n\n" + _table(
        ["d_in / M / K / batch, steps", *NAMES.values()], rows
    )


def _ratios(results: Found, names: Sequence[str]) -> str:
    peers = [library for library in NAMES if library != "ours"]
    rows = [[name, *(_ratio(results["training"][name], peer) for peer in peers)] for name in names]
    head = ["ours is faster than", *(NAMES[peer] for peer in peers)]
    return "How many times as fast ours is in the same round, median (least–most):\n\n" + _table(head, rows)


def _rooflines(results: Found, names: Sequence[str]) -> str:
    return "Rooflines, median of the rounds:\n\n" + _table(
        [
            "setting",
            *("operations per token", "bytes per token", "fp32 product, GFLOP/s", "bf16 product", "copy, GB/s"),
            *("two dense products, tokens/s", "ours reaches", "one dense product, tokens/s", "ours reaches"),
        ],
        [_roofline(results, name) for name in names],
    )


def _roofline(results: Found, name: str) -> list[str]:
    peaks = results["machine"]["training"][name]["peaks"]
    of = {key: statistics.median(peak[key] for peak in peaks) for key in peaks[0]}
    best = max(of[key] for key in ("gemm_fp32", "encode_fp32", "gradient_fp32"))
    reached = []
    for roof in ("two_products", "one_product"):
        shares = [run["tokens_per_s"] / peak[roof] for run, peak in zip(_runs(results, name), peaks, strict=False)]
        reached += [f"{of[roof]:,.0f}", f"{statistics.median(shares):.0%}" if shares else "–"]
    counts = [f"{of['operations_two_products']:,.0f}", f"{of['bytes']:,.0f}"]
    return [name, *counts, f"{best:.0f}", f"{of['gemm_bf16']:.1f}", f"{of['copy']:.1f}", *reached]


def _runs(results: Found, name: str) -> list[Found]:
    return results["training"][name].get("ours", {"runs": []})["runs"]


def _shape(results: Found, name: str) -> str:
    of = results["machine"]["training"][name]
    nested = f", prefixes {of['matryoshka']}" if of["matryoshka"] else ""
    return f"{name}: {of['d_in']} / {of['M']} / {of['K']} / {of['batch']}, {of['steps']} steps{nested}"


def _speed(found: Found | None) -> str:
    return f"{found['tokens_per_s']:,.0f} · {found['fvu']:.3f}" if found else "–"


def _ratio(of_setting: Found, peer: str) -> str:
    if peer not in of_setting or "ours" not in of_setting:
        return "–"
    pairs = zip(of_setting["ours"]["runs"], of_setting[peer]["runs"], strict=False)
    return _spread(ours["tokens_per_s"] / theirs["tokens_per_s"] for ours, theirs in pairs)


def _spread(ratios: Iterable[float]) -> str:
    found = sorted(ratios)
    return f"{statistics.median(found):.1f} ({found[0]:.1f}–{found[-1]:.1f})"


def _extraction(results: Found) -> str:
    rows = [_way(case, of_case, way) for case, of_case in results.get("extraction", {}).items() for way in _WAYS]
    head = ["", "tokens/s", "times the original's way", "padding", "difference, largest", "mean", "of the roofline"]
    return _table(head, rows) if rows else _NOTHING


_WAYS = {"original": "original's way", "fp32": "ours, float32", "bf16": "ours, bfloat16"}


def _way(case: str, of_case: Found, way: str) -> list[str]:
    found, first = of_case[way], [f"{case}, {_WAYS[way]}", f"{of_case[way]['tokens_per_s']:,.0f}"]
    if way == "original":
        return [*first, "1", "0", "0", "0", "–"]
    pairs = [*zip(found["runs"], of_case["original"]["runs"], of_case["peaks"], strict=False)]
    ratio = _spread(mine["tokens_per_s"] / theirs["tokens_per_s"] for mine, theirs, _ in pairs)
    share = [mine["tokens_per_s"] * of_case["operations_per_token"] / peak[way] / 1e9 for mine, _, peak in pairs]
    differs = [f"{found[key]:.1e}" for key in ("max_difference", "mean_difference")]
    return [*first, ratio, f"{found['padding']:.1%}", *differs, f"{statistics.median(share):.0%}"]


def _cases(part: str) -> Callable[[Found], str]:
    """Return what tells a part that holds a mapping of numbers for each of some cases."""

    def tell(results: Found) -> str:
        cases = {name: of for name, of in results.get(part, {}).items() if isinstance(of, dict)}
        columns = list(
            dict.fromkeys(key for of in cases.values() for key, v in of.items() if isinstance(v, int | float))
        )
        rows = [[name, *(f"{of[key]:,.4g}" if key in of else "–" for key in columns)] for name, of in cases.items()]
        return _table(["", *columns], rows) if rows else _NOTHING

    return tell


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_PARTS: dict[str, Callable[[Found], str]] = {
    "machine": _machine,
    "training": _training,
    "extraction": _extraction,
    "memory": _cases("memory"),
    "growth": _cases("growth"),
    "gpu": lambda results: _training(results, "cuda"),
}


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check say whether it is what results.json gives."""
    page = PAGE.read_text(encoding="utf-8")
    made = render(page, json.loads(RESULTS.read_text(encoding="utf-8")))
    if "--check" in arguments:
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""benchmarks/results.json: read, added to part by part, written; and what machine and versions it was made with."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

PATH = Path(__file__).with_name("results.json")
_PACKAGES = (
    *("torch", "numpy", "numba", "transformers"),
    *("hypothesaes", "dictionary-learning", "sae-lens", "eai-sparsify"),
)


def read_results(path: Path = PATH) -> dict:
    """Read what has been measured so far; nothing yet is an empty mapping."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_results(results: dict, path: Path = PATH) -> None:
    """Write everything, numbers to five digits."""
    text = json.dumps(_rounded(results), indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def describe_machine(device: str) -> dict[str, object]:
    """Describe processor, cores, threads and memory; and the GPU if it is used."""
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": any(flag in _flags() for flag in ("amx_bf16", "avx512_bf16")),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        **gpu,
    }


def describe_versions() -> dict[str, str]:
    """Return the version of Python and of each package that is installed; a build's mark is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    return next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown")


def _flags() -> list[str]:
    return next((line.split() for line in _cpuinfo() if line.startswith("flags")), [])


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value

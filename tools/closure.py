"""The modules of fast_sae that a script imports, directly or through others: what DVC must list and does not see.

python tools/closure.py src/train_sae.py        # prints the files, for dvc.yaml
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path("src")
ASSETS = "assets"


def imported_files(script: Path) -> set[Path]:
    """List the files under src/fast_sae that `script` imports, transitively; empty __init__.py files left out.

    A folder of assets that a module puts on its pages is listed with it.
    """
    found: set[Path] = set()
    pending = [script]
    while pending:
        for module in imported_modules(pending.pop()):
            path = SOURCE / Path(*module.split(".")).with_suffix(".py")
            if path.exists() and path not in found:
                found.add(path)
                pending.append(path)
    return found | {path.parent / ASSETS for path in found if f'/ "{ASSETS}"' in path.read_text(encoding="utf-8")}


def imported_modules(path: Path) -> Iterator[str]:
    """Name every fast_sae module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fast_sae"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("fast_sae"))


if __name__ == "__main__":
    for file in sorted(imported_files(Path(sys.argv[1]))):
        print(f"    - {file}")  # noqa: T201

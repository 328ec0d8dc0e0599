"""The styles and scripts of the page of two runs, in the order in which they stand on it."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"
STYLES = (_ASSETS / "compare.css",)
SCRIPTS = (_ASSETS / "pair.js", _ASSETS / "compare.js")
"""The last one, compare.js, builds the page; the other only defines."""

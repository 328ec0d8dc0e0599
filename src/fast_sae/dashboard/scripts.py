"""The styles and scripts of the dashboard, in the order in which they stand on the page."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"
STYLES = tuple(_ASSETS / name for name in ())
SCRIPTS = tuple(_ASSETS / name for name in ())

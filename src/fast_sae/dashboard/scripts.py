"""The styles and scripts of the dashboard, in the order in which they stand on the page."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"
STYLES = tuple(_ASSETS / name for name in ("dashboard.css", "latent.css"))
SCRIPTS = tuple(
    _ASSETS / f"{name}.js" for name in ("data", "map", "overview", "latent", "search", "model", "routes", "main")
)
"""The last one, main.js, builds the page; the others only define."""

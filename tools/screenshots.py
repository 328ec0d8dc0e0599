"""The pictures of the dashboard in README.md, taken in the system's Chromium.

python tools/screenshots.py        # reads reports/dashboard, writes docs/images/*.png
"""

import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import ViewportSize, sync_playwright

DASHBOARD = Path("reports/dashboard/index.html")
IMAGES = Path("docs/images")
SHOTS: dict[str, tuple[Literal["light", "dark"], str]] = {"overview": ("light", ""), "latent": ("dark", "#latent-213")}
"""By name: the colour scheme, and where on the page."""
_SIZE: ViewportSize = {"width": 1280, "height": 860}
_MAP_SECONDS = 1.0
"""Until all is drawn."""


def main() -> None:
    """Take each picture."""
    chromium = shutil.which("chromium")
    if chromium is None or not DASHBOARD.exists():
        sys.exit(f"needed: chromium on PATH, and {DASHBOARD} (dvc pull)")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium) as browser:
        for name, (scheme, place) in SHOTS.items():
            page = browser.new_page(color_scheme=scheme, viewport=_SIZE)
            page.goto(DASHBOARD.resolve().as_uri() + place)
            page.wait_for_timeout(1000 * _MAP_SECONDS)
            page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()

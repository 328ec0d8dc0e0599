"""Pages in the system's Chromium, which may say nothing on the console and ask nothing of anywhere."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")


@contextmanager
def open_browser() -> Iterator:
    """Start it; a test that needs it is skipped where it is absent."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -r requirements-dev.txt"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: apt install chromium")
    with playwright.sync_playwright() as running, running.chromium.launch(executable_path=CHROMIUM) as browser:
        yield browser


@contextmanager
def visits(browser, pages: Mapping[str, Path]) -> Iterator[Callable]:
    """Give what opens a page; at the end, nothing was said on the console and nothing asked of but its folder."""
    said, contexts = [], []

    def visit(name: str, place: str = "", **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        home = pages[name].parent.as_uri()
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith(home) else None)
        page.goto(pages[name].as_uri() + place)
        page.wait_for_selector("h1")
        page.wait_for_timeout(300)
        return page

    yield visit
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.hacked") is None
        context.close()
    assert said == []

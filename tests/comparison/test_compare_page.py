"""The page of two runs in the system's Chromium: what a reader does, hostile names and texts."""

import pytest
from browsing import open_browser, visits
from two_runs_samples import DIRECTIONS, SWAPPED, Repository

from fast_sae.comparison.two_runs import compare_runs

pytestmark = pytest.mark.system

HOSTILE = '</script><script>window.hacked=1</script><img src="x" onerror="window.hacked=1">\u202e'


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        repository = Repository()
        repository.add("first", directions=DIRECTIONS)
        repository.add("second", directions=SWAPPED, names=(HOSTILE, HOSTILE), sae__K=1)
        [*compare_runs("first", "second", folder / "out")]
    return {"compare": folder / "out/index.html"}


@pytest.fixture
def visit(browser, pages):
    with visits(browser, pages) as visit:
        yield visit


def latents(page):
    return page.get_by_role("region", name="Latents").locator("table.data tbody tr")


def test_the_two_runs_stand_side_by_side(visit):
    page = visit("compare")
    assert page.locator("h1").inner_text() == "first against second"
    assert "2 are found again (2 of them changed their meaning)" in page.locator("ul.plain-list").inner_text()
    assert page.locator("figure.chart").count() == 5
    assert latents(page).count() == 4


def test_metrics_that_do_not_differ_are_shown_when_asked_for(visit):
    page = visit("compare")
    metrics = page.get_by_role("region", name="Metrics").locator("table.data tbody")
    assert "No row matches" in metrics.inner_text()
    page.get_by_label("only those that differ").uncheck()
    assert "evaluate.fvu" in metrics.inner_text()


def test_latents_are_kept_by_what_became_of_them(visit):
    page = visit("compare")
    page.get_by_label("What has become of them").select_option("vanished")
    assert latents(page).count() == 1
    latents(page).locator("a").first.click()
    assert page.url.endswith("#a2")
    assert page.locator("h1").inner_text() == "vanished"
    page.get_by_role("link", name="latent 1").click()
    assert page.url.endswith("#a0-b1")


def test_a_pair_shows_the_texts_of_both_and_keys_walk_on(visit):
    page = visit("compare", "#a0-b1")
    sides = page.locator(".sides .card")
    assert [sides.nth(i).locator("li.example").count() for i in range(2)] == [3, 3]
    assert sides.nth(0).locator(".tok.fires").count() > 0
    assert "<script>" in sides.nth(1).inner_text()
    assert "⟨U+202E⟩" in sides.nth(1).inner_text()
    page.keyboard.press("j")
    assert page.url.endswith("#a1-b0")
    page.keyboard.press("k")
    page.keyboard.press("Escape")
    assert latents(page).count() == 4


def test_a_phone_scrolls_tables_and_never_the_page(visit):
    for place in ("", "#a0-b1", "#a2"):
        page = visit("compare", place, viewport={"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

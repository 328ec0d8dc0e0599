"""The page in the system's Chromium: what a reader does, hostile texts, and no request to anywhere."""

import json
import re
import shutil
from pathlib import Path

import pytest
from browsing import open_browser, visits
from dashboard_samples import HYPOTHESIS, NAMED, TABLES, Run, kept_rows

from fast_sae.page.page import MODEL, NO_MODEL

pytestmark = pytest.mark.system

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    '<img src="x" onerror="window.hacked=1">',
    "'\"`${window.hacked=1}`",
    "\u202edesrever\u2066\u200b",
    "\0\x1b[31m\x7f",
    "👩‍👩‍👧 مرحبا שלום e\u0301",
    "W" * 10_000,
    "javascript:window.hacked=1",
)
LABEL = "<b onclick=window.hacked=1>counting</b>"


def hostile_run(folder: Path, **changed) -> Run:
    """A run whose every text is hostile: tokens, labels, names."""
    texts = [
        tuple(row.values())
        for row in kept_rows(folder / "kept", "texts")
        for tokens in [row["tokens"]]
        if row.update(tokens=[*tokens[:4], HOSTILE[row["example"] % len(HOSTILE)], *tokens[5:]], label=LABEL) is None
    ]
    latents = [(*row[:-3], LABEL, *row[-2:]) if row[-3] else row for row in TABLES["latents"]]
    tokens = [(0, 1, 17, HOSTILE[0], 36, 37, 6.66), (1, 1, 9, HOSTILE[6], 3, 4, 2.0)]
    labels = [(1, 1, LABEL, 1.0, 0.98765)]
    return Run(
        folder,
        tables={"texts": texts, "latents": latents, "tokens": tokens, "labels": labels},
        interpretations=({**NAMED, "interpretation": HOSTILE[1], "rating_reason": HOSTILE[0]},),
        hypotheses=({**HYPOTHESIS, "interpretation": HOSTILE[0], "target": HOSTILE[2]},),
        changed=changed,
    )


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The run as it is, the hostile one in one file, and the hostile one in chunks."""
    made = {
        "plain": Run,
        "hostile": hostile_run,
        "chunks": lambda folder: hostile_run(
            folder, **{"dashboard.single_file_latents": 3, "dashboard.chunk_latents": 1}
        ),
    }
    found = {}
    for name, make in made.items():
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as monkeypatch:
            make(folder).build(monkeypatch)
        found[name] = folder / "reports/dashboard/index.html"
    return found


@pytest.fixture
def visit(browser, pages):
    with visits(browser, pages) as visit:
        yield visit


def rows(page) -> list[str]:
    return page.locator("table.data tbody tr td:first-child a").all_inner_texts()


def test_the_overview_shows_the_run_and_its_latents(visit):
    page = visit("plain")
    assert "tiny-instruct" in page.locator("h1").inner_text()
    assert page.locator("figure.chart").count() >= 4
    assert sorted(rows(page)) == ["0", "1", "2"]
    assert page.locator("canvas").count() == 1


def test_a_header_sorts_one_way_and_the_other(visit):
    page = visit("plain")
    density = page.locator("th", has_text="Density")
    density.locator("button").click()
    assert density.get_attribute("aria-sort") == "descending"
    assert rows(page) == ["2", "0", "1"]
    density.locator("button").click()
    assert density.get_attribute("aria-sort") == "ascending"
    assert rows(page) == ["1", "0", "2"]


def test_the_filter_keeps_rows_by_words_and_numbers(visit):
    page = visit("plain")
    box = page.get_by_label("Filter the table")
    box.fill("pearl")
    assert rows(page) == ["0"]
    box.fill("density>0.09")
    assert sorted(rows(page)) == ["0", "2"]
    box.fill("no such thing")
    assert rows(page) == []


def test_a_latent_opens_by_click_and_back_leads_back(visit):
    page = visit("plain")
    page.locator("td:first-child a", has_text=re.compile("^0$")).click()
    page.wait_for_selector(".example")
    assert page.url.endswith("#latent-0")
    assert "the word pearl" in page.locator("h1").inner_text()
    page.go_back()
    page.wait_for_selector("canvas")


def test_a_token_tells_its_activation_on_hover_and_by_keyboard(visit):
    page = visit("plain", "#latent-0")
    token = page.locator(".tok.fires").first
    token.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "activation 1.9" in tip.inner_text()
    page.mouse.move(0, 0)
    page.locator(".tokens").first.focus()
    page.keyboard.press("ArrowRight")
    assert tip.is_visible()


def test_a_click_shows_the_whole_text_and_special_tokens_look_special(visit):
    page = visit("plain", "#latent-0")
    example = page.locator(".example").first
    unfold = example.locator(".unfold")
    unfold.click()
    assert unfold.get_attribute("aria-expanded") == "true"
    assert example.locator(".tok").count() == 8
    assert example.locator(".tok.special").first.inner_text() == "<|start|>"


def test_search_finds_names_and_texts(visit):
    page = visit("plain")
    page.keyboard.press("/")
    page.keyboard.type("pearl")
    page.wait_for_selector("mark")
    assert page.url.endswith("#search-pearl")
    assert "0" in rows(page)
    assert {text.strip() for text in page.locator("mark").all_inner_texts()} == {"pearl"}


def test_keys_go_from_latent_to_latent_and_back(visit):
    page = visit("plain", "#latent-0")
    order = []
    for key in ("Escape", "j", "j"):
        page.keyboard.press(key)
        page.wait_for_timeout(150)
        order.append(page.url.rpartition("#")[2])
    assert order[0] == "overview"
    assert order[1] != order[2]
    page.keyboard.press("k")
    page.wait_for_timeout(150)
    assert page.url.endswith(order[1])
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()


@pytest.mark.parametrize(("place", "told"), [("#latent-3", "3"), ("#latent-99", "99"), ("#nothing", "nothing")])
def test_what_is_not_there_is_told(visit, place, told):
    page = visit("plain", place)
    assert told in page.locator("main").inner_text()
    assert page.locator(".example").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_are_both_legible(visit, scheme):
    page = visit("plain", "#latent-0", color_scheme=scheme)
    contrasts = page.evaluate(
        """() => {
          const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
          const rgb = (colours) => {
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const light = (parts) => parts.map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
          const behind = (node) => node ? [...behind(node.parentElement), getComputedStyle(node).backgroundColor] : [];
          return [...document.querySelectorAll("h1, h2, p, td, th, .tok, .tok.fires, .muted, a")]
            .filter((node) => node.innerText).map((node) => {
              const ground = behind(node);
              const [text, back] = [light(rgb([...ground, getComputedStyle(node).color])), light(rgb(ground))];
              return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
            });
        }"""
    )
    assert min(contrasts) >= 4.5
    dark = page.evaluate(
        "getComputedStyle(document.body).colorScheme + getComputedStyle(document.body).backgroundColor"
    )
    page.get_by_role("button", name="colours").click()
    other = page.evaluate(
        "getComputedStyle(document.body).colorScheme + getComputedStyle(document.body).backgroundColor"
    )
    assert dark != other


@pytest.mark.parametrize("place", ["", "#latent-0", "#latent-1", "#search-W"])
@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_a_phone_shows_it_without_scrolling_sideways(visit, name, place):
    page = visit(name, place, viewport={"width": 360, "height": 700})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("name", ["hostile", "chunks"])
def test_hostile_texts_are_shown_and_never_run(visit, name):
    page = visit(name, "#latent-0")
    page.wait_for_selector(".example")
    assert HOSTILE[1] in page.locator("h1").inner_text()
    for unfold in page.locator(".unfold").all():
        unfold.click()
    page.goto(page.url.replace("#latent-0", "#latent-2"))
    page.wait_for_selector(".example")
    for unfold in page.locator(".unfold").all():
        unfold.click()
    shown = page.locator("main").inner_text()
    assert "⟨U+202E⟩" in shown
    assert "\u202e" not in shown
    assert "␀" in shown
    page.goto(page.url.replace("#latent-2", "#search-hacked"))
    if name == "chunks":  # where a search may take long, it waits to be asked for
        page.get_by_role("button", name="Search the texts (").click()
    page.wait_for_selector("mark")
    assert page.locator("main img, main script, main b[onclick]").count() == 0


def test_chunks_are_loaded_when_they_are_asked_for(visit):
    page = visit("chunks")
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.locator("td:first-child a", has_text=re.compile("^1$")).click()
    page.wait_for_selector(".example")
    assert asked == ["1.js"]


def test_a_search_that_lacks_a_chunk_says_that_it_ended_early(browser, pages, tmp_path):
    shutil.copytree(pages["chunks"].parent, tmp_path / "copy")
    (tmp_path / "copy/chunks/1.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "copy/index.html").as_uri() + "#search-pearl")
    page.get_by_role("button", name="Search the texts (").click()
    page.wait_for_selector("text=The search ended early: chunks/1.js could not be loaded")
    assert page.get_by_role("button", name="Search the texts again").is_visible()
    page.close()


def test_the_model_is_asked_only_where_a_server_says_so(visit, browser, pages):
    assert visit("plain").get_by_label("A text for the model").count() == 0
    page = browser.new_page()
    served = pages["plain"].read_text(encoding="utf-8").replace(NO_MODEL, MODEL)
    asked = []

    def answer(route):
        asked.append(route.request.post_data_json)
        if "bad" in asked[-1]["text"]:
            route.fulfill(status=400, json={"error": "no such text"})
        else:
            tokens = ["<|start|>", "a ", HOSTILE[0]]
            route.fulfill(
                json={"tokens": tokens, "kinds": [1, 3, 3], "latents": [[0, [2, 1.5], 1.5]], "truncated": False}
            )

    page.route("http://localhost/", lambda route: route.fulfill(body=served, content_type="text/html"))
    page.route("http://localhost/annotate", answer)
    page.goto("http://localhost/")
    page.get_by_label("A text for the model").fill("a text")
    page.get_by_role("button", name="See what fires").click()
    page.wait_for_selector(".firing")
    assert asked == [{"text": "a text"}]
    assert "the word pearl" in page.locator(".firing").inner_text()
    assert json.loads(page.evaluate("JSON.stringify(window.hacked ?? null)")) is None
    page.get_by_label("A text for the model").fill("bad")
    page.get_by_role("button", name="See what fires").click()
    page.wait_for_selector("text=no such text")
    page.close()

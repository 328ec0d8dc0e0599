"""The file that a browser opens: data that cannot get out of their place, and a policy that knows its own scripts."""

import pytest
from dashboard_samples import digest, read_chunk, read_page

from fast_sae.page.page import MODEL, NO_MODEL, Page, chunk_script

HOSTILE = [
    "</script><script>window.hacked=1</script>",
    "<!-- <script> -->",
    "<img src=x onerror=window.hacked=1>",
    "\u2028\u2029",
    "\0\x01\x1b[31m\x7f",
    "\u202edesrever\u2066",
    "'\"`${window.hacked=1}\\",
    "👩‍👩‍👧 مرحبا שלום e\u0301\u200b",
    "x" * 10_000,
    "",
    "&lt;b&gt;&amp;",
]


@pytest.fixture(scope="module")
def page():
    page = Page(
        HOSTILE[0],
        [],
        [],
        {"all": {"texts": HOSTILE, HOSTILE[1]: 1}},
        {"kept": {"texts": HOSTILE}},
        marks={"sae": HOSTILE[2]},
    )
    return read_page(page.html())


def test_data_come_back_as_they_were(page):
    assert page.blocks == {"all": {"texts": HOSTILE, HOSTILE[1]: 1}, "kept": {"texts": HOSTILE}}
    assert read_chunk(chunk_script(7, {"texts": HOSTILE})) == (7, {"texts": HOSTILE})


def test_no_hostile_text_makes_an_element(page):
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not [about for _, about in page.tags if any(name.startswith("on") for name in about)]
    assert ("meta", {"name": "sae", "content": HOSTILE[2]}) in page.tags


def test_the_policy_runs_this_script_and_no_other(page):
    assert page.policy["default-src"] == ["'none'"]
    assert page.policy["script-src"] == [digest(page.scripts[0]), "'self'", "file:"]
    assert page.policy["style-src"] == [digest(page.styles[0])]
    assert "unsafe" not in str(page.policy)


def test_a_page_asks_no_model_until_a_server_says_so(page):
    assert page.text.count(NO_MODEL) == 1
    assert MODEL not in page.text

"""A latent as text and as HTML: what it shows, and that nothing of a text from data acts."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from fast_sae.features.card import Card, html_card, sparkline, text_card, visible
from fast_sae.features.windows import Shown, Window

HOSTILE = (
    "</span><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "'&amp;&lt;",
    "\x00\x07\x1b[31m\x9b",
    "\u202eevil\u202c\u2066\u200f",
    "🎉👩\u200d👧",
    "\u2028\r\n\t",
    "x" * 10_000,
)


def card(tokens=("The", " pearl", " shines"), activations=(0.0, 2.0, 1.0), **told) -> Card:
    window = Window("test", 7, 0, tuple(tokens), (3,) * len(tokens), told.pop("label", "counting"))
    histogram = pd.DataFrame({"low": [1.0, 4.0], "high": [2.0, 8.0], "tokens": [3, 6]})
    shown = Shown(window, tuple(activations), "top", 0, 0.0)
    facts = {"title": "latent 3", "name": "pearls", "facts": [("label", "counting")], "largest": 4.0}
    return Card(**(facts | {"histogram": histogram, "examples": [shown]} | told))


class Elements(HTMLParser):
    """The elements and the text of HTML, as a browser reads them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_text_shows_everything_there_is():
    assert text_card(card()).splitlines() == [
        "latent 3",
        "  name       pearls",
        "  label      counting",
        "  histogram  1 |" + " " * 6 + "▄" + " " * 26 + "█" + " " * 6 + "| 8",
        "  2 in test text 7, counting",
        "      The« pearl»‹ shines›",
    ]


def test_a_shade_is_the_share_of_the_largest_activation():
    shades = {attrs["title"]: attrs["style"] for tag, attrs in Elements(html_card(card())).elements if tag == "span"}
    assert shades == {"2": "background:rgba(230,159,0,0.45)", "1": "background:rgba(230,159,0,0.30)"}
    (stronger,) = (a for tag, a in Elements(html_card(card(activations=(0.0, 9.0, 0.0)))).elements if tag == "span")
    assert stronger["style"].endswith(",0.75)")


def test_a_long_window_is_cut_around_its_peak_in_text_and_whole_in_html():
    tokens = [f" w{i}" for i in range(100)]
    shown = card(tokens, [float(i == 50) for i in range(100)])
    line = text_card(shown).splitlines()[-1].strip()
    assert line == "… " + "".join(tokens[30:50]) + "« w50»" + "".join(tokens[51:61]) + " …"
    assert "".join(tokens) in Elements(html_card(shown)).text


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_from_data_acts(hostile):
    plain, odd = (
        card([one, one], [1.0, 0.0], label=one, name=one, facts=[(one, one)], title=one) for one in ("a", hostile)
    )
    expected, found = Elements(html_card(plain)), Elements(html_card(odd))
    assert found.elements == expected.elements
    assert found.text.count(visible(hostile)) == 7
    for content in (html_card(odd), text_card(odd).replace("\n", "")):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]", content)


def test_a_latent_without_name_or_histogram():
    bare = card(name=None, facts=[], histogram=pd.DataFrame({"low": [], "high": [], "tokens": []}), examples=[])
    assert text_card(bare).splitlines() == ["latent 3", "  name       none", "  histogram  "]
    assert "<ol></ol>" in html_card(bare)


def test_what_is_more_than_nothing_gets_a_bar():
    assert sparkline([0, 1, 1e9]) == " ▁█"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "  "

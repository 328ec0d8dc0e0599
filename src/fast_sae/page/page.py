"""A page that a double-click opens: one HTML file with its styles, scripts and data, and no request to anywhere.

What it shows comes from data, so nothing in it may run: data stand in the file as JSON in which no `<` is left, scripts
put them on the page as text alone, and the page's Content-Security-Policy runs no script but the ones put together
here, known by their digests, and those of chunks beside it.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from fast_sae.artifacts import Json, whole_file

INDEX = "index.html"
NO_MODEL = '<meta name="model" content="none">'
MODEL = '<meta name="model" content="annotate">'
"""What a server that can annotate puts in place of `NO_MODEL`, so that the page asks it."""
CHUNKS = "chunks"
"""Folder of the chunks beside `INDEX`."""

_ASSETS = Path(__file__).parent / "assets"
BASE_STYLES = tuple(_ASSETS / name for name in ("base.css", "tokens.css"))
BASE_SCRIPTS = tuple(_ASSETS / name for name in ("dom.js", "charts.js", "table.js", "theme.js", "tokens.js"))

_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""No `</script>` or `<!--` survives this, and the JSON stays the same; line separators end a line in old scripts."""


@dataclass(frozen=True)
class Page:
    """What stands on a page."""

    title: str
    styles: Sequence[Path]
    """Style sheets, after `base_styles`."""
    scripts: Sequence[Path]
    """Scripts, after `base_scripts`; the last one builds the page into `<main id="page">`."""
    blocks: Json
    """Data by name: `<script type="application/json" id="data-NAME">`."""
    packed: Json = field(default_factory=dict)
    """Data read when somebody asks for them: `<script type="text/plain" id="data-NAME">`, as `pack` writes them."""
    base_styles: Sequence[Path] = BASE_STYLES
    base_scripts: Sequence[Path] = BASE_SCRIPTS
    marks: Mapping[str, str] = field(default_factory=dict)
    """Facts by name that stand in the head, where a program finds them; `sae`: SHA-256 of the weights shown."""

    def html(self) -> str:
        """Return the file's text, the same for the same data."""
        style = _joined([*self.base_styles, *self.styles])
        script = _joined([*self.base_scripts, *self.scripts])
        policy = (
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}' 'self' file:; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
        )
        blocks = [
            f'<script type="application/json" id="data-{name}">{page_json(block)}</script>'
            for name, block in self.blocks.items()
        ]
        packed = [
            f'<script type="text/plain" id="data-{name}">{pack(block)}</script>' for name, block in self.packed.items()
        ]
        lines = [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            NO_MODEL,
            *(mark(name, content) for name, content in self.marks.items()),
            '<link rel="icon" href="data:,">',
            f"<title>{html.escape(self.title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            '<main id="page"><noscript>This page needs JavaScript; it loads nothing from elsewhere.</noscript></main>',
            *blocks,
            *packed,
            f"<script>{script}</script>",
            "</body>",
            "</html>",
        ]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write `index.html` into the folder, whole or not at all."""
        with whole_file(folder / INDEX) as part:
            part.write_text(self.html(), encoding="utf-8")


def mark(name: str, content: str) -> str:
    """Return the line of a page's head that tells one fact about it.

    >>> mark("sae", "1324c2")
    '<meta name="sae" content="1324c2">'
    """
    return f'<meta name="{html.escape(name)}" content="{html.escape(content)}">'


def page_json(content: object) -> str:
    r"""Return compact JSON that may stand inside a script element.

    >>> page_json({"a": "</script>"})
    '{"a":"\\u003c/script\\u003e"}'
    """
    return _compact(content).translate(_ESCAPED)


def pack(content: object) -> str:
    """Return JSON, gzipped, as base64: 43 % of the size, and read by every browser since 2023.

    Arrow's own gzip and not Python's, whose bytes hang on the zlib that Python was built with.
    """
    packed = pa.Codec("gzip", compression_level=9).compress(_compact(content).encode(), asbytes=True)
    return base64.b64encode(packed).decode()


def chunk_script(number: int, content: Json) -> str:
    """Return a script that hands one part of the data to the page: browsers let a file load scripts, not JSON."""
    return f'fastSaeChunk({number},"{pack(content)}");\n'


def _compact(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _joined(files: Sequence[Path]) -> str:
    return "\n" + "\n".join(file.read_text(encoding="utf-8") for file in files)


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

"""The dashboard with the model behind it, on this machine's loopback and for this machine's own pages alone.

    GET  /               the dashboard, told that a model can be asked
    GET  /chunks/N.js    a part of its data
    POST /annotate       what fires on a text: `Sentences.answer` of the body, application/json

What is asked wrongly gets {"error": "one line"}. Other pages that the browser shows cannot ask: their requests carry
their own Origin; a name that somebody has pointed at 127.0.0.1 stands in Host (DNS rebinding); a form cannot send
application/json; and nothing may be put into another page (Cross-Origin-Resource-Policy).
"""

import json
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fast_sae.annotation.origin import Origin
from fast_sae.annotation.sentence import Sentences
from fast_sae.artifacts import Json
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import ArtifactError, UserError
from fast_sae.page.page import CHUNKS, INDEX, MODEL, NO_MODEL, mark
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.checkpoint import sae_sha256

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 256 * 1024
"""Bytes of a text that is asked about, in its JSON."""
_IDLE_SECONDS = 30.0
"""After which a connection that sends nothing is closed."""
_DRAINED = 4 * 2**20
"""Bytes read of a request that is refused unread: a connection closed on unread bytes may lose the answer."""
_CHUNK = re.compile(rf"/{CHUNKS}/(0|[1-9][0-9]{{0,5}})\.js")
_DIGITS = re.compile("[0-9]{1,18}")
_JSON = "application/json"
_HTTP_PORT = 80
"""Which browsers leave out of Host and Origin."""
_METHODS = {"/": "GET", "/annotate": "POST"}
_STAGE = "build_dashboard"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_PAGE_POLICY = "frame-ancestors 'none'"
"""What a page cannot say of itself; the rest of its policy stands in its head, and both hold."""
_POLICY = "default-src 'none'; frame-ancestors 'none'"

_NONE: Mapping[str, str] = {}

Answer = Callable[[object], Json]
"""Answers what is asked; a `UserError` says what is wrong with it."""


def serve(
    origin: Origin,
    dashboard: Path,
    *,
    port: int,
    data: DataSettings,
    runtime: RuntimeSettings,
    ready: Callable[[str], object],
) -> None:
    """Serve the dashboard and answer until Ctrl-C, which ends it as it is meant to end.

    Args:
        origin: The SAE to ask.
        dashboard: Folder of the dashboard, made of that SAE.
        port: Of 127.0.0.1; 0 for any that is free.
        data: The `data` section.
        runtime: The `runtime` section.
        ready: Told the page's address once all is loaded.

    Raises:
        UserError: if the dashboard is missing or of another SAE, the port is taken, or the model cannot be loaded.
    """
    site = Site.open(dashboard, sae_sha256(origin.folder))
    with open_server(port, site) as server:
        server.answer = Sentences.open(origin, data, runtime).answer
        ready(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@dataclass(frozen=True)
class Site:
    """What is served as it is."""

    page: bytes
    chunks: Path

    @classmethod
    def open(cls, dashboard: Path, sae: str) -> "Site":
        """Read the page, and tell it that a model can be asked.

        Args:
            dashboard: Its folder.
            sae: SHA-256 of the weights that it must have been made of.

        Raises:
            ArtifactError: if it is missing, no dashboard, or of another SAE.
        """
        path = dashboard / INDEX
        try:
            page = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(f"{path} does not exist; run: dvc pull, or: dvc repro {_STAGE}") from None
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} cannot be read ({error}); run: dvc repro {_STAGE}") from None
        head = page.split("<title>")[0]
        if NO_MODEL not in head:
            raise ArtifactError(f"{path} is no dashboard that can ask a model; run: dvc repro {_STAGE}")
        if mark("sae", sae) not in head:
            raise ArtifactError(f"{path} was made of another SAE; give that as --sae, or run: dvc repro {_STAGE}")
        return cls(page.replace(NO_MODEL, MODEL, 1).encode(), dashboard / CHUNKS)

    def chunk(self, number: str) -> bytes:
        """Read one chunk; it may be gone."""
        return (self.chunks / f"{number}.js").read_bytes()


class AnnotationServer(ThreadingHTTPServer):
    """A server of 127.0.0.1; each connection has its thread, and one at a time has the model."""

    allow_reuse_address = True
    """Of a port whose last connections have just been closed; not of one that another program listens on."""
    allow_reuse_port = False
    daemon_threads = True
    answer: Answer

    def __init__(self, port: int, site: Site) -> None:
        """Listen; requests wait until `serve_forever`, which needs `answer`."""
        super().__init__((LOOPBACK, port), _Handler)
        self.site = site
        names = (LOOPBACK, "localhost")
        self.hosts = {f"{name}:{self.server_port}" for name in names} | (
            {*names} if self.server_port == _HTTP_PORT else set()
        )
        self._model = threading.Lock()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def ask(self, asked: object) -> Json:
        """Answer what is asked, when the model is free."""
        with self._model:
            return self.answer(asked)

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell what only a bug can cause; a connection that the other side broke is none."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            sys.stderr.write(traceback.format_exc())


def open_server(port: int, site: Site) -> AnnotationServer:
    """Listen on a port of 127.0.0.1.

    Raises:
        UserError: if that port is taken, or not for this user.
    """
    try:
        return AnnotationServer(port, site)
    except OSError as error:
        raise UserError(f"port {port} cannot be had ({error.strerror}); choose another with --port") from None


class _RefusedError(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, why: str, headers: Mapping[str, str] = _NONE) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


def _not_allowed(methods: str) -> _RefusedError:
    return _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"answered here: {methods}", {"Allow": methods})


class _Handler(BaseHTTPRequestHandler):
    """One request; its connection is closed behind it."""

    server: AnnotationServer  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = _IDLE_SECONDS
    server_version, sys_version = "fast-sae", ""

    def do_GET(self) -> None:
        """Send the page or a chunk."""
        self._reply(self._file)

    def do_POST(self) -> None:
        """Send what fires on a text."""
        self._reply(self._answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what http.server cannot read, and methods that stand for nothing here."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._refuse(_not_allowed("GET, POST"))
        else:
            self._refuse(_RefusedError(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: what somebody types is theirs."""

    def _reply(self, make: Callable[[], tuple[str, bytes]]) -> None:
        length = self.headers.get("Content-Length", "0")
        self._unread = int(length) if _DIGITS.fullmatch(length) else None
        try:
            self._require_ours()
            kind, body = make()
        except _RefusedError as refused:
            self._refuse(refused)
            self.rfile.read(min(self._unread or 0, _DRAINED))
        else:
            self._send(HTTPStatus.OK, kind, body)

    def _require_ours(self) -> None:
        """Refuse what does not come from our own page, or from a program of this machine."""
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"Host must be {' or '.join(sorted(self.server.hosts))}")
        if any(origin.lower().removeprefix("http://") not in self.server.hosts for origin in origins):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "another page cannot ask here")

    def _file(self) -> tuple[str, bytes]:
        if self.path == "/":
            return "text/html; charset=utf-8", self.server.site.page
        if chunk := _CHUNK.fullmatch(self.path):
            with suppress(FileNotFoundError, NotADirectoryError):
                return "text/javascript; charset=utf-8", self.server.site.chunk(chunk[1])
        raise self._no_such("GET")

    def _answer(self) -> tuple[str, bytes]:
        if self.path != "/annotate":
            raise self._no_such("POST")
        try:
            answer = self.server.ask(self._asked())
        except UserError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
        except (_RefusedError, ConnectionError, TimeoutError):
            raise
        except Exception:  # only a bug: the terminal gets its traceback, and the page an answer
            sys.stderr.write(traceback.format_exc())
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug; the server's terminal tells more") from None
        return _JSON, json.dumps(answer, allow_nan=False).encode()

    def _asked(self) -> object:
        """Read the body."""
        if self.headers.get_content_type() != _JSON:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {_JSON}")
        if self._unread is None or "Content-Length" not in self.headers:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length must say how many bytes come")
        if self._unread > LARGEST_BODY:
            told = f"{self._unread:,} bytes are more than the {LARGEST_BODY:,} that are read of one text"
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told)
        body, self._unread = self.rfile.read(self._unread), 0
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"not JSON ({error})") from None

    def _no_such(self, method: str) -> _RefusedError:
        known = "GET" if _CHUNK.fullmatch(self.path) else _METHODS.get(self.path)
        if known and known != method:
            return _not_allowed(known)
        return _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _refuse(self, refused: _RefusedError) -> None:
        told = " ".join(str(refused).split())
        self._send(refused.status, _JSON, json.dumps({"error": told}).encode(), refused.headers)

    def _send(self, status: HTTPStatus, kind: str, body: bytes, more: Mapping[str, str] = _NONE) -> None:
        self.close_connection = True
        self.send_response(status)
        policy = _PAGE_POLICY if kind.startswith("text/html") else _POLICY
        facts = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for name, value in {**facts, **_HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

"""The connection to a server of chat completions, and the key, which never leaves this file but in a request's header.

What goes wrong comes back as `Trouble`, never as the package's exception: those hold the request and with it the key.
Text that a server sends is freed of the key before anything else sees it, should a server echo it, and so is what the
packages below log. Redirects are not followed, and a proxy is used only for https, where it sees no header.
"""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from fast_sae.artifacts import Json
from fast_sae.backends.openai.envelope import read_envelope
from fast_sae.backends.openai.store import Reply
from fast_sae.backends.openai.trouble import Trouble, of_connection, of_status
from fast_sae.backends.openai.wire import Wire
from fast_sae.backends.settings import BackendSettings
from fast_sae.errors import UserError
from fast_sae.progress import say

KEY_NAMES = ("OPENAI_KEY_SAE", "OPENAI_API_KEY")
_NO_KEY = "no-key"
"""Sent to a server on this machine that wants none; the package insists on one."""
_SHORTEST_SECRET = 8
"""Shorter keys are placeholders (`none`, `ollama`), which may stand in any text."""
_LOGGERS = ("openai._base_client", "httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.proxy")
"""Those that tell of requests, replies and their headers at DEBUG."""


class Connection:
    """Sends one request at a time per thread; made only when something must be sent, since it needs the key."""

    def __init__(self, settings: BackendSettings) -> None:
        """Read the key and open the connection.

        Raises:
            UserError: if there is no key, and the server is not on this machine.
        """
        self._timeout = settings.timeout_seconds
        self._key = _read_key(settings.base_url)
        url = urlsplit(settings.base_url)
        if url.scheme == "http" and not is_on_this_machine(settings.base_url):
            say(f"{settings.base_url} is no https: the key and all texts travel unencrypted")
        self._openai = openai.OpenAI(
            api_key=self._key,
            base_url=settings.base_url,
            max_retries=0,
            http_client=httpx2.Client(
                timeout=settings.timeout_seconds,
                limits=httpx2.Limits(max_connections=settings.concurrency),
                follow_redirects=False,
                trust_env=url.scheme == "https",
            ),
        )
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._clean_log)
        if url.hostname != "api.openai.com":
            self._openai.organization = self._openai.project = None  # of the environment, and no one else's business

    def send(self, request: Json, wire: Wire) -> Reply | Trouble:
        """Send a request once, and wait for the reply or for what goes wrong."""
        try:
            body = self._post(wire.body(request))
        except openai.APIStatusError as error:
            trouble = of_status(error, self._clean)
        except (openai.APIConnectionError, httpx2.RequestError, TimeoutError) as error:
            trouble = of_connection(error)
        else:
            return read_envelope(body, self._clean)
        return trouble

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._openai.close()
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._clean_log)

    def _post(self, body: dict[str, Any]) -> bytes:
        """Read the reply piece by piece, so that one that trickles in for ever is given up too."""
        deadline = time.monotonic() + self._timeout
        with self._openai.chat.completions.with_streaming_response.create(**body) as response:
            return b"".join(_until(deadline, response.iter_bytes()))

    def _clean(self, text: str) -> str:
        text = text.encode("utf-8", "replace").decode()
        return text.replace(self._key, "[key]") if len(self._key) >= _SHORTEST_SECRET else text

    def _clean_log(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._clean(record.getMessage()), ()
        return True


def _until(deadline: float, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if time.monotonic() > deadline:
            raise TimeoutError
        yield piece


def _read_key(base_url: str) -> str:
    """Read the key from the environment.

    Raises:
        UserError: if there is none, or it is none that a header can hold; the text does not show it.
    """
    name, key = next(((name, key) for name in KEY_NAMES if (key := os.environ.get(name, "").strip())), ("", ""))
    if not key and is_on_this_machine(base_url):
        return _NO_KEY
    if not key:
        raise UserError(
            f"no key for {base_url}: set {KEY_NAMES[0]} or {KEY_NAMES[1]} in the environment (to any word, if that "
            "server wants none)"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"{name} in the environment is no key: it holds a space or a character that no key has")
    return key


def is_on_this_machine(base_url: str) -> bool:
    """Whether a server is reached without a network.

    >>> [is_on_this_machine(f"http://{host}/v1") for host in ("localhost:11434", "127.0.0.1", "[::1]:8000", "box")]
    [True, True, True, False]
    """
    host = urlsplit(base_url).hostname or ""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())

"""What can go wrong with one try, and what is to be done about it."""

import email.utils
import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import httpx2
import openai

from fast_sae.backends.openai.store import Reply

Do = Literal["again", "give_up", "ask_otherwise", "end"]
"""Try again; leave this question unanswered; ask in another way; end the run, as every question would go this way."""

LONGEST_WAIT = 600.0
"""Seconds that a server may make us wait; if it asks for more (its limit of a day, say), the run ends and says so.
The package itself stops honouring Retry-After at 120."""
_FIRST_WAIT, _LONGEST_OWN_WAIT, _JITTER = 0.5, 8.0, 0.25
"""As in the `openai` package: 0.5 s, twice as much each time, up to 8 s, less up to a quarter at random."""
_MISSPELT = (400, 422)
_MAYBE_BILLED = (408, 504)
"""A gateway's time-outs: the server behind it may have answered."""
_ENDS = {
    401: "the key in OPENAI_KEY_SAE or OPENAI_API_KEY is not accepted",
    403: "look at interpret.model and the key's rights",
    404: "look at interpret.model and interpret.base_url",
}


@dataclass(frozen=True)
class Trouble:
    """Why a try gave no reply."""

    reason: str
    do: Do
    maybe_billed: bool = False
    wait: float | None = None
    """Seconds to wait, as the server says."""
    down: bool = False
    """The server is away, overloaded or broken, as far as can be told."""


def of_status(error: openai.APIStatusError, clean: Callable[[str], str]) -> Reply | Trouble:
    """Judge a status that is not 200; a refusal to answer what was asked is a reply."""
    status = error.status_code
    said = " ".join(clean(_said(error)).split())[:200]
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status in _MISSPELT and error.code == "content_filter":
        return Reply(None, said or "content filter", "content_filter", 0, 0)
    if status in _MISSPELT:
        return Trouble(reason, "ask_otherwise")
    if status in _ENDS:  # what the server says of a key is not repeated
        return Trouble(f"{f'HTTP {status}' if status == 401 else reason}; {_ENDS[status]}", "end")
    if status < 400:
        return Trouble(f"HTTP {status}: it sends us elsewhere; set interpret.base_url to where it leads", "end")
    return _try_again(reason, error)


def of_connection(error: Exception) -> Trouble:
    """Judge a time-out or a broken connection; only one that never came about cannot have been billed."""
    cause = error.__cause__ or error
    never_sent = isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    timed_out = isinstance(cause, httpx2.TimeoutException | TimeoutError)
    where = "no connection" if never_sent else "timed out" if timed_out else "the connection was cut"
    return Trouble(f"{where} ({type(cause).__name__})", "again", maybe_billed=not never_sent, down=True)


def delay(trouble: Trouble, tries: int) -> float:
    """Return the seconds to wait before the next try: the server's, else twice as long each time."""
    if trouble.wait is not None:
        return trouble.wait
    return min(_FIRST_WAIT * 2**tries, _LONGEST_OWN_WAIT) * (1 - _JITTER * random.random())  # noqa: S311


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long a server asks us to wait, in seconds; a date that is past, or what is neither, says nothing.

    >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after-ms": "20"}), retry_after({"retry-after": "soon"})
    (1.5, 0.02, None)
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        wait = _number_or_date(headers.get(name, "")) / per_second
        if wait > 0:
            return wait
    return None


def _try_again(reason: str, error: openai.APIStatusError) -> Trouble:
    status, wait = error.status_code, retry_after(error.response.headers)
    if status not in (408, 409, 429) and status < 500:
        return Trouble(reason, "give_up")
    if error.code == "insufficient_quota":
        return Trouble(f"{reason}; the account has no credit left", "end")
    if wait is not None and wait > LONGEST_WAIT:
        return Trouble(f"{reason}; the server asks to wait {wait:.0f} s", "end")
    return Trouble(reason, "again", status in _MAYBE_BILLED, wait, down=status == 429 or status >= 500)


def _said(error: openai.APIStatusError) -> str:
    """Return the server's message without the rest of its body, if it is put as OpenAI puts it."""
    body = error.body
    message = body.get("message") or body.get("error") if isinstance(body, dict) else body
    return str(message or "")


def _number_or_date(text: str) -> float:
    """Read seconds, or a date as seconds from now; 0 of what is neither."""
    with suppress(ValueError):
        number = float(text)
        return 0.0 if math.isnan(number) else number
    with suppress(ValueError, OverflowError):  # of dates that no calendar has
        date = email.utils.parsedate_tz(text)
        return email.utils.mktime_tz(date) - time.time() if date else 0.0
    return 0.0

"""What a run may spend: each try is reserved at its worst before it is sent, and settled by what it really took.

So the sum of what was billed never passes the budget, as long as the server bills no more than the worst case: input
tokens are bounded by the bytes of the request and `OVERHEAD`, output tokens by max_output_tokens. A try that timed out
or whose connection was cut may have been billed without our hearing of it, and is settled at its worst.
"""

from dataclasses import dataclass
from threading import Condition

from fast_sae.artifacts import Json
from fast_sae.backends.openai.store import canonical
from fast_sae.backends.settings import BackendSettings

OVERHEAD = 256
"""Tokens that a server's chat template may add to a request: special tokens, roles, a system line of its own."""
BYTES_PER_TOKEN = 4
"""A rule of thumb for English text, of which an estimate is made; the budget does not rest on it."""


@dataclass(frozen=True)
class Tokens:
    """Tokens sent and received."""

    sent: int = 0
    received: int = 0

    @property
    def all(self) -> int:
        """Both together."""
        return self.sent + self.received

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.sent - other.sent, self.received - other.received)


def request_bytes(request: Json) -> int:
    """Count the bytes of what a request says, its schema too, which servers put into the prompt."""
    return len(canonical({key: request[key] for key in ("messages", "schema")}).encode())


def worst_case(request: Json, max_output_tokens: int) -> Tokens:
    """Bound what one try can take: no tokenizer makes more than a token of a byte."""
    return Tokens(request_bytes(request) + OVERHEAD, max_output_tokens)


class Budget:
    """Spent and reserved tokens against `budget_tokens` and `budget_usd`; shared by the threads of a run."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._changed = Condition()
        self._reserved = Tokens()
        self.spent = Tokens()

    def dollars(self, tokens: Tokens) -> float:
        """Return the price of tokens by the section `interpret`."""
        prices = self._settings
        return (
            tokens.sent * prices.usd_per_million_input + tokens.received * prices.usd_per_million_output
        ) / 1_000_000

    def in_words(self, tokens: Tokens) -> str:
        """Say what tokens cost; a price below a cent is not rounded to nothing."""
        return f"{tokens.all:,} tokens (${self.dollars(tokens):.4g})"

    def limit_in_words(self) -> str:
        """Say what the budget is."""
        limits = {"interpret.budget_usd": self._settings.budget_usd, "budget_tokens": self._settings.budget_tokens}
        return " or ".join(f"{name} ({limit:,})" for name, limit in limits.items() if limit is not None)

    def fits(self, more: Tokens) -> bool:
        """Whether `more` can be taken on top of all that is spent and reserved."""
        total, settings = self.spent + self._reserved + more, self._settings
        within_tokens = settings.budget_tokens is None or total.all <= settings.budget_tokens
        return within_tokens and (settings.budget_usd is None or self.dollars(total) <= settings.budget_usd)

    def reserve(self, worst: Tokens) -> bool:
        """Set aside the worst case of a try; False if it cannot fit even when all that is under way has been settled.

        While other tries are under way it is waited for them: most take less than their worst.
        """
        with self._changed:
            while not self.fits(worst):
                if not self._reserved.all:
                    return False
                self._changed.wait()
            self._reserved += worst
            return True

    def settle(self, worst: Tokens, used: Tokens) -> None:
        """Replace a try's worst case by what it took."""
        with self._changed:
            self._reserved -= worst
            self.spent += used
            self._changed.notify_all()

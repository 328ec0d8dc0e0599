"""Asks questions of a language model: those not stored, each until it is answered, several at once, within the budget.

A try that got no reply is repeated up to max_retries times, later each time or when the server says; a reply that does
not fit the schema is asked for again as often, with another seed. The `openai` package's own retries are switched off
(its waits are kept, see trouble.py): here each try is reserved in the budget, a wait ends when the run does, and
Retry-After is honoured beyond 120 seconds.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

from fast_sae.artifacts import Json
from fast_sae.backends.base import Answer, Unanswered
from fast_sae.backends.openai.budget import BYTES_PER_TOKEN, Budget, Tokens, request_bytes, worst_case
from fast_sae.backends.openai.connection import Connection
from fast_sae.backends.openai.prompts import PROMPT_VERSION, Messages
from fast_sae.backends.openai.replies import ReplyForm
from fast_sae.backends.openai.store import Reply, ReplyStore, key_of
from fast_sae.backends.openai.trouble import Trouble, delay
from fast_sae.backends.openai.wire import Wire
from fast_sae.backends.settings import BackendSettings
from fast_sae.errors import UserError
from fast_sae.progress import progress_bar, say

T = TypeVar("T")

SILENCE = 10
"""Questions in a row for which the server was away or in trouble to the last try, after which the run ends."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """What is asked, and how its answer is read."""

    messages: Messages
    form: ReplyForm[T]
    expected_tokens: int
    """Of the reply, for the estimate."""


class _Stopped(Exception):
    """No error: the run was interrupted, and this thread sends no more."""


class Asker:
    """Asks, stores and counts; one for a run."""

    def __init__(self, settings: BackendSettings, store: ReplyStore) -> None:
        self._settings, self._store = settings, store
        self._budget = Budget(settings)
        self._connection: Connection | None = None
        self._wire = Wire()
        self._stop, self._lock = Event(), Lock()
        self._end: UserError | None = None
        self._sent = self._unheard = self._answered = 0
        self._failed_for_good = self._failed_today = 0

    def ask(self, what: str, questions: Sequence[Question[T]]) -> list[Answer[T]]:
        """Answer questions in their order; the same question twice is asked once.

        Raises:
            UserError: if no question can be answered (key, model, budget), in one line; what came is stored.
        """
        by_key = {key_of(self._request(question, 0)): question for question in questions}
        answers = {key: self._settle(question, self._store.get) for key, question in by_key.items()}
        new = {key: by_key[key] for key, answer in answers.items() if answer is None}
        self._say_estimate(what, len(by_key), list(new.values()))
        if new:
            answers |= self._ask_all(what, new)
        self._answered += sum(
            not isinstance(answer, Unanswered) or answer.status != "failed" for answer in answers.values()
        )
        found = [answers[key_of(self._request(question, 0))] for question in questions]
        _say_unanswered(what, found)
        return [answer for answer in found if answer is not None]

    def require_answers(self) -> None:
        """Refuse to call a run done whose questions the server left open: DVC would never run it again.

        Raises:
            UserError: if the server was away, or in trouble, for a question to the last try, unless
                `interpret.accept_failed`; or if none was answered.
        """
        failed = self._failed_today + self._failed_for_good
        open_questions = failed if not self._answered else 0 if self._settings.accept_failed else self._failed_today
        if open_questions:
            raise UserError(
                f"{self._settings.base_url} left {open_questions} of {self._answered + failed} questions unanswered; "
                "what was answered is stored, and running again asks these alone; or set interpret.accept_failed"
            )

    def close(self) -> None:
        """Close the connection and say what was spent."""
        if self._connection is not None:
            self._connection.close()
            say(f"{self._settings.model}: {self._sent} requests sent, {self._spent()}")

    def _ask_all(self, what: str, new: dict[str, Question[T]]) -> dict[str, Answer[T]]:
        self._connection = self._connection or Connection(self._settings)
        with ThreadPoolExecutor(self._settings.concurrency) as pool, progress_bar(what, "answer", len(new)) as bar:
            futures: dict[str, Future[Answer[T]]] = {}
            try:
                for key, question in new.items():
                    futures[key] = pool.submit(self._answer, question)
                for future in as_completed(futures.values()):
                    future.result()
                    bar.update()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                say("no more is sent; what is under way is waited for and kept")
                raise
        return {key: future.result() for key, future in futures.items()}

    def _answer(self, question: Question[T]) -> Answer[T]:
        answer = self._settle(question, lambda request: self._store.get(request) or self._fetch(request))
        assert answer is not None
        return answer

    def _settle(self, question: Question[T], fetch: Callable[[Json], Reply | Unanswered | None]) -> Answer[T] | None:
        """Read replies until one is an answer that asking again would not mend; None if a reply is missing."""
        answer: Answer[T] | None = None
        for attempt in range(self._settings.max_retries + 1):
            reply = fetch(self._request(question, attempt))
            if not isinstance(reply, Reply):
                return reply
            answer = question.form.read(reply, self._settings.max_output_tokens)
            if not (isinstance(answer, Unanswered) and answer.status == "invalid") or reply.finish_reason == "length":
                break
        return answer

    def _fetch(self, request: Json) -> Reply | Unanswered:
        """Try until the server replies, and store the reply."""
        tries = 0
        while True:
            wire = self._wire
            outcome = self._try(request, wire)
            if isinstance(outcome, Reply):
                return outcome
            if outcome.do == "end":
                raise self._ended(f"{self._settings.base_url}: {outcome.reason}")
            if outcome.do == "ask_otherwise" and self._ask_otherwise(wire, outcome.reason):
                continue
            if outcome.do != "again" or tries == self._settings.max_retries:
                return self._failed(outcome)
            self._stop.wait(delay(outcome, tries))
            tries += 1

    def _try(self, request: Json, wire: Wire) -> Reply | Trouble:
        """Send a request once, if the budget holds its worst case; store what comes."""
        assert self._connection is not None
        worst, used = worst_case(request, self._settings.max_output_tokens), Tokens()
        if not self._budget.reserve(worst):
            raise self._ended(f"{self._budget.limit_in_words()} would be exceeded: {self._budget.in_words(worst)} more")
        try:
            if self._stop.is_set():
                raise self._end or _Stopped
            used = worst  # whatever happens from here on may be billed
            outcome = self._connection.send(request, wire)
            used = _used(outcome, worst)
            self._count(outcome)
            if isinstance(outcome, Reply):
                self._store.put(request, outcome)
            return outcome
        finally:
            self._budget.settle(worst, used)

    def _count(self, outcome: Reply | Trouble) -> None:
        with self._lock:
            self._sent += 1
            if isinstance(outcome, Reply):
                self._unheard = 0

    def _failed(self, trouble: Trouble) -> Unanswered:
        """Leave a question unanswered, unless so many in a row show that the server is down."""
        with self._lock:
            self._unheard += trouble.down
            if trouble.do == "again":
                self._failed_today += 1
            else:
                self._failed_for_good += 1
            silent = self._unheard >= SILENCE
        if silent:
            raise self._ended(f"{self._settings.base_url} answered none of {SILENCE} questions: {trouble.reason}")
        return Unanswered("failed", trouble.reason)

    def _ask_otherwise(self, refused: Wire, reason: str) -> bool:
        """Change how the server is asked, for the rest of the run; another thread may have done so already."""
        with self._lock:
            if self._wire == refused:
                other = refused.other(reason)
                if other is None:
                    return False
                self._wire = other
                say(f"{self._settings.base_url} refuses how it is asked ({reason}); from now on: {other}")
        return True

    def _request(self, question: Question[T], attempt: int) -> Json:
        """Return all that decides a reply, which is what it is stored under."""
        settings = self._settings
        return {
            "model": settings.model,
            "temperature": settings.temperature,
            "max_output_tokens": settings.max_output_tokens,
            "seed": settings.seed,
            "prompt_version": PROMPT_VERSION,
            "messages": list(question.messages),
            "schema": question.form.schema,
            "attempt": attempt,
        }

    def _say_estimate(self, what: str, n_all: int, new: Sequence[Question[T]]) -> None:
        requests = [self._request(question, 0) for question in new]
        sent = sum(request_bytes(request) for request in requests) // BYTES_PER_TOKEN
        likely = Tokens(sent, sum(question.expected_tokens for question in new))
        most = sum((worst_case(request, self._settings.max_output_tokens) for request in requests), Tokens())
        cost = f": about {self._budget.in_words(likely)}, at most {self._budget.in_words(most)} unless tried again"
        short = "" if self._budget.fits(likely) else f"; more than is left of {self._budget.limit_in_words()}"
        say(f"{what}: {n_all} requests, {n_all - len(new)} stored, {len(new)} new{(cost + short) if new else ''}")

    def _spent(self) -> str:
        return f"{self._budget.in_words(self._budget.spent)} spent"

    def _ended(self, why: str) -> UserError:
        """Stop every thread; say why the run ends, what it has spent, and that a second one goes on from there."""
        self._end = self._end or UserError(
            f"{why}; {self._sent} requests sent, {self._spent()}; replies are stored in {self._store.folder}, and "
            "running again goes on from there"
        )
        self._stop.set()
        return self._end


def _used(outcome: Reply | Trouble, worst: Tokens) -> Tokens:
    """Return what a try took: what the server reports, or at worst if it may have been billed and reports nothing."""
    if isinstance(outcome, Trouble):
        return worst if outcome.maybe_billed else Tokens()
    if outcome.prompt_tokens is None or outcome.completion_tokens is None:
        return worst
    return Tokens(outcome.prompt_tokens, outcome.completion_tokens)


def _say_unanswered(what: str, answers: Sequence[Answer[T] | None]) -> None:
    unanswered = [answer for answer in answers if isinstance(answer, Unanswered)]
    if unanswered:
        counts = {s: sum(answer.status == s for answer in unanswered) for s in ("refused", "invalid", "failed")}
        named = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        say(f"{what}: {len(unanswered)} of {len(answers)} unanswered: {named}; the first: {unanswered[0].reason}")

"""The body of a chat completion, of which we read the first choice and the usage and nothing else."""

from collections.abc import Callable

from pydantic import BaseModel, ValidationError

from fast_sae.backends.openai.store import Reply
from fast_sae.backends.openai.trouble import Trouble


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Envelope(BaseModel):
    choices: list[_Choice]
    usage: object = None


def read_envelope(body: bytes, clean: Callable[[str], str]) -> Reply | Trouble:
    """Read a server's reply; without a usage that can be read, what it cost is unknown."""
    try:
        envelope = _Envelope.model_validate_json(body)
    except ValidationError:
        return Trouble("the server's reply is no chat completion", "again", maybe_billed=True)
    if not envelope.choices:
        return Trouble("the server's reply has no choices", "again", maybe_billed=True)
    choice = envelope.choices[0]
    texts = (choice.message.content, choice.message.refusal, choice.finish_reason)
    text, refusal, finish_reason = (None if text is None else clean(text) for text in texts)
    return Reply(text, refusal, finish_reason, *_read_usage(envelope.usage))


def _read_usage(usage: object) -> tuple[int | None, int | None]:
    try:
        found = _Usage.model_validate(usage)
    except ValidationError:
        return None, None
    if min(found.prompt_tokens, found.completion_tokens) < 0:
        return None, None
    return found.prompt_tokens, found.completion_tokens

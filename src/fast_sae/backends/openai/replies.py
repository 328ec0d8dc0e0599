"""What a reply must be, and how it is read: JSON of one schema, with as many answers as were asked for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from fast_sae.artifacts import Json
from fast_sae.backends.base import Explanation, Rating, Unanswered
from fast_sae.backends.openai.store import Reply

T = TypeVar("T")


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("an empty text")
    return " ".join(text.split())


_Text = Annotated[str, AfterValidator(_not_empty)]
"""Checked here and not by the schema sent: OpenAI takes no minLength in a strict one."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Rating(_Strict):
    score: Literal[1, 2, 3, 4, 5]
    reason: _Text


@dataclass(frozen=True)
class ReplyForm(Generic[T]):
    """The schema of a reply, and what is made of one that fits."""

    name: str
    model: type[BaseModel]
    convert: Callable[[BaseModel], T]

    @cached_property
    def schema(self) -> Json:
        """As JSON schema, closed: every field is required and no other is allowed."""
        return self.model.model_json_schema()

    def read(self, reply: Reply, max_output_tokens: int) -> T | Unanswered:
        """Read a reply, or say why it answers nothing."""
        if reply.refusal or reply.finish_reason == "content_filter":
            return Unanswered("refused", _one_line(reply.refusal or "stopped by the server's content filter"))
        if reply.finish_reason == "length":
            reason = f"cut off at interpret.max_output_tokens, which is {max_output_tokens}"
            return Unanswered("invalid", reason)
        try:
            return self.convert(self.model.model_validate_json(_bare(reply.text or "")))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return Unanswered("invalid", _one_line(f"{where}: {first['msg']}" if where else first["msg"]))


@cache
def explanations_form(candidates: int) -> ReplyForm[Sequence[Explanation]]:
    """Make the form of one to `candidates` names; names said twice count once."""
    model = _list_form("Explanations", "explanations", _Text, 1, candidates)

    def convert(found: BaseModel) -> Sequence[Explanation]:
        texts: list[str] = getattr(found, "explanations")  # noqa: B009 -- the model is made at run time
        return tuple(Explanation(text) for text in dict.fromkeys(texts))

    return ReplyForm("explanations", model, convert)


@cache
def answers_form(count: int) -> ReplyForm[Sequence[bool]]:
    """Make the form of `count` answers, 1 for yes and 0 for no."""
    model = _list_form("Answers", "answers", Literal[0, 1], count, count)

    def convert(found: BaseModel) -> Sequence[bool]:
        answers: list[int] = getattr(found, "answers")  # noqa: B009 -- the model is made at run time
        return tuple(answer == 1 for answer in answers)

    return ReplyForm("answers", model, convert)


@cache
def rating_form() -> ReplyForm[Rating]:
    """Make the form of a rating from 1 to 5 with its reason."""

    def convert(found: BaseModel) -> Rating:
        assert isinstance(found, _Rating)
        return Rating(found.score, found.reason)

    return ReplyForm("rating", _Rating, convert)


def _list_form(name: str, field: str, item: object, least: int, most: int) -> type[BaseModel]:
    items = Annotated[list[item], Field(min_length=least, max_length=most)]
    return create_model(name, __base__=_Strict, **{field: (items, ...)})  # pyright: ignore[reportCallIssue, reportArgumentType]


def _bare(text: str) -> str:
    """Take off what a model may put around its JSON: thoughts before it, a fence of Markdown around it."""
    text = text.rpartition("</think>")[2].strip()
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*)\n\s*```", text, re.DOTALL)
    return fenced[1] if fenced else text


def _one_line(text: str, longest: int = 200) -> str:
    return " ".join(text.split())[:longest]

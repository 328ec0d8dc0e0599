"""How a request is put for a server: servers of chat completions differ in two parameters.

`response_format` is asked for as a JSON schema, then as any JSON object, then not at all; the limit of a reply is named
max_tokens, which every server knows, or max_completion_tokens, which newer models of OpenAI insist on. A server that
refuses one with status 400 or 422 is asked in the next way, and so is every later question of the run.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from fast_sae.artifacts import Json

_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured output")


@dataclass(frozen=True)
class Wire:
    """The way in which a server is asked."""

    response_format: Literal["json_schema", "json_object", "text"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def body(self, request: Json) -> dict[str, Any]:
        """Return the arguments of a chat completion; each further try of a question has a seed of its own."""
        seed, attempt = cast(int, request["seed"]), cast(int, request["attempt"])
        body = {
            "model": request["model"],
            "messages": request["messages"],
            "seed": seed + attempt,
            self.limit: request["max_output_tokens"],
        }
        if request["temperature"] is not None:
            body["temperature"] = request["temperature"]
        if self.response_format == "json_schema":
            schema = {"name": "reply", "strict": True, "schema": request["schema"]}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def other(self, refusal: str) -> "Wire | None":
        """Return the next way to ask, after a refusal in the server's words; None if they name nothing we can change.

        >>> Wire().other("'response_format' is not supported").response_format
        'json_object'
        >>> Wire().other("This model's maximum context length is 128 tokens") is None
        True
        """
        if self.limit == "max_tokens" and "max_completion_tokens" in refusal:
            return replace(self, limit="max_completion_tokens")
        if not any(word in refusal for word in _FORMAT_WORDS) or self.response_format == "text":
            return None
        return replace(self, response_format="json_object" if self.response_format == "json_schema" else "text")

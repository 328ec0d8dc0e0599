"""What `interpret` says of the backend, which names and judges for interpretation and for hypotheses."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from fast_sae.params import Settings

_Price = Annotated[float, Field(ge=0)] | None


class BackendSettings(Settings):
    """Who names latents and judges names, and what that may cost."""

    backend: Literal["offline", "openai"]
    """A folder in src/fast_sae/backends: offline reads names off the data; openai asks a language model."""
    task: str
    """What the data are and what a name should speak of, as a language model is told."""
    model: str
    """The language model that is asked, by its server's name for it."""
    base_url: str
    """A server of OpenAI's chat completions: OpenAI, Ollama, vLLM, llama.cpp."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    """Of the language model; null: its server's own, for models that take none."""
    max_output_tokens: Annotated[int, Field(gt=0)]
    """Tokens of one reply, at most."""
    shown_firing: Annotated[int, Field(gt=0)]
    """Windows in a prompt in which the latent fires."""
    shown_silent: Annotated[int, Field(ge=0)]
    """Windows in a prompt in which it does not."""
    windows_per_request: Annotated[int, Field(gt=0)]
    """Windows judged in one request."""
    concurrency: Annotated[int, Field(gt=0)]
    """Requests under way at once."""
    max_retries: Annotated[int, Field(ge=0)]
    """Further tries of a request that the server did not answer, or answered with what does not fit the schema."""
    accept_failed: bool
    """Whether a run is done in which the server left questions unanswered to the last try; false: its results are
    written, and it ends with status 1, so that DVC runs it again, which asks those questions alone."""
    timeout_seconds: Annotated[float, Field(gt=0)]
    """Seconds to wait for a reply."""
    budget_usd: _Price
    """Dollars that a run may spend, at most; replies that are stored already cost nothing. Null: no limit."""
    budget_tokens: Annotated[int, Field(ge=0)] | None
    """Tokens that a run may send and receive, at most. Null: no limit."""
    usd_per_million_input: Annotated[float, Field(ge=0)]
    """Price of a million tokens sent; 0 for a server of one's own."""
    usd_per_million_output: Annotated[float, Field(ge=0)]
    """Price of a million tokens received."""
    seed: Annotated[int, Field(ge=0)]
    """Draws what is shown, judged and marked, and is told to the language model."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address_alone(cls, value: str) -> str:
        if not re.fullmatch(
            r"https?://[^\s/@?#]+(/[^\s@?#]*)?", value
        ):  # the value is not shown: it may hold a password
            raise ValueError("interpret.base_url must be http(s)://host/path, with no user, password or query in it")
        return value

"""The chats that models/tiny-instruct learns: half write a text on request, half name the action of a text."""

import random
from collections.abc import Sequence
from typing import Literal

from cognitive_actions.compose import Example
from transformers import PreTrainedTokenizerBase

Task = Literal["write", "name"]
Message = dict[str, str]

REQUESTS = (
    "Write a short text about {domain} that shows {action}.",
    "Show me {action} in a few sentences on {domain}.",
    "I need a text about {domain}. The cognitive action is {action}.",
    "Please tell of {action} in the domain of {domain}.",
)
STYLE = " Style: {style}."
"""Added to half of the requests."""
NAMED = "This text shows {action}."


def spoken(action: str) -> str:
    """Say an action's label in words.

    >>> spoken("zooming_in")
    'zooming in'
    """
    return action.replace("_", " ")


def write_request(action: str, domain: str, *, wording: int, style: str | None = None) -> Message:
    """Ask for a text."""
    asked = REQUESTS[wording].format(domain=domain, action=spoken(action))
    return {"role": "user", "content": asked + (STYLE.format(style=style) if style else "")}


def chats(examples: Sequence[Example], *, seed: int) -> list[tuple[Task, list[Message]]]:
    """Make one chat of each example: of every other one a text on request, of the rest an action named."""
    rng = random.Random(seed)  # noqa: S311  (no secret)
    return [_write(example, rng) if i % 2 == 0 else _name(example) for i, example in enumerate(examples)]


def tokenise(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> tuple[list[int], int]:
    """Return the token ids of a chat and how many of them stand before the assistant's words."""
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert isinstance(prompt, str)
    assert isinstance(whole, str)
    assert whole.startswith(prompt)
    told = tokenizer(prompt, add_special_tokens=False).input_ids
    said = tokenizer(whole[len(prompt) :], add_special_tokens=False).input_ids
    return told + said, len(told)


def _write(example: Example, rng: random.Random) -> tuple[Task, list[Message]]:
    style = rng.choice([example.language_style, None])
    wording = rng.randrange(len(REQUESTS))
    asked = write_request(example.cognitive_action, example.domain, wording=wording, style=style)
    return "write", [asked, {"role": "assistant", "content": example.text}]


def _name(example: Example) -> tuple[Task, list[Message]]:
    named = NAMED.format(action=spoken(example.cognitive_action))
    return "name", [{"role": "user", "content": example.text}, {"role": "assistant", "content": named}]

"""Texts that show a cognitive action, composed from the banks beside this file by a seeded generator.

A text sets a scene of its domain, tells what set the writer off and how it felt, and does two of the sixteen things
that somebody who performs its action does. Actions, domains and clauses take turns, so that each is met equally often.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml

T = TypeVar("T")
Pair = tuple[str, str]
"""An action and a domain."""


@dataclass(frozen=True)
class Domain:
    """What a text can be about, and the words for it."""

    topics: list[str]
    people: list[str]
    scenes: list[str]


@dataclass(frozen=True)
class Banks:
    """All that texts are made of."""

    actions: dict[str, list[str]]
    """Clauses, said after "I"."""
    domains: dict[str, Domain]
    triggers: dict[str, list[str]]
    emotional_states: dict[str, list[str]]
    sentence_starters: list[str]
    language_styles: dict[str, list[str]]

    @property
    def pairs(self) -> list[Pair]:
        """Every action in every domain."""
        return [(action, domain) for action in self.actions for domain in self.domains]


@dataclass(frozen=True)
class Example:
    """One line of the corpus."""

    text: str
    cognitive_action: str
    domain: str
    trigger: str
    emotional_state: str
    language_style: str
    sentence_starter: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields by name, in the order in which they are written."""
        return asdict(self)


@cache
def load_banks() -> Banks:
    """Read the three files of banks."""
    actions, domains, frames = (_read(name) for name in ("actions", "domains", "frames"))
    return Banks(actions, {name: Domain(**words) for name, words in domains.items()}, **frames)


def compose(n_examples: int, *, seed: int, pairs: Sequence[Pair] | None = None) -> list[Example]:
    """Compose texts, no two equal.

    Args:
        n_examples: How many.
        seed: The same seed gives the same texts.
        pairs: The (action, domain) pairs to take turns with; None: all.
    """
    banks, rng = load_banks(), random.Random(seed)  # noqa: S311  (no secret)
    turns = _turns(rng, pairs or banks.pairs)
    clauses = {action: _turns(rng, known) for action, known in banks.actions.items()}
    found: dict[str, Example] = {}
    while len(found) < n_examples:
        action, domain = next(turns)
        example = _one(rng, banks, action, domain, _two(clauses[action]))
        found.setdefault(example.text, example)
    return list(found.values())


def held_out_pairs(n_pairs: int, *, seed: int) -> list[Pair]:
    """Choose (action, domain) pairs that a model is not to be trained on.

    Args:
        n_pairs: How many; actions and domains take turns, so that no action lacks many of its domains.
        seed: The same seed gives the same pairs.
    """
    banks, rng = load_banks(), random.Random(seed)  # noqa: S311
    actions, domains = _turns(rng, list(banks.actions)), _turns(rng, list(banks.domains))
    found: dict[Pair, None] = {}
    while len(found) < n_pairs:
        found[next(actions), next(domains)] = None
    return list(found)


def _one(rng: random.Random, banks: Banks, action: str, domain: str, clauses: tuple[str, str]) -> Example:
    words = banks.domains[domain]
    topic, person = rng.choice(words.topics), rng.choice(words.people)
    trigger, emotion, style = (
        rng.choice(list(bank)) for bank in (banks.triggers, banks.emotional_states, banks.language_styles)
    )
    starter = rng.choice(banks.sentence_starters)
    one, two = (clause.replace("{it}", rng.choice([topic, "it"])) for clause in clauses)
    parts = {
        "start": starter,
        "scene": rng.choice(words.scenes).replace("{topic}", topic),
        "trigger": rng.choice(banks.triggers[trigger]),
        "feeling": rng.choice(banks.emotional_states[emotion]),
        "one": one,
        "two": two,
    }
    text = rng.choice(banks.language_styles[style]).format_map(parts).replace("{person}", person)
    text = capitalise(text.strip())
    starter = starter or " ".join(text.split()[:2])
    return Example(text, action, domain, trigger, emotion, style, starter)


def _turns(rng: random.Random, items: Sequence[T]) -> Iterator[T]:
    """Yield all items in an order of chance, then again in another, without end."""
    while True:
        yield from rng.sample(items, len(items))


def _two(clauses: Iterator[str]) -> tuple[str, str]:
    """Take two clauses that differ: one could end a round of turns and begin the next."""
    first, second = next(clauses), next(clauses)
    return (first, second) if first != second else (first, next(clauses))


def capitalise(text: str) -> str:
    """Begin every sentence with a capital letter.

    >>> capitalise("it rained. was it late?")
    'It rained. Was it late?'
    """
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def _read(name: str) -> dict:
    return yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))

"""Does a text follow the generator's grammar? One that does is as grammatical as the banks are."""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from cognitive_actions.compose import capitalise, load_banks

TOPIC, PERSON = "@", "#"
"""Marks that stand for the names of a domain."""
_IT = "\N{BULLET}"


def follows_grammar(text: str) -> bool:
    """Say whether the generator could have composed a text: one domain, one topic, one person, and any clauses.

    >>> follows_grammar("On Sunday the will had been in our family since the war. I was open to anything. "
    ...                 "I boiled it down to its general principle. I reduced the will to three bare symbols.")
    True
    >>> follows_grammar("On Sunday my mother had been in our family since the war. I was open to anything. "
    ...                 "I boiled it down to its general principle. I reduced the will to three bare symbols.")
    False
    """
    return text == capitalise(text) and any(_pattern().fullmatch(reading) for reading in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """Put the marks for each topic and person of one domain that a text may be about."""
    for domain in load_banks().domains.values():
        for topic in filter(_either_case(text), domain.topics):
            marked = _mark(text, topic, TOPIC)
            yield marked
            yield from (_mark(marked, person, PERSON) for person in domain.people if _either_case(marked)(person))


@cache
def _pattern() -> re.Pattern[str]:
    banks = load_banks()
    frames = {
        "scene": [scene for domain in banks.domains.values() for scene in domain.scenes],
        "trigger": [clause for clauses in banks.triggers.values() for clause in clauses],
        "feeling": [feeling for feelings in banks.emotional_states.values() for feeling in feelings],
        "one": (done := [clause for clauses in banks.actions.values() for clause in clauses]),
        "two": done,
    }
    starters = [starter for starter in banks.sentence_starters if starter]
    skeletons = [style.removeprefix("{start} ") for styles in banks.language_styles.values() for style in styles]
    opened = [_skeleton(style, frames, opens=False) for style in skeletons]
    bare = [_skeleton(style, frames, opens=True) for style in skeletons]
    return re.compile(f"{_any(starters)} (?:{'|'.join(opened)})|{'|'.join(bare)}")


def _skeleton(style: str, frames: dict[str, list[str]], *, opens: bool) -> str:
    """Turn "{scene}. {trigger}, …" into a pattern; what opens a sentence begins with a capital letter."""
    told = ""
    for i, part in enumerate(re.split(r"\{(\w+)\}", style)):
        if i % 2:
            first = opens if not told else told.endswith((r"\.\ ", r"!\ ", r"\?\ "))
            told += _any(phrase[0].upper() + phrase[1:] if first else phrase for phrase in frames[part])
        else:
            told += re.escape(part)
    return told


def _any(phrases: Iterable[str]) -> str:
    return "(?:" + "|".join(_phrase(phrase) for phrase in phrases) + ")"


def _phrase(phrase: str) -> str:
    """Turn one phrase into a pattern; a name in the phrase itself may also have been marked in the text."""
    marked = phrase.replace("{topic}", TOPIC).replace("{person}", PERSON).replace("{it}", _IT)
    told = "".join(
        f"(?:{re.escape(part)}|{TOPIC}|{PERSON})" if i % 2 else re.escape(part)
        for i, part in enumerate(_names().split(marked))
    )
    return told.replace(re.escape(PERSON), PERSON).replace(_IT, f"(?:{TOPIC}|it)")


@cache
def _names() -> re.Pattern[str]:
    names = {name for domain in load_banks().domains.values() for name in [*domain.topics, *domain.people]}
    return re.compile(rf"\b((?i:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))}))\b")


def _mark(text: str, name: str, mark: str) -> str:
    return text.replace(name, mark).replace(name[0].upper() + name[1:], mark)


def _either_case(text: str):  # noqa: ANN202
    return lambda name: name in text or name[0].upper() + name[1:] in text

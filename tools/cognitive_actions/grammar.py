"""Does a text follow the generator's grammar? One that does is as grammatical as the banks are."""

import re
from collections.abc import Iterable
from functools import cache

from cognitive_actions.compose import load_banks


def follows_grammar(text: str) -> bool:
    """Say whether the generator could have composed a text, whatever action, domain, topic and person it took.

    >>> follows_grammar("On Sunday the will had been in our family since the war. I was open to anything. "
    ...                 "I boiled it down to its general principle. I reduced the will to three bare symbols.")
    True
    >>> follows_grammar("On Sunday the will had been in our family. I was open of anything.")
    False
    """
    return _pattern().fullmatch(_plain(text)) is not None


@cache
def _pattern() -> re.Pattern[str]:
    banks = load_banks()
    frames = {
        "start": _any([_plain(starter) for starter in banks.sentence_starters]),
        "scene": _any(scene for domain in banks.domains.values() for scene in domain.scenes),
        "trigger": _any(clause for clauses in banks.triggers.values() for clause in clauses),
        "feeling": _any(feeling for feelings in banks.emotional_states.values() for feeling in feelings),
        "one": (done := _any(clause for clauses in banks.actions.values() for clause in clauses)),
        "two": done,
    }
    skeletons = (style for styles in banks.language_styles.values() for style in styles)
    return re.compile("|".join(_skeleton(style, frames) for style in skeletons))


def _skeleton(style: str, frames: dict[str, str]) -> str:
    """Turn "{start} {scene}. …" into a pattern of lower-case text."""
    slots = re.split(r"\{(\w+)\}", style.removeprefix("{start} ").lower())
    rest = "".join(frames[part] if i % 2 else re.escape(part) for i, part in enumerate(slots))
    return f"(?:{frames['start']} ?){rest}"


def _any(phrases: Iterable[str]) -> str:
    return "(?:" + "|".join(_phrase(phrase) for phrase in phrases) + ")"


def _phrase(phrase: str) -> str:
    marked = phrase.replace("{topic}", _NAME).replace("{person}", _NAME)
    return re.escape(_plain(marked)).replace(r"\{it\}", f"(?:{_NAME}|it)")


def _plain(text: str) -> str:
    """Lower the case, and put one mark for every topic and person of any domain, the longest first."""
    return _names().sub(_NAME, text.lower())


@cache
def _names() -> re.Pattern[str]:
    names = {name.lower() for domain in load_banks().domains.values() for name in [*domain.topics, *domain.people]}
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})\b")


_NAME = "@"

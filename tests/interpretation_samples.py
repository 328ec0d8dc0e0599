"""Settings, windows and a backend for the tests of interpretation, by a few words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from samples import params

from fast_sae.backends.base import Explanation, Rating, Unanswered
from fast_sae.chat.kinds import Kind
from fast_sae.features.windows import Shown, Window
from fast_sae.interpretation.settings import InterpretSettings
from fast_sae.params import parse_section


def interpret_settings(**overrides: object) -> InterpretSettings:
    """The interpret section of params.yaml, of few resamples."""
    section = params()["interpret"] | {"bootstrap_resamples": 50, "n_latents": 3, "max_window_rate": 1.0} | overrides
    return parse_section({"interpret": section}, "interpret", InterpretSettings)


def window(text: str, example: int = 0, *, label: str | None = None, kinds: Sequence[int] | None = None) -> Window:
    """A window of validation, a token per word with its leading space, all of it content."""
    words = text.split(" ")
    tokens = (*words[:1], *(f" {word}" for word in words[1:]))
    return Window("validation", example, 0, tokens, tuple(kinds or [int(Kind.CONTENT)] * len(tokens)), label)


def firing(of: Window, on: int, strength: float = 1.0, *, decile: int = 10, weight: float = 1.0) -> Shown:
    """The latent fires on one token of the window."""
    activations = tuple(strength * (i == on) for i in range(len(of.tokens)))
    return Shown(of, activations, "firing", decile, weight)


def silent(of: Window, weight: float = 1.0) -> Shown:
    """The latent does not fire in the window."""
    return Shown(of, (), "silent", 0, weight)


FAILED = Unanswered("failed", "the server gave none")


@dataclass
class ScriptedBackend:
    """Names latents "0", "1", ... in the order asked, and says yes to all but what it is told not to answer."""

    unnamed: dict[int, Unanswered] = field(default_factory=dict)
    """By place in the order asked."""
    undetected: dict[str, Unanswered] = field(default_factory=dict)
    """By name."""
    unfuzzed: dict[str, Unanswered] = field(default_factory=dict)
    unrated: dict[str, Unanswered] = field(default_factory=dict)
    yes: dict[str, bool | Callable[[Window], bool]] = field(default_factory=dict)
    """What is said of the windows of a name, of each or of all; yes if it is not told."""
    names: int = 1
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """What was asked: the kind of question, the name, and of how many windows."""

    def explain(self, latents, candidates, evidence=frozenset()):
        assert all(
            one.window.split == "validation" for showing in latents for one in (*showing.firing, *showing.silent)
        )
        names = [
            [Explanation(f"{i}{'abcdef'[n]}") for n in range(min(self.names, candidates))] for i in range(len(latents))
        ]
        return [self.unnamed.get(i, names[i]) for i in range(len(latents))]

    def detect(self, questions):
        return [self._answer("detect", name, windows, self.undetected) for name, windows in questions]

    def fuzz(self, questions):
        return [self._answer("fuzz", name, windows, self.unfuzzed) for name, windows in questions]

    def rate(self, questions):
        self.asked += [("rate", name.text, len(shown)) for name, shown in questions]
        return [self.unrated.get(name.text, Rating(4, "clear")) for name, _ in questions]

    def _answer(self, kind, name, windows, unanswered):
        self.asked.append((kind, name.text, len(windows)))
        says = self.yes.get(name.text, True)
        return unanswered.get(
            name.text, [says(getattr(one, "window", one)) if callable(says) else says for one in windows]
        )

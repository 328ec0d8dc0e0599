"""Settings, examples and a backend for the tests of hypotheses, by a few words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from features_samples import N_EXAMPLES, WORDS, example_tokens
from samples import params

from fast_sae.backends.base import Explanation, Unanswered
from fast_sae.chat.examples import Example, Message
from fast_sae.chat.kinds import Kind
from fast_sae.hypotheses.settings import HypothesesSettings
from fast_sae.params import parse_section


def hypotheses_settings(**overrides: object) -> HypothesesSettings:
    """The hypotheses section of params.yaml, of few resamples."""
    section = params()["hypotheses"] | {"bootstrap_resamples": 50, "permutations": 5, "separation_top": 10} | overrides
    return parse_section({"hypotheses": section}, "hypotheses", HypothesesSettings)


def example(text: str, label: str | None = None, name: str = "x") -> Example:
    """A bare text."""
    return Example(name, (Message(role="user", content=text),), True, label)


def sample_examples() -> list[Example]:
    """The examples of either split of `features_samples.make_store`, as data/prepared holds them."""
    found = []
    for i in range(N_EXAMPLES):
        tokens, kinds, label = example_tokens(i)
        content = "".join(token for token, kind in zip(tokens, kinds, strict=True) if kind == Kind.CONTENT)
        found.append(example(content, label, f"e{i}"))
    return found


@dataclass
class WordBackend:
    """Names a latent by the word that most tells the windows in which it fires, and says yes where the word stands."""

    unnamed: set[int] = field(default_factory=set)
    """By place in the order asked."""
    unanswered: set[int] = field(default_factory=set)
    """Questions about test texts left unanswered, by place among them."""
    seen: list[str | None] = field(default_factory=list)
    """The label of every window shown or judged."""

    def explain(self, latents, candidates, evidence=frozenset()):
        assert evidence == {"ngram"}
        return [
            Unanswered("refused", "no") if i in self.unnamed else self._names(showing, candidates)
            for i, showing in enumerate(latents)
        ]

    def detect(self, questions):
        found, n_test = [], -1
        for name, windows in questions:
            self.seen += [window.label for window in windows]
            n_test += windows[0].split == "test"
            said = [name.text in window.content.split() for window in windows]
            lost = windows[0].split == "test" and n_test in self.unanswered
            found.append(Unanswered("failed", "none came") if lost else said)
        return found

    def fuzz(self, questions):
        raise AssertionError("hypotheses mark nothing")

    def rate(self, questions):
        raise AssertionError("hypotheses are not rated")

    def _names(self, showing, candidates) -> Sequence[Explanation]:
        sides = showing.firing, showing.silent
        self.seen += [one.window.label for side in sides for one in side]
        shares = [
            {w: sum(w in one.window.content.split() for one in side) / max(1, len(side)) for w in WORDS}
            for side in sides
        ]
        told = sorted(WORDS, key=lambda word: shares[1][word] - shares[0][word])
        return [Explanation(word) for word in told[:candidates]]

"""Settings and windows to try a backend with."""

from fast_sae.backends.base import Explanation, Marked, Showing
from fast_sae.backends.settings import BackendSettings
from fast_sae.chat.kinds import Kind
from fast_sae.features.windows import Shown, Window

PEARLS = Explanation("speaks of a pearl")


def settings_for(base_url: str, **changed: object) -> BackendSettings:
    """Return settings that ask a server, small and free."""
    values = {
        "backend": "openai",
        "task": "Short texts about things.",
        "model": "some-model",
        "base_url": base_url,
        "temperature": 0.0,
        "max_output_tokens": 50,
        "shown_firing": 4,
        "shown_silent": 2,
        "windows_per_request": 3,
        "concurrency": 4,
        "max_retries": 2,
        "accept_failed": True,
        "timeout_seconds": 5.0,
        "budget_usd": None,
        "budget_tokens": None,
        "usd_per_million_input": 2.0,
        "usd_per_million_output": 8.0,
        "seed": 42,
    }
    return BackendSettings.model_validate(values | changed)


def window(text: str, index: int = 0) -> Window:
    """Return a text as a window of one token per word."""
    words = text.split(" ")
    tokens = tuple(f" {word}" if i else word for i, word in enumerate(words))
    return Window("test", index, 0, tokens, (int(Kind.CONTENT),) * len(tokens), None)


def shown(text: str, word: str, strength: float = 1.0) -> Shown:
    """Return a window in which a latent fires on a word, or is silent if the word is not there."""
    seen = window(text)
    found = tuple(strength * (token.strip() == word) for token in seen.tokens)
    return Shown(seen, found if any(found) else (), "firing" if any(found) else "silent", 5 if any(found) else 0, 1.0)


def marked(text: str, word: str) -> Marked:
    """Return a window with a word marked."""
    seen = window(text)
    return Marked(seen, tuple(token.strip() == word for token in seen.tokens))


def showing(topic: str = "sea") -> Showing:
    """Return what is shown of a latent that fires on "pearl"."""
    firing = [shown(f"a pearl of the {topic} {i}", "pearl", 4.0 - i) for i in range(4)]
    return Showing(firing, [shown(f"a stone of the {topic} {i}", "pearl") for i in range(2)])


def questions(count: int, windows: int = 3):
    """Return detection questions, each its own, every even window with a pearl."""
    return [
        (PEARLS, [window(f"{'pearl' if (q + w) % 2 == 0 else 'stone'} {q} {w}") for w in range(windows)])
        for q in range(count)
    ]


def right_answers(count: int, windows: int = 3) -> list[tuple[bool, ...]]:
    """Return the answers to `questions`."""
    return [tuple((q + w) % 2 == 0 for w in range(windows)) for q in range(count)]

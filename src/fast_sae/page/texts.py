"""The texts that a page shows, each once, and each distinct token once: most texts share most of theirs."""

from collections.abc import Mapping


class TextTable:
    """Texts by number, in the order in which they are added."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tokens: dict[str, int] = {}
        self._numbers: dict[tuple[object, ...], int] = {}

    def add(self, row: Mapping, label: int | str | None) -> int:
        """Add a row of the table `texts` of data/features, and return its number.

        Args:
            row: Its `example`, `start`, `tokens` and `kinds` count.
            label: What the page is to call its label.
        """
        tokens = tuple(self._tokens.setdefault(token, len(self._tokens)) for token in row["tokens"])
        text = row["example"], row["start"], label, tokens, "".join(map(str, row["kinds"]))
        return self._numbers.setdefault(text, len(self._numbers))

    def block(self) -> dict[str, list]:
        """Return `tokens`, and `texts`: [[example, first position, label, [token number, ...], kind digits], ...]."""
        return {"tokens": [*self._tokens], "texts": [[*text] for text in self._numbers]}

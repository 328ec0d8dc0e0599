"""Write data/raw/cognitive_actions.jsonl: `python tools/make_corpus.py` (seconds; the same bytes every time)."""

import json
from pathlib import Path

from cognitive_actions.compose import compose

CORPUS = Path(__file__).parents[1] / "data/raw/cognitive_actions.jsonl"
N_EXAMPLES = 7000
SEED = 42


def main() -> None:
    """Compose the corpus and write one example per line, numbered."""
    lines = (
        json.dumps({"id": f"c{i:04}", **example.as_dict()}, ensure_ascii=False)
        for i, example in enumerate(compose(N_EXAMPLES, seed=SEED))
    )
    CORPUS.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()

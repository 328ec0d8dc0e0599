"""data/prepared: the checked examples of each split, one JSON object a line, and what was left out."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from fast_sae.artifacts import read_json, write_json
from fast_sae.chat.examples import Example, Message
from fast_sae.chat.splits import Split
from fast_sae.errors import ArtifactError

STAGE = "prepare_data"


def write_prepared(
    splits: dict[Split, list[Example]], bad_lines: Sequence[str], duplicates: int, folder: Path
) -> dict[str, int]:
    """Write `<split>.jsonl`, `bad_lines.txt` and `counts.json`, and return the counts."""
    everything = [example for examples in splits.values() for example in examples]
    for split, examples in splits.items():
        _write_lines(split_path(folder, split), (_to_json(example) for example in examples))
    _write_lines(folder / "bad_lines.txt", bad_lines)
    counts = {
        "examples": len(everything),
        "texts": sum(example.is_text for example in everything),
        "labels": len({example.label for example in everything} - {None}),
        "bad_lines": len(bad_lines),
        "duplicates": duplicates,
        **{f"{split}_examples": len(examples) for split, examples in splits.items()},
    }
    write_json(folder / "counts.json", counts)
    return counts


def split_path(folder: Path, split: Split) -> Path:
    """Name the file of one split."""
    return folder / f"{split}.jsonl"


def read_prepared(folder: Path, split: Split) -> list[Example]:
    """Read the examples of one split as `prepare_data` wrote them."""
    counts = read_json(folder / "counts.json", STAGE)
    path = split_path(folder, split)
    try:
        examples = [_from_json(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtifactError(f"{path} is missing or damaged; run: dvc repro {STAGE}") from None
    if len(examples) != counts.get(f"{split}_examples"):
        raise ArtifactError(f"{path} holds {len(examples)} examples, not as counted; run: dvc repro {STAGE}")
    return examples


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _to_json(example: Example) -> str:
    content = {"id": example.id, "is_text": example.is_text, "label": example.label, "messages": example.messages}
    content["source"] = example.source
    return json.dumps(content, ensure_ascii=False)


def _from_json(line: str) -> Example:
    content = json.loads(line)
    messages = tuple(cast(list[Message], content["messages"]))
    return Example(content["id"], messages, content["is_text"], content["label"], content["source"])

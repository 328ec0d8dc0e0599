"""What a language model was paid for outlives DVC's removal of outs, in a repository with the stage's own outs."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STAGE = """
from pathlib import Path
folder = Path("data/interpretations")
replies = folder / "replies.jsonl"
before = replies.read_text() if replies.exists() else ""
assert [path.name for path in folder.glob("*") if path.suffix in (".csv", ".json", ".parquet")] == []
for name in NAMES:
    (folder / name).write_text("made")
replies.write_text(before + Path("asked").read_text())
"""


def dvc(folder: Path, *words: str) -> None:
    programs = Path(sys.executable).parent
    done = subprocess.run(
        [programs / "dvc", *words],
        cwd=folder,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_dvc_removes_the_tables_and_keeps_the_replies(tmp_path):
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["interpret_sae"]["outs"]
    names = [Path(out).name for out in outs if isinstance(out, str)]
    assert len(names) == 3
    replies = tmp_path / "data/interpretations/replies.jsonl"
    replies.parent.mkdir(parents=True)
    (tmp_path / "stage.py").write_text(f"NAMES = {names}\n{STAGE}")
    (tmp_path / "asked").write_text("first\n")
    stage = {"cmd": f"{sys.executable} stage.py", "deps": ["asked"], "outs": outs}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"interpret_sae": stage}}))
    dvc(tmp_path, "init", "--no-scm", "-q")
    dvc(tmp_path, "repro", "-q")
    (tmp_path / "asked").write_text("second\n")
    dvc(tmp_path, "repro", "-q")
    assert replies.read_text() == "first\nsecond\n"
    replies.unlink()
    dvc(tmp_path, "checkout", "-q")
    assert replies.read_text() == "first\nsecond\n"

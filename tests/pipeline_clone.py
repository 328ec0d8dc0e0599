"""A clone of this working tree with a small corpus, in which the tests run DVC as a user would."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from samples import CORPUS, ROOT

ACTIONS = ("noticing", "reframing", "remembering", "updating_beliefs")
SMALL = {
    "data": {"path": "data/raw/small.jsonl", "max_examples": None, "test_fraction": 0.1},
    "extract": {"layers": [2]},
    "sae": {"layer": 2, "M": 32, "K": 4, "matryoshka": [8, 32]},
    "train": {"epochs": 2, "batch_size": 128, "log_every": 5},
    "features": {"sampled_windows": 20, "silent_windows": 20},
    "interpret": {"n_latents": 4, "max_window_rate": 1.0},
    "steer": {
        "candidate_labels": 1,
        "label_latents": 1,
        "choosing_prompts": ["Write a short text about family."],
        "prompts": ["Write a short text about work."],
        "alphas": [50.0],
        "random_controls": 1,
        "latent_controls": 1,
        "max_new_tokens": 8,
        "chats": 4,
        "test_chats": 1,
    },
}
LEFT_OUT = (".dvcstore/", "models/tiny-instruct/recipe/", "models/tiny-instruct-packed/recipe/")
"""Not copied; the recipes are DVC repositories of their own."""


@dataclass(frozen=True)
class Clone:
    """A repository in which `dvc repro` takes seconds."""

    root: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, with this interpreter's programs first on PATH."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.root, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def metrics(self, name: str) -> dict[str, float]:
        """Read the metrics of one stage."""
        (content,) = json.loads((self.root / f"metrics/{name}.json").read_text()).values()
        return content

    def set_params(self, **sections: dict) -> None:
        """Change params.yaml."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            params[section] |= values
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def end_with_evaluation(self) -> None:
        """Leave the stages behind evaluation out of dvc.yaml, for tests of something else."""
        path = self.root / "dvc.yaml"
        content = yaml.safe_load(path.read_text())
        for name in ("collect_features", "interpret_sae", "generate_hypotheses", "steer_features", "build_dashboard"):
            del content["stages"][name]
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        self.commit("a shorter pipeline")

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


def small_corpus(examples: int) -> str:
    """Return the first texts of some actions, as many of each."""
    lines = CORPUS.read_text().splitlines(keepends=True)
    texts = {action: [line for line in lines if json.loads(line)["cognitive_action"] == action] for action in ACTIONS}
    return "".join(line for of_action in texts.values() for line in of_action[: examples // len(ACTIONS)])


def make_clone(destination: Path, examples: int = 80) -> Clone:
    """Copy what git would commit of this working tree into a repository of its own, with a small corpus."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file() and not name.startswith(LEFT_OUT):
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination / name)
    clone = Clone(destination)
    (destination / "data/raw/small.jsonl").write_text(small_corpus(examples))
    (destination / "dvc.lock").unlink(missing_ok=True)
    clone.set_params(**SMALL)
    clone.run("git", "init", "-q")
    clone.run("git", "config", "user.email", "test@example.invalid")
    clone.run("git", "config", "user.name", "test")
    clone.commit("a small pipeline")
    return clone

"""A repository of git and DVC that holds several runs in small, made without running a stage."""

import shutil
import warnings
from pathlib import Path

import pandas as pd
import torch
import yaml
from dashboard_samples import HYPOTHESIS, NAMED, Run
from dvc.repo import Repo

from fast_sae.artifacts import read_manifest, write_manifest
from fast_sae.comparison.experiments import git
from fast_sae.sae.checkpoint import load_sae, sae_sha256, save_sae

DIRECTIONS = [[1.0, 0, 0], [0, 1, 0], [0.6, 0, 0.8], [0, 0, 1]]
"""Of the latents of the first run; 3 is dead in every run."""
SWAPPED = [[0.0, 1, 0], [1, 0, 0], [0, -1, 0], [0, 0, 1]]
"""0 and 1 in each other's place, and 2 in another direction: what a latent does goes by its number, in every run."""
_MOVED = {
    "sae": "models/sae",
    "features": "data/features",
    "interpretations": "data/interpretations",
    "hypotheses": "data/hypotheses",
}


class Repository:
    """The present folder as a repository to which runs are committed."""

    def __init__(self) -> None:
        git("init", "-q", "-b", "main")
        Repo.init(".").close()
        Path("params.yaml").write_text("{}\n")
        self.commit("start")

    def commit(self, tag: str) -> None:
        """Commit all that git does not ignore, under a tag."""
        git("add", "-A")
        git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", tag, "--allow-empty")
        git("tag", tag)

    def add(
        self,
        tag: str,
        *,
        directions: list[list[float]],
        model: str = "one",
        examples: str = "these",
        names: tuple[str, str] = ("the word pearl", "counts aloud"),
        without: tuple[str, ...] = (),
        **changed: object,
    ) -> None:
        """Commit a run.

        Args:
            tag: What it is called.
            directions: Its decoder.
            model: Digest of the language model.
            examples: Digest of the examples of test.
            names: Of latents 0 and 1: one interpreted, one a hypothesis.
            without: Outputs, such as `features`, that it lacks.
            **changed: Of params.yaml.
        """
        run = Run(
            Path("run"),
            interpretations=[NAMED | {"interpretation": names[0]}],
            hypotheses=[HYPOTHESIS | {"interpretation": names[1]}],
            changed={key.replace("__", "."): value for key, value in changed.items()},
        )
        _write_sae(run, directions, model)
        _join_features(run.folder, examples)
        for name, place in {**_MOVED, "metrics": "metrics"}.items():
            shutil.rmtree(place, ignore_errors=True)
            Path(f"{place}.dvc").unlink(missing_ok=True)
            if name not in without:
                shutil.move(run.folder / name, place)
        shutil.rmtree(run.folder)
        Path("params.yaml").write_text(yaml.safe_dump(run.sections))
        with Repo(".") as repo, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what DVC itself uses
            repo.add([place for name, place in _MOVED.items() if name not in without])
        self.commit(tag)


def _write_sae(run: Run, directions: list[list[float]], model: str) -> None:
    sae = load_sae(run.folder / "sae")
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor(directions))
    save_sae(sae, run.folder / "sae")
    write_manifest(run.folder / "sae", "train_sae", run.record, {"activations": {"model_sha256": model}})


def _join_features(folder: Path, examples: str) -> None:
    made = read_manifest(folder / "features", "collect_features")
    test = {**pd.Series(made.facts["test"]).to_dict(), "prepared_sha256": examples}
    facts = {**made.facts, "test": test, "sae_sha256": sae_sha256(folder / "sae")}
    write_manifest(folder / "features", "collect_features", made.settings, facts)

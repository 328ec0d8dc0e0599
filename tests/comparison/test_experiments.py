"""Runs side by side, with a `dvc` that only says what it was asked, in a real repository."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from samples import ROOT

from fast_sae.comparison.experiments import Workers, git, known_experiments, require_clean
from fast_sae.comparison.plan import Run
from fast_sae.errors import UserError

DVC = """#!{python}
import os, subprocess, sys, time
name = sys.argv[sys.argv.index("--name") + 1]
with open("../began", "a") as file:
    file.write(name + " " + os.environ["OMP_NUM_THREADS"] + "\\n")
with open("../asked", "a") as file:
    file.write(" ".join(sys.argv[-2:]) + "\\n")
if "train.seed=9" in sys.argv:
    print("ParamsError: params.yaml: no\\nERROR: failed to reproduce 'x'")
    sys.exit(255)
if "train.seed=8" in sys.argv:
    time.sleep(600)
head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
subprocess.run(["git", "update-ref", f"refs/exps/{{head[:2]}}/{{head[2:]}}/{{name}}", head], check=True)
"""


@pytest.fixture
def commit(tmp_path, monkeypatch) -> str:
    """A repository of one commit, in which we are, and the stand-in for DVC."""
    program = tmp_path / "bin/dvc"
    program.parent.mkdir()
    program.write_text(DVC.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    git("init", "-q")
    (tmp_path / "here/params.yaml").write_text("a: 1\n")
    (tmp_path / "here/.gitignore").write_text("logs/\n")
    git("add", "-A")
    git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "one")
    return git("rev-parse", "HEAD")


def run(seed: int, layer: int = 1) -> Run:
    return Run("p", "m", "f", "topk", seed, {"extract.layers": [layer], "train.seed": seed})


def workers(commit, tmp_path, jobs: int = 2) -> Workers:
    return Workers(commit, jobs, tmp_path / "here/logs")


def began(tmp_path) -> list[str]:
    return [line.split()[0] for line in (tmp_path / "began").read_text().splitlines()]


def test_only_the_stages_whose_metrics_are_compared_are_run(tmp_path, commit):
    workers(commit, tmp_path).run([run(1), run(2)])
    assert (tmp_path / "asked").read_text().splitlines() == ["evaluate_sae evaluate_in_model"] * 2


def test_one_run_of_each_extraction_goes_first_and_none_runs_twice(tmp_path, commit):
    runs = [run(1), run(2), run(1, layer=2), run(2, layer=2), run(3)]
    workers(commit, tmp_path).run(runs)
    assert set(began(tmp_path)[:2]) == {runs[0].name, runs[2].name}
    assert sorted(began(tmp_path)) == sorted(r.name for r in runs)
    assert known_experiments(commit) == {r.name: commit for r in runs}
    workers(commit, tmp_path).run([*runs, run(4)])
    assert began(tmp_path)[5:] == [run(4).name]


def test_the_cores_are_shared_out(tmp_path, commit, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    workers(commit, tmp_path, jobs=4).run([run(1)])
    assert (tmp_path / "began").read_text().split()[1] == "2"


def test_a_run_that_fails_is_named_with_its_reason_and_no_other_is_begun(tmp_path, commit):
    with pytest.raises(UserError) as caught:
        workers(commit, tmp_path, jobs=1).run([run(1), run(9), run(2)])
    assert str(caught.value) == (
        f"{run(9).name} has failed: ParamsError: params.yaml: no; "
        f"all that it said: {tmp_path}/here/logs/{run(9).name}.log"
    )
    assert run(2).name not in began(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_at_work_ends_with_us(tmp_path, commit, number):
    program = (
        "from pathlib import Path; from fast_sae.errors import run; from fast_sae.comparison.plan import Run\n"
        "from fast_sae.comparison.experiments import Workers\n"
        f"runs = [Run('p', 'm', 'f', 'topk', 8, {{'train.seed': 8}})]\n"
        f"run(lambda: Workers({commit!r}, 1, Path('logs')).run(runs))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stderr=subprocess.PIPE
    ) as running:
        until = time.monotonic() + 60
        while not (tmp_path / "began").exists() and time.monotonic() < until:
            time.sleep(0.05)
        (child,) = psutil.Process(running.pid).children()
        running.send_signal(number)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert not child.is_running()


@pytest.mark.parametrize("name", ["params.yaml", "new.py"])
def test_a_tree_that_no_commit_tells_is_refused(tmp_path, commit, name):
    require_clean([])
    (tmp_path / "here" / name).write_text("a: 2\n")
    with pytest.raises(UserError, match=f"^{name} changed since the commit that the runs are made from; commit first$"):
        require_clean([])


def test_the_report_itself_may_have_changed(tmp_path, commit):
    from pathlib import Path

    (tmp_path / "here/reports").mkdir()
    (tmp_path / "here/reports/made.md").write_text("x")
    require_clean([Path("reports/made.md")])


def test_a_shallow_clone_is_refused(tmp_path, commit, monkeypatch):
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}/here", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UserError, match="shallow clone, where DVC loses experiments; run: git fetch --unshallow"):
        require_clean([])


def test_what_git_says_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="git rev-parse fails: fatal: not a git repository"):
        git("rev-parse", "HEAD")

"""The command as a user types it, in a clone."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline_clone import ROOT, Clone, make_clone

from fast_sae.pipeline.terminal import agreed

COMMAND = (sys.executable, "src/run_pipeline.py")


def run(*flags: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    return subprocess.run(
        [*COMMAND, *flags],
        cwd=cwd,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_terminal_and_without_yes_nothing_happens():
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "UserError: no terminal to ask on, and nothing was run; say --yes to go on, or --plan to be told only\n"
    )


def test_an_unknown_preset_is_told_in_one_line():
    done = run("--plan", "--preset", "llama")
    assert done.returncode == 1
    assert done.stderr.startswith("ParamsError: no preset 'llama'")
    assert done.stderr.count("\n") == 1


def test_where_packages_are_missing_it_says_which(tmp_path):
    """Isolated from the environment's packages, it still tells."""
    done = subprocess.run(
        [sys.executable, "-S", "src/run_pipeline.py", "--plan"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "torch is missing" in done.stdout
    assert "Traceback" not in done.stderr
    assert "the rest cannot be checked: No module named" in done.stderr


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [("y\n", True), ("Yes\n", True), ("", False), ("\n", False), ("n\n", False), ("yeah\n", False)],
    ids=repr,
)
def test_only_y_and_yes_go_on(monkeypatch, answer, goes_on):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert agreed("Go on?") == goes_on


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A clone in which nothing has run, as far as evaluation."""
    clone = make_clone(tmp_path_factory.mktemp("clone"), examples=60)
    clone.end_with_evaluation()
    return clone


@pytest.mark.slow
def test_from_prerequisites_to_metrics(clone):
    plan = run("--plan", cwd=clone.root)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "FAILS" not in plan.stdout
    assert "60 examples" in plan.stdout
    assert "at most 2 epochs" in plan.stdout
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert not (clone.root / "data/prepared").exists()

    first = run("--yes", cwd=clone.root)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-2000:]
    assert "Running stage 'evaluate_sae'" in first.stdout
    assert "step/s" in first.stderr
    metrics = first.stdout[first.stdout.index("\nMetrics\n") :]
    assert f"{clone.metrics('evaluate_sae')['normalized_mse']:g}" in metrics
    assert "metrics/train_sae.json" in metrics

    clone.commit("results")
    nothing = run("--yes", cwd=clone.root)
    assert "Nothing to run." in nothing.stdout
    assert "Running stage" not in nothing.stdout

    before = clone.metrics("evaluate_sae")["l0"]
    clone.run("dvc", "exp", "run", "-S", "sae.K=6")
    (row,) = [line.split() for line in run("--yes", cwd=clone.root).stdout.splitlines() if " evaluate.l0 " in line]
    assert row == ["evaluate.l0", "6", f"{before:g}", "metrics/evaluate_sae.json"]

    clone.set_params(data={"path": "data/raw/nowhere.jsonl"}, model={"dtype": "float8"})
    wrong = run("--yes", cwd=clone.root)
    clone.run("git", "checkout", "-q", ".")
    assert wrong.returncode == 1
    assert "FAILS  params.yaml  params.yaml: model.dtype must be" in wrong.stdout
    assert "Running stage" not in wrong.stdout


@pytest.mark.slow
def test_a_failing_stage_passes_its_status_on_and_ctrl_c_leaves_nothing_behind(tmp_path):
    clone = make_clone(tmp_path, examples=60)
    (clone.root / "src/prepare_data.py").write_text("import time\nprint('waits', flush=True)\ntime.sleep(600)\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        [*COMMAND, "--yes"],
        cwd=clone.root,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert any("waits" in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.stderr.read().splitlines()[-1] == "interrupted"
    assert running.returncode == 130
    assert (clone.root / ".dvc/tmp/rwlock").read_text() in ("", "{}")
    (clone.root / "src/prepare_data.py").write_text("import sys\nsys.exit(3)\n")
    failed = run("--yes", cwd=clone.root)
    assert failed.returncode not in (0, 1)
    assert "failed to run: python src/prepare_data.py" in failed.stderr
    assert "\nMetrics\n" not in failed.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "ran"), [("\n", False), ("y\n", True)], ids=repr)
def test_on_a_terminal_it_asks_and_only_yes_goes_on(clone, answer, ran):
    clone.set_params(train={"seed": 7})
    here, there = pty.openpty()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(COMMAND, cwd=clone.root, env=os.environ | {"PATH": path}, stdin=there, stdout=there) as asked:
        os.close(there)
        said = read_until(here, "[y/N]")
        os.write(here, answer.encode())
        said += read_until(here, "\0")
    os.close(here)
    clone.run("git", "checkout", "-q", ".")
    assert "Go on? [y/N]" in said
    assert ("Running stage 'check_params'" in said) == ran
    assert asked.returncode == (0 if ran else 1)


def read_until(terminal: int, mark: str, seconds: float = 120) -> str:
    """Read from a terminal until a mark or the end."""
    said, until = "", time.monotonic() + seconds
    while mark not in said and time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        said += part.decode()
    return said

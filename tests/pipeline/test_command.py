"""What the command writes, when; what it warns of; and that nothing it has started outlives it."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from samples import ROOT

from fast_sae.errors import ModelError, ParamsError, UserError
from fast_sae.params import load_params
from fast_sae.pipeline import command, forecast, prerequisites, summary
from fast_sae.pipeline.command import Options, run_pipeline
from fast_sae.pipeline.findings import Finding
from fast_sae.pipeline.prerequisites import Survey, require_all
from fast_sae.pipeline.preset import read_preset
from fast_sae.pipeline.stages import DueStage

DVC = """#!{python}
import signal, subprocess, sys
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; print('waits', flush=True); time.sleep(600)"])
Path("pids").write_text(str(child.pid))
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as DVC does while a stage runs
lock = Path("rwlock")
lock.touch()
child.wait()
lock.unlink()
sys.exit(255)
"""
REPRO = """
import sys
from fast_sae.errors import run
from fast_sae import processes
from fast_sae.pipeline import repro
repro._GRACE = 1.0
processes.STEPS = tuple((number, 3.0) for number, _ in processes.STEPS)
run(lambda: sys.exit(repro.run_repro()))
"""


@pytest.fixture
def repro(tmp_path) -> tuple[list[str], dict]:
    """The command line of `run_repro`, and how it starts: with a `dvc` of one long stage."""
    program = tmp_path / "bin/dvc"
    program.parent.mkdir()
    program.write_text(DVC.format(python=sys.executable))
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src")}
    return [sys.executable, "-c", REPRO], {"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True}


def wait_for(found, seconds: float = 30):
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return value


def stage(here: Path) -> psutil.Process:
    """The stage, once it runs."""
    wait_for((here / "rwlock").exists)
    return psutil.Process(int((here / "pids").read_text()))


def require_ended(running: subprocess.Popen, sleeping: psutil.Process, here: Path) -> None:
    _, said = running.communicate(timeout=30)
    assert (running.returncode, said.splitlines()[-1]) == (130, "interrupted")
    assert not sleeping.is_running()
    assert not (here / "rwlock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("terminal", [False, True], ids=["no terminal", "terminal"])
def test_a_signal_to_the_command_alone_ends_the_stage_and_dvc(tmp_path, repro, terminal, number):
    here, there = pty.openpty()
    line, how = repro
    stdin = there if terminal else subprocess.DEVNULL
    with subprocess.Popen(line, stdin=stdin, stdout=subprocess.PIPE, **how) as running:
        sleeping = stage(tmp_path)
        running.send_signal(number)
        require_ended(running, sleeping, tmp_path)
    os.close(here)
    os.close(there)


def test_ctrl_c_on_a_terminal_ends_them_too(tmp_path, repro):
    line, how = repro
    here, there = pty.openpty()
    owning = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", owning, *line], stdin=there, stdout=subprocess.PIPE, start_new_session=True, **how
    ) as running:
        sleeping = stage(tmp_path)
        os.write(here, b"\x03")
        require_ended(running, sleeping, tmp_path)
    os.close(here)
    os.close(there)


def test_in_the_background_where_sigint_is_ignored_sigterm_still_ends_them(tmp_path, repro):
    """A script's `run_pipeline.py --yes &` and all that it starts are deaf to SIGINT; the lock is then left behind."""
    line, how = repro
    deaf = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", deaf, *line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **how
    ) as running:
        sleeping = stage(tmp_path)
        running.terminate()
        running.communicate(timeout=30)
    assert running.returncode == 130
    assert not sleeping.is_running()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The repository's params.yaml and model, a preset `mine`, and a command whose DVC does nothing."""
    model = Path(load_params(ROOT / "params.yaml")["model"]["files"])
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / model, tmp_path / model)
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/mine.yaml").write_text("train:\n  seed: 7\n")
    (tmp_path / "presets/other.yaml").write_text("train:\n  seed: 8\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "survey", surveyed)
    monkeypatch.setattr(command, "run_repro", lambda: 0)
    monkeypatch.setattr(command, "agreed", lambda question: True)
    monkeypatch.setattr(command, "summarise_metrics", list)
    monkeypatch.setattr(command, "forecast", lambda seen: iter(["it runs"]))
    return tmp_path


def surveyed(preset, tell, ok: bool = True) -> Survey:
    """Look at the stages as the survey does, and at nothing else."""
    with preset.in_place() if preset else nullcontext():
        assert load_params()["train"]["seed"] == (preset.params if preset else load_params())["train"]["seed"]
    seen = Survey(due=[DueStage("train_sae", "changed", certain=True)], tell=tell)
    seen.look("stages", lambda: "1 out of date")
    if not ok:
        seen._add(Finding("disk", False, "full"))
    return seen


def files(here: Path) -> list[str]:
    return sorted(path.name for path in here.iterdir() if "params" in path.name)


def run(preset: str | None = "mine", *, plan: bool = False, yes: bool = False) -> int:
    return run_pipeline(Options(preset, plan, yes), [Finding("python", True, "3.11")])


def test_a_preset_is_written_once_the_user_goes_on_and_the_way_back_is_told(here, capsys):
    with (here / "params.yaml").open("a") as file:
        file.write("# an edit of the user's\n")
    before = (here / "params.yaml").read_bytes()
    assert run() == 0
    assert load_params()["train"]["seed"] == 7
    assert (here / "params.yaml.before").read_bytes() == before
    said = capsys.readouterr().out
    assert "mv params.yaml.before params.yaml" in said
    assert [said.index(mark) for mark in ("train.seed: 42 → 7", "Prerequisites", "it runs", "to go back")] == sorted(
        said.index(mark) for mark in ("train.seed: 42 → 7", "Prerequisites", "it runs", "to go back")
    )
    assert run("other", yes=True) == 0
    assert (here / "params.yaml.before").read_bytes() == before
    assert b"seed: 7" in (here / "params.yaml.before2").read_bytes()
    assert run("other", yes=True) == 0  # nothing changes
    assert files(here) == ["params.yaml", "params.yaml.before", "params.yaml.before2"]


@pytest.mark.parametrize("case", ["plan", "no", "failed prerequisite", "exception", "interrupt"])
def test_otherwise_params_stay_to_the_byte(here, monkeypatch, case):
    (here / "params.yaml").write_bytes((here / "params.yaml").read_bytes() + b"# mine\r\n")
    (here / "params.yaml").chmod(0o640)
    before, stat = (here / "params.yaml").read_bytes(), (here / "params.yaml").stat()

    def broken(preset, tell):
        with preset.in_place():
            if case == "exception":
                raise RuntimeError("broken")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    if case == "failed prerequisite":
        monkeypatch.setattr(command, "survey", lambda preset, tell: surveyed(preset, tell, ok=False))
    elif case in ("exception", "interrupt"):
        monkeypatch.setattr(command, "survey", broken)
    monkeypatch.setattr(command, "agreed", lambda question: False)
    if case == "plan":
        assert run(plan=True) == 0
    else:
        with pytest.raises((UserError, RuntimeError, KeyboardInterrupt)):
            run()
    assert (here / "params.yaml").read_bytes() == before
    assert (here / "params.yaml").stat()[:1] == stat[:1]
    assert (here / "params.yaml").stat().st_mtime_ns == stat.st_mtime_ns
    assert files(here) == ["params.yaml"]


def test_an_edit_made_in_the_meantime_is_not_overwritten(here):
    preset = read_preset("mine")
    with preset.in_place():
        (here / "params.yaml").write_text("edited")
    assert (here / "params.yaml").read_text() == "edited"
    assert (here / "params.yaml.before").read_bytes() == preset.before
    for refused in (preset.keep, preset.in_place().__enter__):
        with pytest.raises(ParamsError, match="has changed in the meantime"):
            refused()
    (here / "params.yaml").write_bytes(preset.before)
    (here / "params.yaml.aside").write_text("of a process that was killed")
    with pytest.raises(ParamsError, match="mv params.yaml.aside params.yaml"), preset.in_place():
        pass
    assert (here / "params.yaml.aside").read_text() == "of a process that was killed"


def test_findings_are_told_as_they_come(here, monkeypatch):
    shutil.copy(ROOT / "dvc.yaml", here)
    said: list[str] = []
    monkeypatch.setattr(prerequisites, "due_stages", lambda settled: said.append("DVC is asked") or [])
    seen = prerequisites.survey(tell=lambda finding: said.append(finding.name))
    assert said[:3] == ["params.yaml", "DVC is asked", "stages"]
    assert [name for name in said if name != "DVC is asked"] == [finding.name for finding in seen.findings]


def test_the_model_is_looked_for_once(here, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(prerequisites, "try_model", lambda model: asked.append("here") or ModelError("nowhere"))
    monkeypatch.setattr(prerequisites, "due_stages", lambda settled: [])
    prerequisites.survey()
    assert asked == ["here"]
    prerequisites.survey(read_preset("mine"))
    assert asked == ["here"]


@pytest.mark.parametrize(("certain", "word"), [(True, "FAILS"), (False, "warns")])
def test_what_only_a_stage_that_may_run_lacks_is_a_warning(here, monkeypatch, certain, word):
    model = load_params()["model"]["files"]
    (here / model / "model.safetensors").unlink()
    due = [DueStage("check_params", "changed", certain=True), DueStage("extract_activations", "", certain=certain)]
    monkeypatch.setattr(prerequisites, "due_stages", lambda settled: due)
    found = {finding.name: finding for finding in prerequisites.survey().findings}["model"]
    assert found.line().startswith(f"{word}  model")
    assert "has no weights" in found.found
    if certain:
        with pytest.raises(UserError, match=r"prerequisites fail \(model\)"):
            require_all([found])
    else:
        require_all([found])


def test_memory_and_disk_count_what_may_run_as_a_warning(monkeypatch):
    seen = Survey(due=[DueStage("extract_activations", "", certain=False)])
    monkeypatch.setattr(prerequisites, "check_disk", lambda *sizes: refuse())
    monkeypatch.setattr(prerequisites, "check_memory", lambda model, sae: refuse() if model else "enough")

    def refuse() -> str:
        raise UserError("too small")

    seen.amount = SimpleNamespace(plan=SimpleNamespace(bytes=1))
    seen.weigh("disk", lambda is_due: prerequisites._disk(seen, is_due))
    assert [(finding.ok, finding.fatal) for finding in seen.findings] == [(False, False)]
    assert "it matters only if a stage runs that may not" in seen.findings[0].found


def test_an_estimate_that_fails_is_not_known(monkeypatch):
    def full(seen):
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(forecast, "_COSTS", {"train_sae": full})
    lines = list(forecast.forecast(Survey(due=[DueStage("train_sae", "changed", certain=True)])))
    assert lines[-1] == "train_sae  not known (CUDA out of memory.)"


def test_metrics_that_dvc_cannot_compare_end_no_good_run(monkeypatch):
    failed = SimpleNamespace(returncode=255, stdout="", stderr="WARNING: x\nERROR: failed to show metrics diff\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    (line,) = summary.summarise_metrics()
    assert line.startswith("not known: dvc metrics diff fails (ERROR: failed to show metrics diff)")

"""dvc.yaml against the code: what DVC does not see, it must be told, and told no more."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
ARCHITECTURE = "src/fast_sae/sae/architectures/${sae.architecture}.py"
SOURCES = {
    stage: f"src/fast_sae/activations/${{{section}.source}}"
    for stage, section in (("train_sae", "train"), ("evaluate_sae", "evaluate"), ("collect_features", "evaluate"))
}
BACKEND = "src/fast_sae/backends/${interpret.backend}"
BACKENDS = sorted(path.parent.name for path in (ROOT / "src/fast_sae/backends").glob("*/backend.py"))
CHOSEN_BY_NAME = {ARCHITECTURE, BACKEND, *SOURCES.values()}
BUILD_AN_SAE = [stage for stage, entry in DVC.items() if ARCHITECTURE in entry["deps"]]
TRACK_AN_SAE = [stage for stage, entry in DVC.items() if any(key.startswith("sae.") for key in entry.get("params", []))]
ASK_A_BACKEND = [stage for stage, entry in DVC.items() if BACKEND in entry["deps"]]


def load(path: str):
    """Import a script by path."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_script", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def paths(stage: str, *keys: str) -> set[str]:
    """The paths a stage lists under the given keys."""
    entries = [entry for key in keys for entry in DVC[stage].get(key, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def script_of(stage: str) -> Path:
    return Path(DVC[stage]["cmd"].split()[1])


def needed_outside(folder: str) -> set[str]:
    """The modules outside a folder chosen by name that those in it import."""
    files = (ROOT / folder).glob("[a-z]*.py")
    needed = {str(path) for file in files for path in load("tools/closure.py").imported_files(file)}
    return {path for path in needed if not path.startswith(folder)}


@pytest.fixture(params=DVC)
def stage(request) -> str:
    return request.param


def test_a_stage_is_the_script_of_its_name_without_flags(stage):
    assert DVC[stage]["cmd"] == f"python src/{stage}.py"


def test_deps_are_exactly_the_modules_a_stage_imports(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    imported = {str(path) for path in load("tools/closure.py").imported_files(script_of(stage))}
    listed = {path for path in paths(stage, "deps") if path.startswith("src/fast_sae/")} - CHOSEN_BY_NAME
    assert imported - listed == set(), f"dvc.yaml: stage {stage} imports these but does not list them"
    assert listed - imported == set(), f"dvc.yaml: stage {stage} lists these but does not import them"
    assert str(script_of(stage)) in paths(stage, "deps")


def test_the_stages_that_build_an_sae_list_its_architecture_by_name(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    builds = "src/fast_sae/sae/checkpoint.py" in map(str, load("tools/closure.py").imported_files(script_of(stage)))
    assert (ARCHITECTURE in paths(stage, "deps")) == builds


def test_the_stages_that_open_activations_list_the_folder_of_their_source_by_name(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    opens = "src/fast_sae/activations/opening.py" in map(str, load("tools/closure.py").imported_files(script_of(stage)))
    assert {path for path in paths(stage, "deps") if ".source}" in path} == ({SOURCES[stage]} if opens else set())


def test_every_source_that_params_yaml_may_name_has_a_folder_and_live_lets_itself_be_opened():
    from fast_sae.evaluation.settings import EvaluateSettings
    from fast_sae.training.settings import TrainSettings

    for settings in (TrainSettings, EvaluateSettings):
        assert get_args(settings.model_fields["source"].annotation) == ("stored", "live")
    for name in ("stored", "live"):
        assert (ROOT / "src/fast_sae/activations" / name / "source.py").exists()
    assert "def open_live(" in (ROOT / "src/fast_sae/activations/live/source.py").read_text()


@pytest.mark.parametrize("stage", SOURCES)
@pytest.mark.parametrize("source", ["stored", "live"])
def test_a_source_needs_no_module_that_its_stages_do_not_list(source, stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert needed_outside(f"src/fast_sae/activations/{source}/") <= paths(stage, "deps")


@pytest.mark.parametrize("stage", ["train_sae", "evaluate_sae"])
def test_the_code_of_the_model_is_no_input_of_a_stage_that_reads_stored_activations(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    imported = load("tools/closure.py").imported_files(script_of(stage))
    assert not [path for path in imported if "live" in path.parts]


def test_the_stages_that_open_a_backend_list_its_folder_by_name(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    opens = "src/fast_sae/backends/opening.py" in map(str, load("tools/closure.py").imported_files(script_of(stage)))
    assert (BACKEND in paths(stage, "deps")) == opens


@pytest.mark.parametrize("stage", ASK_A_BACKEND)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_needs_no_module_that_its_stages_do_not_list(backend, stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert needed_outside(f"src/fast_sae/backends/{backend}/") <= paths(stage, "deps")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_is_one_that_params_yaml_may_name_and_can_be_opened(backend):
    from fast_sae.backends.settings import BackendSettings

    assert backend in get_args(BackendSettings.model_fields["backend"].annotation)
    assert "def open_backend(" in (ROOT / "src/fast_sae/backends" / backend / "backend.py").read_text()


def test_an_architecture_needs_no_module_that_its_stages_do_not_list(monkeypatch):
    monkeypatch.chdir(ROOT)
    for file in (ROOT / "src/fast_sae/sae/architectures").glob("[a-z]*.py"):
        needed = {str(path) for path in load("tools/closure.py").imported_files(file)}
        for stage in BUILD_AN_SAE:
            assert needed <= paths(stage, "deps"), file.name


def test_the_paths_in_a_mains_signature_are_those_of_dvc_yaml(stage):
    tree = ast.parse((ROOT / script_of(stage)).read_text())
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    defaults = {default.args[0].value for default in main.args.defaults}
    listed = {re.sub(r"\$\{.*", "", path) for path in paths(stage, "deps", "outs", "metrics", "plots")}
    for path in defaults:
        assert any(known == path or known.startswith(path + "/") for known in listed), f"{stage}: {path}"
    outputs = {path for path in paths(stage, "outs", "metrics", "plots") if not path.startswith("src/")}
    for path in outputs:
        assert any(path == default or path.startswith(default + "/") for default in defaults), f"{stage}: {path}"


def test_a_stage_lists_the_sections_it_reads(stage):
    source = (ROOT / script_of(stage)).read_text()
    read = set(re.findall(r'parse_section\(\w+(?:\(\))?, "(\w+)"', source)) - {"runtime"}
    listed = {entry.split(".")[0] for entry in DVC[stage]["params"]}
    if stage == "check_params":
        assert listed == set(PARAMS) - {"runtime"}
    else:
        assert listed == read


@pytest.mark.parametrize("stage", TRACK_AN_SAE)
def test_every_key_of_the_sae_section_is_tracked(stage):
    architectures = {path.stem for path in (ROOT / "src/fast_sae/sae/architectures").glob("[a-z]*.py")}
    wanted = {f"sae.{key}" for key in PARAMS["sae"] if key not in architectures} | {"sae.${sae.architecture}"}
    assert {entry for entry in DVC[stage]["params"] if entry.startswith("sae")} == wanted


@pytest.mark.parametrize("stage", TRACK_AN_SAE)
def test_what_decides_activations_is_tracked_and_not_the_other_layers_nor_what_is_kept(stage):
    tracked = {entry for entry in DVC[stage]["params"] if entry.startswith("extract.")}
    assert tracked == {f"extract.{key}" for key in PARAMS["extract"] if key not in ("layers", "store")}


def test_every_architecture_has_its_sub_section():
    architectures = {path.stem for path in (ROOT / "src/fast_sae/sae/architectures").glob("[a-z]*.py")}
    assert architectures <= set(PARAMS["sae"])


def test_no_stage_tracks_runtime(stage):
    assert not any(entry.split(".")[0] == "runtime" for entry in DVC[stage]["params"])


def test_results_in_git_are_metrics_or_plots_never_uncached_outs(stage):
    """One `outs: cache: false` would switch DVC's run-cache off for the whole stage."""
    outs = [out for out in DVC[stage].get("outs", []) if isinstance(out, dict)]
    assert not any("cache" in options for out in outs for options in out.values())
    for entry in [*DVC[stage].get("metrics", []), *DVC[stage].get("plots", [])]:
        assert next(iter(entry.values()))["cache"] is False


def test_every_cached_output_is_ignored_by_git_beforehand(stage):
    """After a failed repro DVC has not written the .gitignore files yet, and `git add -A` would commit the data."""
    for out in paths(stage, "outs"):
        assert f"/{Path(out).name}" in (ROOT / out).parent.joinpath(".gitignore").read_text().split()


def test_no_stage_is_frozen_or_always_changed(stage):
    assert not any(word in str(DVC[stage]) for word in ("frozen", "always_changed", "'push'"))


def test_dvc_keeps_what_a_language_model_was_paid_for_and_nothing_else(stage):
    kept = {path for out in DVC[stage].get("outs", []) if isinstance(out, dict) for path in out}
    assert kept == {path for path in paths(stage, "outs") if Path(path).name == "replies.jsonl"}
    assert all(out[path] == {"persist": True} for out in DVC[stage].get("outs", []) for path in kept if path in out)


def test_every_remote_verifies_what_it_pulls():
    config = (ROOT / ".dvc/config").read_text()
    remotes = config.split("['remote ")[1:]
    assert remotes
    assert all("verify = true" in remote for remote in remotes)


def test_params_yaml_is_written_as_dvc_writes_it_back(tmp_path):
    """`dvc exp run -S` rewrites params.yaml; a file in another style would show a diff that nobody made."""
    from dvc.utils.serialize import modify_yaml

    copy = tmp_path / "params.yaml"
    copy.write_bytes((ROOT / "params.yaml").read_bytes())
    with modify_yaml(str(copy)) as content:
        content["sae"]["K"] = content["sae"]["K"]
    assert copy.read_text() == (ROOT / "params.yaml").read_text()


def test_params_are_told_apart_from_interpolation():
    assert "${" not in (ROOT / "params.yaml").read_text()


def test_imports_go_one_way():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        env={"PYTHONPATH": "src", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_nothing_in_the_pipeline_imports_its_public_face(monkeypatch):
    """The notebook's defaults would become part of what stages hang on."""
    monkeypatch.chdir(ROOT)
    imports = load("tools/closure.py").imported_modules
    users = [path for path in (ROOT / "src").rglob("*.py") if "fast_sae.api" in [*imports(path)]]
    assert users == []


@pytest.mark.parametrize("forbidden", ["import pickle", "allow_pickle=True", "trust_remote_code=True", "torch.load("])
def test_nothing_is_loaded_by_pickle_or_runs_remote_code(forbidden):
    assert not [path for path in (ROOT / "src").rglob("*.py") if forbidden in path.read_text()]


def test_nothing_installed_needs_torchvision():
    from importlib.metadata import distributions

    wanted = [d.name for d in distributions() for r in d.requires or [] if re.match(r"torchvision\b(?!.*extra ==)", r)]
    assert wanted == []


def test_init_files_are_empty():
    assert all(path.read_bytes() == b"" for path in (ROOT / "src").rglob("__init__.py"))

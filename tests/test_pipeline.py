"""The whole pipeline in a clone, with the commands a user types."""

import json
import shutil

import numpy as np
import pytest
from pipeline_clone import Clone, make_clone

pytestmark = pytest.mark.slow

RUNNING = "Running stage"
READ_THE_SAE = (
    "evaluate_sae",
    "evaluate_in_model",
    "collect_features",
    "interpret_sae",
    "generate_hypotheses",
    "steer_features",
    "build_dashboard",
)
SKIPPED = "didn't change, skipping"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A clone in which the pipeline has run once and its results are committed."""
    clone = make_clone(tmp_path_factory.mktemp("clone"))
    clone.run("dvc", "repro")
    clone.commit("results")
    return clone


def test_every_stage_ran_and_left_what_it_promises(clone):
    assert clone.metrics("prepare_data")["examples"] == 80
    assert 0 < clone.metrics("evaluate_sae")["normalized_mse"] < 1
    assert clone.metrics("evaluate_sae")["l0"] <= 4
    assert clone.metrics("evaluate_in_model")["ce_clean"] < clone.metrics("evaluate_in_model")["ce_zero"]
    assert 0 <= clone.metrics("train_sae")["dead_fraction"] <= 1
    assert (clone.root / "models/sae/sae.safetensors").exists()
    assert clone.metrics("interpret_sae")["n_latents"] == 4
    assert clone.metrics("steer_features")["prompts"] == 1
    assert 100_000 < (clone.root / "reports/dashboard/index.html").stat().st_size < 3_000_000
    header = (clone.root / "data/interpretations/interpretations.csv").read_text().splitlines()[0].replace('"', "")
    assert header.startswith("neuron_idx,interpretation,top_example_1,")
    for curve in ("loss", "dead_fraction", "l0", "validation_loss"):
        header, *lines = (clone.root / f"metrics/plots/train_sae/{curve}.csv").read_text().splitlines()
        assert header == f"step,{curve}"
        assert lines


def test_metrics_are_flat_numbers_that_dvc_shows(clone):
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    values = {k: v for file in shown.values() for section in file["data"].values() for k, v in section.items()}
    assert all(isinstance(value, int | float) for value in values.values())
    evaluated = shown["metrics/evaluate_sae.json"]["data"]["evaluate"]
    assert len([name for name in evaluated if not name.endswith(("_low", "_high"))]) <= 15
    assert evaluated["normalized_mse_low"] < evaluated["normalized_mse"] < evaluated["normalized_mse_high"]
    assert len(shown["metrics/evaluate_in_model.json"]["data"]["in_model"]) <= 15


def test_nothing_is_left_for_git_to_see(clone):
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert not (clone.root / ".scratch/extract_activations").exists() or not any(
        path.is_dir() for path in (clone.root / ".scratch/extract_activations").iterdir()
    )


def test_a_second_repro_does_nothing(clone):
    assert RUNNING not in clone.run("dvc", "repro").stdout


def test_a_forced_repro_gives_the_same_bytes(clone):
    before = (clone.root / "dvc.lock").read_bytes()
    clone.run("dvc", "repro", "--force")
    assert (clone.root / "dvc.lock").read_bytes() == before
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_another_k_trains_and_evaluates_and_nothing_else(clone):
    done = clone.run("dvc", "exp", "run", "-n", "k8", "-S", "sae.K=8")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith(RUNNING)]
    assert ran[:2] == ["check_params", "train_sae"]
    assert sorted(ran[2:]) == sorted(READ_THE_SAE)
    assert clone.metrics("evaluate_sae")["l0"] > 4
    diff = json.loads(clone.run("dvc", "metrics", "diff", "--json").stdout)
    assert diff["metrics/evaluate_sae.json"]["evaluate.normalized_mse"]["diff"] < 0
    plots = json.loads(clone.run("dvc", "plots", "diff", "--json").stdout)
    drawn = {name for name, plot in plots["data"].items() if {r for p in plot for r in p["revisions"]} >= {"HEAD"}}
    for curve in ("loss", "dead_fraction", "l0"):
        assert any(f"train_sae/{curve}.csv" in name for name in drawn), drawn
    assert any("density.csv" in name for name in drawn)
    compared = clone.run("python", "src/compare_runs.py", "HEAD", "k8", "--out", "reports/compare/k8").stdout
    assert "Of 32 latents of A and" in compared
    assert {path.name for path in (clone.root / "reports/compare/k8").iterdir()} == {
        *("index.html", "latents.csv", "metrics.csv")
    }
    refused = clone.run("python", "src/compare_runs.py", "k9", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")
    back = clone.run("dvc", "repro").stdout
    assert RUNNING not in back


def test_an_evaluation_setting_leaves_training_alone(clone):
    done = clone.run("dvc", "exp", "run", "-S", "evaluate.label_pooling=mean")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith(RUNNING)]
    assert ran == ["check_params", "evaluate_sae", "build_dashboard"]
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")


def test_the_language_model_can_be_left_out_and_nothing_else_runs_again(clone):
    done = clone.run("dvc", "exp", "run", "-S", "in_model.enabled=false")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith(RUNNING)]
    assert ran == ["check_params", "evaluate_in_model", "build_dashboard"]
    assert clone.metrics("evaluate_in_model") == {"predictions": 0, "examples": 0}
    clone.run("dvc", "plots", "show")
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")


def test_another_choice_of_latents_names_them_and_nothing_else(clone):
    done = clone.run("dvc", "exp", "run", "-S", "interpret.latents=random")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith(RUNNING)]
    assert ran == ["check_params", "interpret_sae", "build_dashboard"]
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")


def test_the_runtime_section_reruns_nothing(clone):
    done = clone.run("dvc", "exp", "run", "-S", "runtime.extract_batch_tokens=64")
    assert RUNNING not in done.stdout
    clone.run("git", "checkout", "-q", ".")


def test_activations_do_not_hang_on_the_batch_size(clone, tmp_path):
    """Batches never cross a shard, and float64 is rounded when it is stored."""
    shard = "data/activations/layer_2/train/shard-00000.npz"
    before = dict(np.load(clone.root / shard))
    clone.set_params(runtime={"extract_batch_tokens": 100})
    clone.run("python", "src/extract_activations.py")
    after = dict(np.load(clone.root / shard))
    clone.run("git", "checkout", "-q", ".")
    shutil.rmtree(clone.root / "data/activations")
    clone.run("dvc", "checkout", "-q")
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_results_of_other_params_are_refused_not_mixed(clone):
    """dvc.md, finding 3: a K = 16 model under K = 8 params must not be evaluated."""
    clone.set_params(sae={"K": 8})
    done = clone.run("python", "src/evaluate_sae.py", check=False)
    clone.run("git", "checkout", "-q", ".")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ArtifactError: models/sae was made with sae.K=4, but params.yaml says 8; run: dvc repro train_sae"
    )


def test_labels_of_another_split_are_refused_not_joined_by_chance(clone):
    clone.set_params(data={"seed": 7})
    clone.run("python", "src/prepare_data.py")
    done, in_model = (
        clone.run("python", f"src/{stage}.py", check=False) for stage in ("evaluate_sae", "evaluate_in_model")
    )
    clone.run("git", "checkout", "-q", ".")
    shutil.rmtree(clone.root / "data/prepared")
    clone.run("dvc", "checkout", "-q")
    assert done.returncode == 1
    assert "activations are not those of data/prepared; run: dvc repro extract_activations" in done.stderr
    assert in_model.returncode == 1
    assert "models/sae was trained on another split than that of data/prepared" in in_model.stderr


def test_another_layer_is_extracted_and_nothing_is_trained_again(clone):
    done = clone.run("dvc", "exp", "run", "-S", "extract.layers=[1,2]")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith(RUNNING)]
    assert ran == ["check_params", "extract_activations"]
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")


def test_activations_of_other_settings_are_refused(clone):
    clone.set_params(extract={"max_length": 9})
    done = clone.run("python", "src/train_sae.py", check=False)
    clone.run("git", "checkout", "-q", ".")
    assert done.returncode == 1
    assert "was made with extract.max_length=512, but params.yaml says 9; run: dvc repro extract" in done.stderr


def test_a_killed_extraction_goes_on_where_it_was(clone, tmp_path_factory):
    """The second shard cannot be written at first; what was done before is taken up again, and the bytes agree."""
    other = make_clone(tmp_path_factory.mktemp("resumed"))
    other.set_params(extract={"shard_rows": 500})
    other.run("dvc", "repro", "prepare_data")
    killer = (
        "import sys, runpy; sys.path.insert(0, 'src')\n"
        "import fast_sae.activations.shard_writer as e; write = e.write_npz\n"
        "def dies(path, arrays):\n"
        "    if path.name == 'shard-00003.npz': sys.exit(9)\n"
        "    write(path, arrays)\n"
        "e.write_npz = dies\n"
        "runpy.run_path('src/extract_activations.py', run_name='__main__')"
    )
    assert other.run("python", "-c", killer, check=False).returncode == 9
    (scratch,) = (p for p in (other.root / ".scratch/extract_activations").iterdir() if p.is_dir())
    done_before = {path: path.stat().st_mtime_ns for path in scratch.rglob("*.npz")}
    assert len(done_before) == 3
    assert not (other.root / "data/activations").exists()
    other.run("python", "src/extract_activations.py")
    train = other.root / "data/activations/layer_2/train"
    assert {(train / path.name).stat().st_mtime_ns for path in done_before} == set(done_before.values())
    assert not scratch.exists()
    undisturbed = {path.name: path.read_bytes() for path in train.iterdir()}
    shutil.rmtree(other.root / "data/activations")
    other.run("python", "src/extract_activations.py")
    assert {path.name: path.read_bytes() for path in train.iterdir()} == undisturbed


def test_pull_restores_activations_and_sae_in_a_fresh_clone(clone, tmp_path):
    clone.run("dvc", "push", "-q")
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "store")
    fresh = Clone(tmp_path / "fresh")
    clone.run("git", "clone", "-q", str(clone.root), str(fresh.root))
    fresh.run("dvc", "pull", "-q")
    assert fresh.run("dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert RUNNING not in fresh.run("dvc", "repro").stdout


def test_a_damaged_object_in_the_remote_is_not_accepted(clone, tmp_path):
    """dvc.md, finding 2: without `verify`, a flipped bit is pulled without a word."""
    clone.run("dvc", "push", "-q")
    fresh = Clone(tmp_path / "fresh")
    shutil.copytree(clone.root, fresh.root, ignore=shutil.ignore_patterns(".dvcstore", "cache", "tmp", "sae"))
    shutil.copytree(clone.root / ".dvcstore", fresh.root / ".dvcstore")
    largest = max((fresh.root / ".dvcstore").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(content)
    shutil.rmtree(fresh.root / "data/activations")
    assert fresh.run("dvc", "pull", check=False).returncode != 0


def test_a_shallow_clone_refuses_to_lose_a_queued_experiment(clone, tmp_path):
    """dvc.md, finding 4: DVC says Success, and the experiment is gone."""
    shallow = Clone(tmp_path / "shallow")
    clone.run("git", "clone", "-q", "--depth", "1", f"file://{clone.root}", str(shallow.root))
    done = shallow.run("dvc", "exp", "run", "--temp", "-S", "sae.K=6", check=False)
    assert done.returncode != 0
    assert "is a shallow clone, where DVC loses queued experiments; run: git fetch --unshallow" in (
        done.stdout + done.stderr
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sae.K=eight", "sae.K must be a whole number, found 'eight'"),
        ("sae.K=33", "sae.K must not exceed sae.M=32, found 33"),
        ("sae.M=0", "sae.M must be greater than 0, found 0"),
        ("+sae.KK=3", "sae.KK is not a parameter; did you mean 'K'?"),
        ("sae.matryoshka=[16,8,32]", "sae.matryoshka must rise and end with sae.M=32, found [16, 8, 32]"),
        ("train.lr=-0.1", "train.lr must be greater than 0, found -0.1"),
        ("extract.layers=[2,9]", "layer 9 does not exist; models/tiny-instruct has hidden_states 0 to 6"),
    ],
    ids=lambda value: value,
)
def test_a_wrong_parameter_ends_repro_with_one_line(clone, override, told):
    done = clone.run("dvc", "exp", "run", "-S", override, check=False)
    clone.run("git", "checkout", "-q", ".")
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if line.startswith("ParamsError")]
    assert len(ours) == 1
    assert ours[0].endswith(told)
    assert "Traceback" not in done.stdout + done.stderr
    assert RUNNING + " 'prepare_data'" not in done.stdout


def test_a_bad_line_ends_repro_with_its_place(clone):
    data = clone.root / "data/raw/small.jsonl"
    data.write_text(data.read_text() + '{"text": "cut off\n{"text": ""}\n')
    done = clone.run("dvc", "repro", "prepare_data", check=False)
    assert done.returncode != 0
    assert "data/raw/small.jsonl: 2 of 82 lines cannot be used: line 81: not JSON" in done.stderr
    clone.set_params(data={"on_bad_line": "skip"})
    clone.run("dvc", "repro", "prepare_data")
    assert clone.metrics("prepare_data")["bad_lines"] == 2
    assert len((clone.root / "data/prepared/bad_lines.txt").read_text().splitlines()) == 2
    clone.run("git", "checkout", "-q", ".")

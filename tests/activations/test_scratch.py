import os

import pytest

from fast_sae.activations.scratch import open_scratch
from fast_sae.errors import ArtifactError

SETTINGS = {"model": {"name": "tiny"}, "layers": [1, 2]}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    home = tmp_path / "repository"
    home.mkdir()
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def files(home):
    (home / "data.jsonl").write_text("one\ntwo\n")
    (home / "code.py").write_text("x = 1\n")
    return [home / "data.jsonl", home / "code.py"]


def place(files, settings=SETTINGS, stage="extract_activations"):
    with open_scratch(stage, settings, files) as scratch:
        assert scratch.path.is_dir()
        return scratch.path.resolve()


def test_a_killed_run_finds_its_work_again(files):
    def killed():
        with open_scratch("extract_activations", SETTINGS, files) as scratch:
            (scratch.path / "shard-00000.npz").write_text("done")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert (place(files) / "shard-00000.npz").read_text() == "done"


def test_scratch_lies_in_the_repository_under_the_name_of_the_stage(files, home):
    assert place(files).parent == home / ".scratch" / "extract_activations"


def test_the_order_of_settings_and_of_files_does_not_matter(files):
    assert place(files) == place(files[::-1], dict(reversed(SETTINGS.items())))


def test_the_same_content_written_anew_is_the_same_run(files):
    before = place(files)
    files[0].write_text(files[0].read_text())
    os.utime(files[0], (1, 1))
    assert place(files) == before


@pytest.mark.parametrize("which", [0, 1], ids=["data", "code"])
def test_other_data_or_code_start_afresh(files, which):
    before = place(files)
    files[which].write_text(files[which].read_text().upper())
    assert place(files) != before


@pytest.mark.parametrize("settings", [SETTINGS | {"layers": [1]}, SETTINGS | {"model": {"name": "x"}}, {}], ids=str)
def test_other_settings_start_afresh(files, settings):
    assert place(files, settings) != place(files)


def test_a_further_file_starts_afresh(files, home):
    (home / "more.py").touch()
    assert place([*files, home / "more.py"]) != place(files)


def test_large_weights_are_told_by_their_time_and_size_without_being_read(files, home):
    weights = home / "model.safetensors"
    weights.touch()
    os.truncate(weights, 20_000_000)
    os.utime(weights, (1, 1))
    first = place([*files, weights])
    assert place([*files, weights]) == first
    os.utime(weights, (2, 2))
    second = place([*files, weights])
    os.truncate(weights, 20_000_001)
    os.utime(weights, (2, 2))
    assert len({first, second, place([*files, weights])}) == 3


def test_the_same_run_twice_at_once_is_refused_in_one_line(files):
    with open_scratch("extract_activations", SETTINGS, files):
        with pytest.raises(ArtifactError) as caught, open_scratch("extract_activations", SETTINGS, files):
            pass
        place(files, SETTINGS | {"layers": [1]})  # another run may go on beside it
    assert "extract_activations" in str(caught.value)
    assert "\n" not in str(caught.value)
    place(files)  # and the same one when the first has ended


def test_a_temporary_run_works_in_the_main_repository(files, tmp_path, monkeypatch):
    main = place(files)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    elsewhere = tmp_path / "dvc-tmp-experiment"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert place(files) == main
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("existed", [True, False], ids=["in place of an old one", "where none was"])
def test_the_finished_folder_is_handed_over_whole(files, home, existed):
    destination = home / "data" / "activations"
    if existed:
        (destination / "layer_9").mkdir(parents=True)
    with open_scratch("extract_activations", SETTINGS, files) as scratch:
        (scratch.path / "layer_2").mkdir()
        (scratch.path / "layer_2" / "shard-00000.npz").write_text("rows")
        scratch.hand_over(destination)
        assert not scratch.path.exists()
    assert [path.name for path in destination.iterdir()] == ["layer_2"]
    assert (destination / "layer_2/shard-00000.npz").read_text() == "rows"
    assert list(place(files).iterdir()) == []

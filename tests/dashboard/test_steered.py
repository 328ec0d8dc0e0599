"""What steering did, read from what steer_features writes."""

import pytest
from dashboard_samples import PROMPTS, steering_of
from steering_samples import steer_settings

from fast_sae.dashboard.steered import read_steered
from fast_sae.errors import ArtifactError
from fast_sae.steering.effects import Chosen
from fast_sae.steering.report import SteerReport


def steered(folder, report: SteerReport):
    report.write(folder / "steering", folder / "steer.json", folder / "plots")
    return read_steered(folder / "steering")


@pytest.mark.parametrize("label", ["7", "007", "1e5", "True", "NA", "nan", "", 'a,"b"\nc'])
def test_a_label_is_a_text_whatever_it_looks_like(tmp_path, label):
    found = steered(tmp_path, steering_of(Chosen(label, 1, 0.9, 50.0, 0.5)))
    assert found[1]["label"] == label
    assert [dose[:2] for dose in found[1]["doses"]] == [[0, 0], [25, 0], [50, 0]]


def test_of_a_latent_that_tells_two_labels_the_curve_is_of_the_first(tmp_path):
    chosen = [Chosen(label, 1, 0.9, 50.0, 0.5) for label in ("counting", "waiting")]
    about = steered(tmp_path, steering_of(*chosen))[1]
    assert about["label"] == "counting"
    assert [dose[:2] for dose in about["doses"]] == [[0, 0], [25, 0.6667], [50, 0.6667]]


def test_each_latent_has_its_own_samples_beside_the_unsteered_ones(tmp_path):
    found = steered(tmp_path, steering_of(Chosen("counting", 10, 0.9, 50.0, 0.5), latents=(2, 10)))
    assert {*found} == {2, 10}
    assert (found[2]["label"], found[2]["doses"], found[10]["label"]) == (None, [], "counting")
    for about in found.values():
        assert [one[:2] for one in about["samples"]] == [[prompt, alpha] for prompt in PROMPTS for alpha in (0, 25, 50)]


def test_nothing_where_steering_is_switched_off(tmp_path):
    assert steered(tmp_path, SteerReport(steer_settings(enabled=False))) == {}


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("latents.csv", "label,latent\na,1\n"),
        ("latents.csv", "label,latent,direction,alpha,rate,rate_low,rate_high\na,one,latent,1,2,3,4\n"),
        ("generations.jsonl", '{"part": "scoring", "prompt": '),
        ("generations.jsonl", '{"part": "scoring"}\n'),
        ("generations.jsonl", "[]\n"),
        ("generations.jsonl", '{"part": "scoring", "prompt": "a", "alpha": 1}\n'),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, name, damaged):
    steered(tmp_path, steering_of(Chosen("counting", 1, 0.9, 50.0, 0.5)))
    (tmp_path / "steering" / name).write_text(damaged)
    with pytest.raises(ArtifactError, match=rf"{name} is damaged \(.*\); run: dvc repro steer_features") as refused:
        read_steered(tmp_path / "steering")
    assert "\n" not in str(refused.value)

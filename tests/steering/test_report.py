"""The report says that a latent raises its label, or that it does not; and repetition is counted."""

import json

import pytest
from steering_samples import steer_settings, written

from fast_sae.steering.effects import Chosen, Effects
from fast_sae.steering.report import SteerReport
from fast_sae.steering.trials import repetition

A, B = "abstracting", "comparing"


def report(latent: list[str]) -> SteerReport:
    chosen = [Chosen(A, 7, 0.9, 50.0, 1.0)]
    scoring = [
        *written("none", 0.0, [B] * 3),
        *written("latent", 50.0, latent, latent=7),
        *written("random", 50.0, [B] * 3, latent=0),
        *written("other", 50.0, [B] * 3, latent=3),
    ]
    settings = steer_settings()
    chats = {(one.trial.name, one.trial.alpha): 2.0 for one in scoring}
    choosing = written("latent", 50.0, [A, B], latent=7)
    return SteerReport(settings, Effects(scoring, chosen, settings), choosing, chosen, {}, [50.0], 100.0, 0.75, chats)


def test_it_says_that_the_rate_rises_or_that_it_does_not():
    rises, does_not = ("\n".join(report(latent).text()) for latent in ([A] * 3, [B] * 3))
    assert "latents raises the labels' rates well above both controls" in rises
    assert "| yes |" in rises
    assert "does not raise the labels' rates well above both controls" in does_not
    assert "| no |" in does_not


def test_metrics_are_few_and_named():
    found = report([A, A, B]).metrics()
    assert len(found) <= 15
    assert found["rate_latent"] == pytest.approx(2 / 3)
    assert (found["rate_random"], found["rate_unsteered"], found["label_latents"]) == (0, 0, 1)
    assert found["difference_other"] == pytest.approx(2 / 3)


def test_the_files_hold_the_curve_and_every_continuation(tmp_path):
    report([A, A, B]).write(tmp_path / "steering", tmp_path / "steer.json", tmp_path / "plots")
    curve = (tmp_path / "plots/dose_response.csv").read_text().splitlines()
    assert curve[0] == "direction,alpha,alpha_over_norm,labels,rate,rate_low,rate_high"
    assert [line.split(",")[:3] for line in curve[1:3]] == [["latent", "0", "0"], ["latent", "50", "0.5"]]
    lines = [json.loads(line) for line in (tmp_path / "steering/generations.jsonl").read_text().splitlines()]
    assert [line["part"] for line in lines] == ["choosing"] * 2 + ["scoring"] * 12
    assert lines[-1]["perplexity"] == pytest.approx(2.71828)  # exp(4 nats / 4 tokens)
    costs = (tmp_path / "steering/costs.csv").read_text().splitlines()
    assert costs[1] == "none,none,0,0,3,2.71828,0,2"


def test_switched_off_the_files_are_there_and_empty(tmp_path):
    SteerReport(steer_settings(enabled=False)).write(tmp_path / "steering", tmp_path / "steer.json", tmp_path / "plots")
    assert json.loads((tmp_path / "steer.json").read_text()) == {"steer": {"prompts": 0, "label_latents": 0}}
    assert (tmp_path / "steering/generations.jsonl").read_text() == ""
    assert "nothing was steered" in (tmp_path / "steering/report.md").read_text()
    assert len((tmp_path / "plots/dose_response.csv").read_text().splitlines()) == 1


def test_repetition_is_the_share_of_ngrams_that_were_there_before():
    assert repetition([1, 2, 3, 4], 2) == 0
    assert repetition([7] * 5, 3) == pytest.approx(2 / 3)
    assert repetition([1, 2], 3) == 0

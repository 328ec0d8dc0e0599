import pytest
import torch

from fast_sae.training.history import History


def lines(folder, name):
    return (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()


def history(log_every, **curves):
    found = History(log_every)
    for step, values in enumerate(zip(*curves.values(), strict=True), start=1):
        found.add(step, {name: torch.tensor(float(v)) for name, v in zip(curves, values, strict=True)})
    return found


def test_a_point_is_the_mean_of_all_values_since_the_last_one(tmp_path):
    history(2, loss=[1, 3, 10, 20], l0=[8, 8, 7, 6]).write(tmp_path)
    assert lines(tmp_path, "loss") == ["step,loss", "2,2.0", "4,15.0"] or lines(tmp_path, "loss")[1:] == ["2,2", "4,15"]
    assert [line.split(",")[0] for line in lines(tmp_path, "l0")] == ["step", "2", "4"]
    assert float(lines(tmp_path, "l0")[2].split(",")[1]) == 6.5


def test_every_step_is_a_point_where_that_is_asked(tmp_path):
    history(1, loss=[4, 5, 6]).write(tmp_path)
    assert [tuple(map(float, line.split(","))) for line in lines(tmp_path, "loss")[1:]] == [(1, 4), (2, 5), (3, 6)]


def test_a_run_shorter_than_the_distance_of_two_points_still_has_its_curves(tmp_path):
    history(50, loss=[4, 5, 6]).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.csv"]
    assert [tuple(map(float, line.split(","))) for line in lines(tmp_path, "loss")[1:]] == [(3, 5)]


def test_a_point_may_be_put_on_a_curve_as_it_is(tmp_path):
    found = history(2, loss=[1, 2, 3, 4])
    found.add_point("validation_loss", 2, 0.25)
    found.add_point("validation_loss", 4, 0.125)
    found.write(tmp_path / "plots" / "train_sae")
    assert lines(tmp_path / "plots" / "train_sae", "validation_loss") == ["step,validation_loss", "2,0.25", "4,0.125"]


def test_numbers_are_written_with_six_digits(tmp_path):
    history(1, loss=[1.23456789e-5]).write(tmp_path)
    assert lines(tmp_path, "loss")[1] == "1,1.23457e-05"


def test_means_are_taken_in_double_precision(tmp_path):
    history(3, loss=[2**25, 1, 1]).write(tmp_path)
    assert float(lines(tmp_path, "loss")[1].split(",")[1]) == pytest.approx((2**25 + 2) / 3, rel=1e-5)

"""A live run fits the same SAE as a stored one, as nearly as another order of the rows allows."""

import pytest
from activation_samples import extract
from sae_samples import sae_settings
from samples import params, runtime

from fast_sae.params import parse_section
from fast_sae.training.loop import train_sae
from fast_sae.training.settings import TrainSettings

SMALL = {"train.epochs": 8, "train.batch_size": 32, "train.patience": 8, "train.lr": 0.003}


def test_a_live_run_reaches_the_fvu_of_the_stored_run_within_2_percent(tmp_path):
    counts = (24, 8, 1)
    stored = extract(tmp_path / "stored", counts).opened()
    live = extract(tmp_path / "live", counts, **{"extract.store": ["validation"]}).opened("live", buffer_tokens=1000)
    found = [
        train_sae(
            sae_settings(layer=2, M=64, K=4),
            parse_section(params(**SMALL), "train", TrainSettings),
            opened.open("train"),
            opened.open("validation"),
            runtime(sae_batch_rows=1000),
        ).metrics
        for opened in (stored, live)
    ]
    assert found[0]["steps"] == found[1]["steps"]
    assert found[1]["validation_loss"] == pytest.approx(found[0]["validation_loss"], rel=0.02)
    assert found[0]["validation_loss"] < 0.5  # there is something to agree on

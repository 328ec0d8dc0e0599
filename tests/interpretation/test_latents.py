"""Which latents are named."""

import pytest
from features_samples import make_store
from interpretation_samples import interpret_settings

from fast_sae.errors import ParamsError
from fast_sae.features.tables import from_rows, write_features_table
from fast_sae.interpretation.latents import choose_latents

RATES = {0: (0.1, 0.2), 1: (0.3, 0.5), 2: (0.3, 0.5), 3: (0.0, 0.0), 5: (0.9, 0.9)}
"""Share of windows and of examples of validation in which each latent fires; 4 is dead, 3 fires on test alone."""


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path)
    rows = [
        (k, 0.1, windows, examples, *[0.1] * 3, *[1.0] * 7, *[0.2] * 5, None, None, None)
        for k, (windows, examples) in RATES.items()
    ]
    write_features_table(tmp_path, "latents", [from_rows("latents", rows)])
    store.manifest.facts["M"] = 6
    return store


def label_rows(*rows):
    return [(latent, 1, label, auroc, 0.0) for latent, label, auroc in rows]


def chosen(store, **settings):
    return choose_latents(store, interpret_settings(**settings))


def test_the_prevalent_are_those_that_fire_in_most_examples(store):
    assert chosen(store, latents="prevalent", n_latents=3) == [5, 1, 2]
    assert chosen(store, latents="prevalent", n_latents=100) == [5, 1, 2, 0]


def test_random_ones_live_and_depend_on_the_seed(store):
    draws = [chosen(store, latents="random", n_latents=2, seed=seed) for seed in range(20)]
    assert all(len(set(draw)) == 2 and set(draw) <= {0, 1, 2, 5} for draw in draws)
    assert len({tuple(draw) for draw in draws}) > 1
    assert chosen(store, latents="random", n_latents=2, seed=3) == chosen(store, latents="random", n_latents=2, seed=3)


def test_the_best_of_each_label_are_chosen_on_validation(store, tmp_path):
    rows = label_rows((0, "a", 0.9), (1, "a", 0.8), (1, "b", 0.95), (0, "b", 0.7), (3, "c", 1.0), (0, "c", 0.6))
    write_features_table(tmp_path, "labels", [from_rows("labels", rows)])
    assert chosen(store, latents="label", n_latents=9) == [1, 0]
    assert chosen(store, latents="label", n_latents=1) == [1]


def test_a_label_is_refused_where_there_are_none(store, tmp_path):
    write_features_table(tmp_path, "labels", [from_rows("labels", [])])
    with pytest.raises(ParamsError, match="the data have no labels"):
        chosen(store, latents="label")


def test_listed_ones_are_those_listed_each_once(store):
    assert chosen(store, latents="listed", listed=[5, 0, 5]) == [5, 0]


@pytest.mark.parametrize(
    ("latent", "reason"),
    [(6, "does not exist; the SAE has latents 0 to 5"), (4, "is dead"), (3, "fires nowhere in validation")],
)
def test_a_listed_latent_that_cannot_be_named_is_refused_and_told_why(store, latent, reason):
    with pytest.raises(ParamsError, match=f"names latent {latent}, which {reason}"):
        chosen(store, latents="listed", listed=[0, latent])


def test_an_sae_whose_latents_are_all_dead_is_refused(store, tmp_path):
    write_features_table(tmp_path, "latents", [from_rows("latents", [])])
    with pytest.raises(ParamsError, match="no latent fires on validation"):
        chosen(store, latents="prevalent")

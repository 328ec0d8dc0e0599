"""Windows shown, windows that choose, windows judged: who sees what, and what each stands for."""

import numpy as np
import pytest
from features_samples import N_EXAMPLES, make_store
from interpretation_samples import firing, interpret_settings, silent, window

from fast_sae.chat.kinds import Kind
from fast_sae.features.windows import Shown
from fast_sae.interpretation.material import draw, gather
from fast_sae.interpretation.scores import detection_scores


def places(shown):
    return {(one.window.split, one.window.example, one.window.start) for one in shown}


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


@pytest.mark.parametrize("latent", [0, 1, 2])
def test_no_window_is_shown_and_chooses_and_none_of_test_is_seen_before_it_is_judged(store, latent):
    found = gather(store, latent, interpret_settings())
    shown = places([*found.showing.firing, *found.showing.silent])
    assert not shown & places(found.choosing)
    assert {split for split, *_ in shown | places(found.choosing)} == {"validation"}
    judged = places([*found.judged, *found.top, *(one.shown for one in found.fuzzed)])
    assert {split for split, *_ in judged} == {"test"}


@pytest.mark.parametrize("latent", [0, 1, 2])
def test_the_weights_of_each_part_add_up_to_the_windows_of_the_split(store, latent):
    found = gather(store, latent, interpret_settings(scored_per_decile=2, scored_silent=7))
    parts = ([*found.showing.firing, *found.showing.silent], found.choosing, found.judged)
    for part in parts:
        assert sum(one.weight for one in part) == pytest.approx(N_EXAMPLES)
    n_fires = {0: 12, 1: 30, 2: 60}[latent]
    assert sum(one.weight for one in found.judged if one.fires) == pytest.approx(n_fires)


def test_the_strongest_come_first_and_none_is_shown_twice(store):
    shown = gather(store, 1, interpret_settings()).showing.firing
    strengths = [one.activation for one in shown]
    assert strengths == sorted(strengths, reverse=True)
    assert len(places(shown)) == len(shown)


def test_each_decile_gives_as_many_as_asked_or_all_it_has():
    windows = [firing(window("a b", i), 0, decile=1 + i % 10, weight=3.0) for i in range(95)]
    drawn = draw(windows, [], interpret_settings(scored_per_decile=9), np.random.default_rng(0))
    per_decile = {decile: [one for one in drawn if one.decile == decile] for decile in range(1, 11)}
    assert {len(part) for part in per_decile.values()} == {9}
    assert sum(one.weight for one in per_decile[1]) == pytest.approx(30)
    assert sum(one.weight for one in per_decile[10]) == pytest.approx(27)


def test_the_estimates_are_those_of_the_population_on_average():
    """A population of 2,000 windows whose figures are known; drawn as collect_features and interpretation draw."""
    generator = np.random.default_rng(1)
    n, n_firing = 2000, 400
    strength = np.where(np.arange(n) < n_firing, generator.exponential(size=n) + 0.01, 0.0)
    said = generator.random(n) < np.where(strength > 0, strength / (1 + strength), 0.05)
    truth = detection_scores(strength > 0, said, strength, np.ones(n))
    totals = np.array([said.sum(), (said & (strength > 0)).sum()])
    settings = interpret_settings(scored_per_decile=5, scored_silent=50)
    sums, scores = [], []
    for _ in range(100):
        drawn = draw(*_sampled(strength, generator), settings, generator)
        index = np.array([one.window.example for one in drawn])
        weight = np.array([one.weight for one in drawn])
        fires, yes, act = strength[index] > 0, said[index], strength[index]
        sums.append([weight[yes].sum(), weight[yes & fires].sum()])
        scores.append(detection_scores(fires, yes, act, weight))
    mean, error = np.mean(sums, 0), np.std(sums, 0) / 10
    assert (abs(mean - totals) < 4 * error).all()  # unbiased
    assert (error < 0.04 * totals).all()  # and the test can tell
    for name, value in truth.items():
        assert np.mean([one[name] for one in scores]) == pytest.approx(value, abs=0.03), name
    assert truth["precision"] < 0.8  # the sample's own is much higher: what the weights are for


def _sampled(strength: np.ndarray, generator: np.random.Generator) -> tuple[list[Shown], list[Shown]]:
    """100 firing windows at random, by strength, with their deciles, and 100 silent ones."""
    firing_at, silent_at = (np.flatnonzero(side) for side in (strength > 0, strength == 0))
    on = sorted(generator.choice(firing_at, 100, replace=False), key=lambda i: -strength[i])
    off = generator.choice(silent_at, 100, replace=False)
    fires = [
        firing(window("a b", int(i)), 0, float(strength[i]), decile=10 - at // 10, weight=len(firing_at) / 100)
        for at, i in enumerate(on)
    ]
    return fires, [silent(window("a b", int(i)), len(silent_at) / 100) for i in off]


def test_half_the_marks_are_true_and_the_others_are_as_many_and_all_false(store):
    found = gather(store, 1, interpret_settings())
    assert sum(one.active for one in found.fuzzed) == (len(found.fuzzed) + 1) // 2
    for one in found.fuzzed:
        active = np.array(one.shown.activations) > 0
        marked = np.array(one.marked.marked)
        assert marked.sum() == active.sum()
        assert (marked == active).all() if one.active else not (marked & active).any()


def test_a_window_without_silent_tokens_cannot_be_fuzzed_and_is_counted(store, monkeypatch):
    everywhere = Shown(window("a b"), (1.0, 2.0), "firing", 10, 1.0)
    some = firing(window("a b", 1), 1)
    monkeypatch.setattr(
        type(store), "windows", lambda *key: [everywhere, some] if key[1:] == (0, "test", "firing") else []
    )
    found = gather(store, 0, interpret_settings())
    assert [one.shown.window.example for one in found.fuzzed] == [1]
    assert found.fuzzing_left_out == 1


def test_only_tokens_of_the_trained_kinds_are_marked(store, monkeypatch):
    monkeypatch.setattr(type(store), "trained_kinds", frozenset({int(Kind.CONTENT)}))
    for one in gather(store, 1, interpret_settings()).fuzzed:
        marked = {kind for kind, mark in zip(one.marked.window.kinds, one.marked.marked, strict=True) if mark}
        assert marked == {Kind.CONTENT}


def test_drawing_depends_on_the_seed_and_the_latent_and_nothing_else(store):
    settings = interpret_settings(scored_per_decile=1, scored_silent=3)
    assert gather(store, 1, settings) == gather(store, 1, settings)
    other = interpret_settings(scored_per_decile=1, scored_silent=3, seed=1)
    assert places(gather(store, 1, settings).judged) != places(gather(store, 1, other).judged)


def test_a_latent_that_fires_nowhere_on_test_leaves_silent_windows_alone(store, monkeypatch):
    kept = type(store).windows
    monkeypatch.setattr(
        type(store),
        "windows",
        lambda self, k, split, sample: [] if (split, sample) != ("test", "silent") else kept(self, k, split, sample),
    )
    found = gather(store, 0, interpret_settings())
    assert not any(one.fires for one in found.judged)
    assert found.judged
    assert found.fuzzed == found.top == []

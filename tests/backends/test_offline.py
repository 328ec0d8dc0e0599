"""The backend that reads names off the data."""

from dataclasses import replace

import numpy as np
import pytest
from features_samples import make_store
from interpretation_samples import firing, interpret_settings, silent, window

from fast_sae.backends.base import ALL_EVIDENCE, Backend, Explanation, Marked, Showing
from fast_sae.backends.offline.rules import Rule
from fast_sae.backends.offline.sample import Sample
from fast_sae.backends.offline.significance import at_least, fisher, significant_items
from fast_sae.backends.opening import open_backend
from fast_sae.chat.kinds import Kind

WORDS = ["ash", "bay", "cot", "dim", "elm", "fig", "gum", "hay", "ink", "jar"]
NGRAM = frozenset({"ngram"})


@pytest.fixture
def backend(tmp_path):
    with open_backend(interpret_settings(backend="offline"), tmp_path / "made" / "replies.jsonl") as backend:
        yield backend


def filler(i: int) -> str:
    return " ".join(WORDS[(i * step + step) % len(WORDS)] for step in (1, 2, 3))


def showing_of(*, fires_with: list[str], silent_with: list[str], weight: float = 1.0) -> Showing:
    """Windows that hold the given words before their fillers; the latent fires on the first token."""
    on = [firing(window(f"{word} {filler(i)}", i), 0) for i, word in enumerate(fires_with)]
    off = [silent(window(f"{word} {filler(i)}", 100 + i), weight) for i, word in enumerate(silent_with)]
    return Showing(on, off)


def rule_of(explanation: Explanation) -> Rule:
    return Rule.of(explanation)


@pytest.mark.parametrize(
    ("latent", "evidence", "any_of"),
    [(0, "token", (" pearl",)), (1, "label", ("counting",)), (2, "token", ("The",))],
    ids=["a word", "a label", "the first token"],
)
def test_it_finds_what_the_latents_of_the_sample_stand_for(tmp_path, backend, latent, evidence, any_of):
    store = make_store(tmp_path)
    showing = Showing(store.windows(latent, "validation", "firing"), store.windows(latent, "validation", "silent"))
    ((best, *_),) = backend.explain([showing], 3)
    assert rule_of(best) == Rule(evidence, any_of)


def test_a_name_says_what_it_checks_and_where_it_comes_from(backend):
    ((best, *_),) = backend.explain(
        [showing_of(fires_with=["pearl"] * 8, silent_with=["rock"] * 7 + ["pearl"])], 1, NGRAM
    )
    assert best.text == (
        'the text mentions "pearl" (read off the data: true of 8 of the 8 windows shown in which the latent fires, '
        "of 1 of the 8 in which it is silent)"
    )
    assert best.rule == {"evidence": "ngram", "any_of": ["pearl"], "adjusted_p": pytest.approx(best.rule["adjusted_p"])}


def test_words_are_joined_as_long_as_f1_grows(backend):
    showing = showing_of(fires_with=["pearl"] * 12 + ["amber"] * 10, silent_with=["rock"] * 22)
    names = backend.explain([showing], 3, NGRAM)[0]
    assert [set(rule_of(name).any_of) for name in names] == [{"pearl", "amber"}, {"pearl"}]


def test_a_word_that_is_frequent_in_a_large_silent_population_is_not_joined(backend):
    """In the windows shown it is 20 to 2; but each silent window stands for a hundred."""
    fires, rest = ["pearl"] * 30 + ["amber"] * 20, ["amber"] * 2 + ["rock"] * 48
    light, heavy = (showing_of(fires_with=fires, silent_with=rest, weight=weight) for weight in (1.0, 100.0))
    assert set(rule_of(backend.explain([light], 1, NGRAM)[0][0]).any_of) == {"pearl", "amber"}
    assert set(rule_of(backend.explain([heavy], 1, NGRAM)[0][0]).any_of) == {"pearl"}


def test_evidence_that_is_not_allowed_is_not_spoken_of(backend):
    on = [firing(window(filler(i), i, label="sad"), 0) for i in range(20)]
    off = [silent(window(filler(i), 50 + i, label="glad")) for i in range(20)]
    label, no_label = (
        backend.explain([Showing(on, off)], 9, evidence)[0] for evidence in (ALL_EVIDENCE, ALL_EVIDENCE - {"label"})
    )
    assert "label" in {rule_of(name).evidence for name in label}
    assert "label" not in {rule_of(name).evidence for name in no_label}


def test_a_latent_that_goes_with_nothing_is_said_to(backend):
    showing = showing_of(fires_with=["rock"] * 10, silent_with=["rock"] * 10)
    ((name,),) = backend.explain([showing], 3, NGRAM)
    assert name.text.startswith("no pattern found")
    assert not name.pattern
    assert backend.detect([(name, [window("rock"), window("")])]) == [[False, False]]
    assert backend.rate([(name, showing.firing[:5])])[0].score == 1


def test_noise_is_seldom_given_a_pattern(backend):
    """By the correction, at most 5 % of such latents on average; of 20 latents, 5 or more have a chance below 0.003."""
    generator = np.random.default_rng(0)

    def noise(n: int) -> list:
        return [window(" ".join(generator.choice(WORDS, 8)), i, label=str(generator.choice(WORDS))) for i in range(n)]

    showings = [
        Showing([firing(one, int(generator.integers(8))) for one in noise(30)], [silent(one) for one in noise(30)])
        for _ in range(20)
    ]
    assert sum(names[0].pattern for names in backend.explain(showings, 1)) < 5


@pytest.mark.parametrize("showing", [Showing([], []), Showing([], [silent(window("a b"))])], ids=["nothing", "silent"])
def test_a_latent_that_never_fired_has_no_pattern(backend, showing):
    assert not backend.explain([showing], 3)[0][0].pattern


def test_windows_without_weights_count_each_for_itself(backend):
    showing = showing_of(fires_with=["pearl"] * 8, silent_with=["rock"] * 8, weight=0.0)
    on = [replace(one, weight=0.0, sample="top") for one in showing.firing]
    assert rule_of(backend.explain([Showing(on, showing.silent)], 1, NGRAM)[0][0]).any_of == ("pearl",)


def test_the_strongest_windows_do_not_count_beside_random_ones():
    showing = showing_of(fires_with=["pearl"] * 8, silent_with=["rock"] * 8)
    top = [replace(showing.firing[0], weight=0.0, sample="top")] * 20
    assert len(Sample.of(Showing([*top, *showing.firing], showing.silent)).firing) == 8


def test_where_it_fires_is_not_guessed_from_windows_that_do_not_tell(backend):
    """hypotheses knows one number of a text, and no token of it."""
    on = [replace(firing(window(f"pearl {filler(i)}", i), 0), activations=(1.0,)) for i in range(8)]
    names = backend.explain([Showing(on, [silent(window(filler(i), 50 + i)) for i in range(8)])], 9)[0]
    assert {rule_of(name).evidence for name in names} == {"ngram"}


def test_fisher_is_the_hypergeometric_tail_that_a_hand_computes():
    """4 of 4 firing windows and 1 of 4 silent have it: C(5, 4) · C(3, 0) / C(8, 4) = 5 / 70."""
    assert fisher([4], [5], firing=4, windows=8) == [pytest.approx(5 / 70)]


def test_the_chance_of_peaks_is_that_of_unequal_coins():
    assert at_least(1, [0.5, 0.1]) == pytest.approx(1 - 0.5 * 0.9)
    assert at_least(2, [0.5, 0.1]) == pytest.approx(0.05)
    assert at_least(0, [0.5]) == 1.0
    assert at_least(40, [0.01] * 40) == pytest.approx(1e-80)
    assert at_least(0, [1 / 4, 1 / 5]) == 1.0  # 1 + 2e-16 as the machine adds, which no correction takes


def test_the_values_are_corrected_over_all_that_was_tested():
    showing = showing_of(fires_with=["pearl"] * 8, silent_with=["rock"] * 8)
    sample = Sample.of(showing)
    raw = fisher([8], [8], firing=8, windows=16)[0]
    best = min(significant_items(sample, NGRAM), key=lambda one: one.p)
    assert best.p > raw
    assert "rock" not in {one.item for one in significant_items(sample, NGRAM)}


PEARL = Rule("token", (" pearl",))
SEA = window("the pearl of all seas")


@pytest.mark.parametrize(
    ("marked", "fits"),
    [
        ([0, 1, 0, 0, 0], True),
        ([1, 0, 0, 0, 0], False),
        ([1, 1, 0, 0, 0], True),
        ([1, 1, 1, 1, 1], True),
        ([0] * 5, False),
    ],
    ids=["the token", "another", "both", "all", "none"],
)
def test_marks_fit_a_rule_that_speaks_of_them_more_than_of_the_rest(marked, fits):
    assert PEARL.fits_marks(SEA, [bool(mark) for mark in marked]) is fits


def test_marks_fit_a_kind_only_if_they_are_of_it_more_often_than_the_rest():
    chat = window("<u> a b c", kinds=[int(Kind.SCAFFOLD), 3, 3, 3])
    content = Rule("kind", ("content",))
    assert content.fits_marks(chat, [False, True, False, False])
    assert not content.fits_marks(chat, [True, True, False, False])


def test_a_label_says_nothing_of_tokens_so_marks_fit_where_the_label_is(backend):
    rule = Explanation("", Rule("label", ("sad",)).json())
    marked = [Marked(window("a b", label=label), (True, False)) for label in ("sad", "glad", None)]
    assert backend.fuzz([(rule, marked)]) == [[True, False, False]]


@pytest.mark.parametrize(("deviating", "score"), [(0, 5), (1, 4), (2, 4), (3, 3), (4, 2), (5, 1)])
def test_a_rating_counts_the_windows_that_deviate(backend, deviating, score):
    name = Explanation("", Rule("ngram", ("pearl",)).json())
    shown = [firing(window("rock" if i < deviating else "a pearl"), 0) for i in range(5)]
    (rating,) = backend.rate([(name, shown)])
    assert rating.score == score
    assert f"{deviating} of 5" in rating.reason


def test_a_rule_that_speaks_of_tokens_is_rated_by_where_the_latent_is_strongest(backend):
    name = Explanation("", PEARL.json())
    assert backend.rate([(name, [firing(SEA, 1)] * 5)])[0].score == 5
    assert backend.rate([(name, [firing(SEA, 2)] * 5)])[0].score == 1


def test_it_is_a_backend_and_leaves_an_empty_file_of_replies(tmp_path):
    replies = tmp_path / "replies.jsonl"
    replies.write_text('{"old": 1}\n')
    with open_backend(interpret_settings(backend="offline"), replies) as backend:
        assert isinstance(backend, Backend)
    assert replies.read_bytes() == b""


def test_an_sae_trained_on_one_kind_of_token_is_not_named_by_it():
    """Every peak is on content, and could be nowhere else."""
    kinds = [int(kind) for kind in (Kind.SCAFFOLD, Kind.CONTENT, Kind.SCAFFOLD)]
    on = [firing(window(f"a {word} b", i, kinds=kinds), 1) for i, word in enumerate(WORDS)]
    off = [silent(window(f"a {word} b", 50 + i, kinds=kinds)) for i, word in enumerate(WORDS)]
    assert significant_items(Sample.of(Showing(on, off)), {"kind"})
    assert not significant_items(Sample.of(Showing(on, off, frozenset({Kind.CONTENT}))), {"kind"})


def test_a_begin_of_text_that_was_trained_on_is_a_token_like_others():
    """It is the only token of these windows (`features.window_tokens: 1`)."""
    on = [firing(window("a", i, kinds=[int(Kind.BEGIN_OF_TEXT)]), 0) for i in range(8)]
    assert not significant_items(Sample.of(Showing(on, [], frozenset(Kind))), {"kind"})

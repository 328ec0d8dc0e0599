"""The recogniser counts as computed by hand, and names most of what the corpus holds."""

import json

import pytest
from samples import CORPUS

from fast_sae.chat.examples import Example, Message
from fast_sae.steering.recogniser import Recogniser


def example(text: str, label: str | None) -> Example:
    return Example("e", (Message(role="user", content=text),), is_text=True, label=label)


def test_it_counts_as_computed_by_hand():
    """Terms: red, blue, "red blue", green. P(red | not a) = 1/5, P(red | not b) = 2/7: red speaks for a."""
    model = Recogniser(["red blue", "green"], ["a", "b"])
    assert model.predict("red") == "a"
    assert model.predict("green") == "b"  # 1/7 of what is not b, against 2/5 of what is not a
    assert model.predict("unheard of") == "a"  # no term is known: the first
    assert model.predict("red green") == "b"  # 2/7 · 1/7 of what is not b, against 1/5 · 2/5 of what is not a
    assert model.predict("red red red green") == model.predict("red green")  # each term counts once


def test_pairs_of_words_tell_what_single_words_do_not():
    model = Recogniser(["let go", "go let"], ["a", "b"])
    assert (model.predict("let go"), model.predict("go let")) == ("a", "b")


@pytest.mark.parametrize("labels", [[], [None, None], ["a", "a"]], ids=["no examples", "no labels", "one label"])
def test_without_two_labels_there_is_nothing_to_recognise(labels):
    assert Recogniser.fit([example("red", label) for label in labels]) is None


def test_accuracy_is_the_share_of_the_labelled_that_is_named():
    model = Recogniser.fit([example("red", "a"), example("green", "b"), example("green", None)])
    assert model is not None
    assert model.accuracy([example("red", "a"), example("red", "b"), example("red", None)]) == 0.5


def test_it_names_most_texts_of_the_corpus_that_it_did_not_learn_from():
    records = [json.loads(line) for line in CORPUS.read_text().splitlines()[:2400]]
    texts, labels = ([record[field] for record in records] for field in ("text", "cognitive_action"))
    model = Recogniser(texts[:2000], labels[:2000])
    named = [model.predict(text) == label for text, label in zip(texts[2000:], labels[2000:], strict=True)]
    assert sum(named) / len(named) >= 0.98

import numpy as np
from hypotheses_samples import WordBackend, example

from fast_sae.backends.base import Explanation
from fast_sae.chat.examples import Example, Message
from fast_sae.hypotheses.annotations import UNANSWERED, annotate, text_window

TEXTS = [text_window(example(text), i, "test", 256) for i, text in enumerate(["pearl", "stone", "pearl stone"])]


def test_a_text_is_judged_without_its_label_or_template():
    window = text_window(example("A pearl.\nTwo  stones ", "label"), 7, "test", 256)
    assert (window.content, window.label, window.example, window.split) == ("A pearl.\nTwo  stones", None, 7, "test")


def test_a_long_text_is_cut_behind_a_word_and_keeps_its_spaces():
    assert text_window(example(" one\n two  three four"), 0, "test", 3).text == " one\n two  three"


def test_the_turns_of_a_chat_are_lines():
    chat = Example("c", (Message(role="user", content="a b"), Message(role="assistant", content="c d")), False)
    assert text_window(chat, 0, "test", 3).content == "a b\nc"


def test_answers_stand_by_text_and_name_and_a_name_is_asked_for_once():
    backend = WordBackend()
    names = [Explanation("pearl"), Explanation("stone"), Explanation("pearl")]
    found = annotate(backend, names, TEXTS, 2)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 1]]
    assert len(backend.seen) == 2 * len(TEXTS)


def test_a_question_that_is_not_answered_loses_its_texts_alone():
    found = annotate(WordBackend(unanswered={0}), [Explanation("pearl"), Explanation("stone")], TEXTS, 2)
    assert found.tolist() == [[UNANSWERED, 0], [UNANSWERED, 1], [1, 1]]


def test_no_names_or_no_texts_ask_nothing():
    assert annotate(WordBackend(), [], TEXTS, 2).shape == (3, 0)
    assert annotate(WordBackend(), [Explanation("pearl")], [], 2).shape == (0, 1)
    assert np.issubdtype(annotate(WordBackend(), [], [], 2).dtype, np.int8)

"""What a window has that a rule can speak of."""

import pytest
from interpretation_samples import window

from fast_sae.backends.offline.items import items_of, ngrams
from fast_sae.chat.kinds import Kind
from fast_sae.features.windows import Window

CHAT = Window(
    "test",
    0,
    0,
    ("<bos>", "<u>", "user", "A ", "big", " Cat", "<eot>", "<a>", "cat", "!"),
    (0, 1, 2, 3, 3, 3, 4, 1, 3, 3),
    "animals",
)


def test_ngrams_are_of_words_in_lower_case_and_tell_their_tokens():
    found = ngrams(window("I don't KNOW, I say"))
    assert found["i"] == [0, 3]
    assert found["don't know"] == [1, 2]
    assert found["know i say"] == [2, 3, 4]
    assert "i don't know i" not in found


def test_a_word_of_several_tokens_is_one_word_and_no_ngram_crosses_the_template():
    found = ngrams(CHAT)
    assert found["big cat"] == [4, 5]
    assert found["cat"] == [5, 8]
    assert "cat cat" not in found
    assert "user" not in found
    assert ngrams(Window("test", 0, 0, ("per", "haps", " no"), (3, 3, 3), None))["perhaps"] == [0, 1]


def test_tokens_kinds_and_the_label_are_items():
    assert items_of(CHAT, "token")["big"] == [4]
    assert items_of(CHAT, "kind") == {
        **{"begin_of_text": [0], "scaffold": [1, 7], "role_name": [2]},
        **{"content": [3, 4, 5, 8, 9], "end_of_turn": [6]},
    }
    assert items_of(CHAT, "label") == {"animals": ()}
    assert items_of(window("a"), "label") == {}


def test_places_count_from_both_ends_of_the_content_and_of_the_window():
    found = items_of(CHAT, "position")
    assert found["token 1 of the content"] == [3]
    assert found["token 1 from the end of the content"] == [9]
    assert found["token 2 from the end of the content"] == [8]
    assert found["token 3 of the window"] == [2]
    assert found["token 1 from the end of the window"] == [9]


@pytest.mark.parametrize("evidence", ["ngram", "token", "kind", "position", "label"])
def test_a_window_without_content_or_tokens_has_what_it_has(evidence):
    assert items_of(Window("test", 0, 0, (), (), None), evidence) == {}
    header = Window("test", 0, 0, ("<u>",), (int(Kind.SCAFFOLD),), None)
    assert not [item for item in items_of(header, evidence) if "content" in item]


@pytest.mark.parametrize("text", ["\ufffd\ufffd x", "日本語 text", "İstanbul ISTANBUL", "\u0000 \u2028 a", "''' -- _"])
def test_no_text_breaks_the_search_for_words(text):
    found = ngrams(window(text))
    assert all(0 <= i < len(text.split(" ")) for indices in found.values() for i in indices)


def test_the_words_are_those_of_the_content():
    words = {item for item in ngrams(CHAT) if " " not in item}
    assert words == {*CHAT.content.lower().replace("!", "").split()}

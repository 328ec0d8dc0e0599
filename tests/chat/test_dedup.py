"""De-duplication, followed by hand."""

import pytest
from chat_samples import chat, data_settings, text

from fast_sae.chat.dedup import drop_duplicates
from fast_sae.chat.examples import read_example


def kept(contents: list[str], n: int) -> list[int]:
    examples = [text(content) for content in contents]
    return [next(i for i, e in enumerate(examples) if e is one) for one in drop_duplicates(examples, n)]


@pytest.mark.parametrize(
    ("contents", "n", "left"),
    [
        (["a b c", "a b c"], 0, [0, 1]),
        (["a b c", "a b c"], 3, [0]),
        (["a b c", "b c d"], 3, [0, 1]),
        (["a b c", "b c d"], 2, [0]),
        (["a b c", "b c d", "c d e"], 2, [0, 2]),  # the second is dropped, so `c d` was never claimed
        (["a b", "a b c", "c a b"], 3, [0, 1, 2]),  # shorter than n: one n-gram of its own, equal to no longer one
        (["a b", "c", "a b", "c"], 3, [0, 1]),
        (["a b c d", "x b c d"], 3, [0]),  # the last n-gram counts
        (["a b c d", "a b c x"], 3, [0]),  # the first n-gram counts
        (["a b a b a b"], 2, [0]),  # an n-gram twice in one text is no duplicate
        (["a b c", "a  b\nc "], 3, [0]),  # spacing is no difference
        (["a b c", "A b c"], 3, [0, 1]),
        (["ab c", "a bc"], 2, [0, 1]),
        ([], 20, []),
    ],
    ids=["off", "equal", "overlap-2-of-3", "bigram", "dropped-claims-nothing", "short", "equal-short", "last", "first"]
    + ["within", "spacing", "case", "borders", "none"],
)
def test_an_example_is_dropped_if_it_shares_an_n_gram_with_an_earlier_kept_one(contents, n, left):
    assert kept(contents, n) == left


def test_20_words_in_common_drop_a_text_and_19_do_not():
    words = [f"w{i}" for i in range(25)]
    long, common_19, common_20 = " ".join(words), " ".join([*words[:19], "x"]), " ".join([*words[5:], "x"])
    assert kept([long, common_19, common_20], 20) == [0, 1]


def test_every_turn_counts_and_n_grams_do_not_cross_turns():
    first = chat("user: a b c", "assistant: d e f")
    across = chat("user: x c", "assistant: d y")
    repeats = chat("user: new words here", "assistant: d e f")
    assert drop_duplicates([first, across, repeats], 2) == [first, across]


def test_a_system_prompt_shared_by_all_chats_does_not_drop_them():
    chats = [chat("system: be kind and brief", f"user: question {i}") for i in range(3)]
    assert drop_duplicates(chats, 2) == chats


def test_chats_that_call_tools_without_content_are_no_duplicates_of_each_other():
    def calling(question: str) -> dict[str, object]:
        calls = [{"function": {"name": "f", "arguments": {"q": question}}}]
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": None, "tool_calls": calls}]
        return {"messages": turns}

    chats = [read_example(calling(q), data_settings(), q, "p") for q in ("rain in Rome", "sun in Oslo")]
    assert drop_duplicates(chats, 2) == chats

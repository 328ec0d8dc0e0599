"""The chats that the embedded model learns, and how they become tokens."""

import pytest
from cognitive_actions.compose import compose
from tiny_instruct.chats import NAMED, chats, spoken, tokenise, write_request
from tiny_instruct.tokenizer import train_tokenizer
from tiny_instruct.training import batches

EXAMPLES = compose(60, seed=5)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer((example.text for example in EXAMPLES), vocab_size=600)


def test_half_write_and_half_name():
    made = chats(EXAMPLES, seed=0)
    assert [task for task, _ in made] == ["write", "name"] * 30
    assert all([message["role"] for message in chat] == ["user", "assistant"] for _, chat in made)


def test_a_request_names_action_and_domain_and_the_answer_is_the_text():
    for example, (task, (asked, said)) in zip(EXAMPLES, chats(EXAMPLES, seed=0), strict=True):
        if task == "write":
            assert spoken(example.cognitive_action) in asked["content"]
            assert example.domain in asked["content"]
            assert said["content"] == example.text
        else:
            assert asked["content"] == example.text
            assert said["content"] == NAMED.format(action=spoken(example.cognitive_action))


def test_a_style_is_asked_for_in_a_sentence_of_its_own():
    told = write_request("zooming_in", "family dynamics", wording=0, style="minimalist and spare")["content"]
    assert told == "Write a short text about family dynamics that shows zooming in. Style: minimalist and spare."


def test_the_format_is_that_of_llama_3(tokenizer):
    ids, n_prompt = tokenise(tokenizer, [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes."}])
    head = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi.<|eot_id|>"
    assert tokenizer.decode(ids[:n_prompt]) == head + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert tokenizer.decode(ids[n_prompt:]) == "Yes.<|eot_id|>"


@pytest.mark.parametrize("word", ["system", "user", "assistant", "\n\n"])
def test_a_word_of_the_scaffold_is_one_token(tokenizer, word):
    assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1


@pytest.mark.parametrize("text", ["naïve 😀 中文", "a\tb\r\n c", "x" * 300, "\u202eright to left"])
def test_any_text_comes_back_as_it_was(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_padding_counts_for_nothing_and_a_prompt_for_its_weight():
    (batch,) = batches([([5, 6, 7, 8], 2), ([9, 9], 1)], size=2, generator=None)
    assert batch.ids.tolist() == [[9, 9, 0, 0], [5, 6, 7, 8]]  # the shorter first
    assert batch.weights(1.0).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.weights(0.25).tolist() == [[0.25, 1, 0, 0], [0.25, 0.25, 1, 1]]

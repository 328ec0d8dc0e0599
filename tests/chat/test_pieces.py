"""The text of single tokens: put together it is what the tokenizer decodes."""

import numpy as np
import pytest
from chat_samples import TEXTS, chat_tokenizer
from samples import MODEL
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from fast_sae.chat.pieces import TokenPieces

HOSTILE = [
    "Plain words, and a number: 42.",
    "naïve café, 東京 is it; \u202eright\u200fto left",
    "👩‍👩‍👧 and 😀😁🤖 in a row",
    "  two spaces\n\n\tand a tab  ",
    "a\0b \"quoted\" 'it's' \\n <|eot_id|>",
    "\U0010ffff\ud7ff",
    "x" * 3000,
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(MODEL, local_files_only=True)


@pytest.fixture
def pieces(tokenizer) -> TokenPieces:
    return TokenPieces(tokenizer)


def ids_of(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:6]))
@pytest.mark.parametrize("name", ["tiny-instruct", "llama", "chatml"])
def test_pieces_put_together_are_the_text(tokenizer, name, text):
    tokenizer = tokenizer if name == "tiny-instruct" else chat_tokenizer(name)
    ids = ids_of(tokenizer, text)
    found = TokenPieces(tokenizer).of(ids)
    assert len(found) == len(ids)
    assert "".join(found) == text


def test_pieces_of_texts_of_any_characters_put_together_are_the_text(tokenizer, pieces):
    random = np.random.default_rng(0)
    characters = [*"a é東😀🤖क\u093f\u200d\u202e\ud7ff\U0010ffff\n\0", " b", "<|eot_id|>"]
    for n in random.integers(1, 20, 300):
        text = "".join(
            characters[i] for i in random.integers(0, len(characters), n)
        )  # no numpy strings: they lose NULs
        assert "".join(pieces.of(ids_of(tokenizer, text))) == text


def test_a_token_keeps_the_space_before_it(tokenizer, pieces):
    assert pieces.of(ids_of(tokenizer, "a day, a night")) == ("a", " day", ",", " a", " night")
    (day,) = ids_of(tokenizer, " day")
    assert pieces.alone(day) == " day"


def test_a_character_of_several_tokens_stands_in_the_last(tokenizer, pieces):
    ids = ids_of(tokenizer, "a😀é!")
    found = pieces.of(ids)
    assert [piece for piece in found if piece] == ["a", "😀", "é", "!"]
    assert len(ids) > 4
    assert found[ids.index(ids_of(tokenizer, "😀")[-1], 1)] == "😀"


def test_bytes_that_are_no_character_read_as_such_and_spoil_nothing(tokenizer, pieces):
    ids = ids_of(tokenizer, "😀")
    assert len(ids) > 1
    end, begin = ids[-1:], ids[:1]
    assert set("".join(pieces.of(begin))) == {"\ufffd"}
    assert set("".join(pieces.of(end))) == {"\ufffd"}
    assert pieces.of([*ids_of(tokenizer, " day"), *begin])[0] == " day"
    whole = pieces.of([*end, *ids, *ids_of(tokenizer, " day")])
    assert whole[-2:] == ("😀", " day")
    assert len(whole) == len(ids) + 2


def test_a_window_that_ends_or_begins_within_a_character_does_not_change_the_rest(tokenizer, pieces):
    ids = ids_of(tokenizer, "one 🤖 two")
    for cut in range(len(ids) + 1):
        left, right = "".join(pieces.of(ids[:cut])), "".join(pieces.of(ids[cut:]))
        assert left.replace("\ufffd", "") + right.replace("\ufffd", "") in ("one 🤖 two", "one  two")


def test_control_tokens_are_shown(tokenizer, pieces):
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=True, return_dict=False)
    assert "".join(pieces.of(ids)) == tokenizer.decode(ids)
    assert pieces.of(ids)[0] == "<|begin_of_text|>"
    assert pieces.alone(tokenizer.eos_token_id) == "<|eot_id|>"


def test_no_tokens_have_no_pieces(pieces):
    assert pieces.of([]) == ()


def test_every_token_of_the_vocabulary_has_a_text(tokenizer, pieces):
    assert all(isinstance(pieces.alone(token), str) for token in range(len(tokenizer)))


def metaspace() -> PreTrainedTokenizerFast:
    """As Llama 2: spaces are ▁, and what is in no token falls back to bytes."""
    vocabulary = {"<unk>": 0, "▁": 1, **{f"<0x{byte:02X}>": 2 + byte for byte in range(256)}}
    for piece in ("▁the", "▁day", "s", "a", "▁a", ".", "▁no"):
        vocabulary[piece] = len(vocabulary)
    scored = [(piece, -1.0 - len(vocabulary) * (len(piece) == 1 or piece.startswith("<0"))) for piece in vocabulary]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize("text", ["the days a day.", "the 😀 day", "é", "no\nday", "a"])
def test_of_a_sentencepiece_tokenizer_the_spaces_are_kept(text):
    tokenizer = metaspace()
    ids = ids_of(tokenizer, text)
    found = TokenPieces(tokenizer).of(ids)
    assert "".join(found) == " " + text  # such a tokenizer puts a space before the text, and its decoder takes it away
    assert len(found) == len(ids)


def test_sentencepiece_pieces_are_those_of_each_token():
    tokenizer = metaspace()
    assert TokenPieces(tokenizer).of(ids_of(tokenizer, "the days.")) == (" the", " day", "s", ".")
    assert TokenPieces(tokenizer).of([2 + 0xF0, 2 + 0x9F, 2 + 0x98, 2 + 0x80]) == ("", "", "", "😀")
    assert TokenPieces(tokenizer).of([2 + 0xF0, tokenizer.convert_tokens_to_ids("▁day")]) == ("\ufffd", " day")


def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


@pytest.mark.parametrize("text", ["Hello there user", "I am an assistant. The system is a model, user.", "today"])
def test_of_a_wordpiece_tokenizer_the_marks_are_removed(text):
    tokenizer = wordpiece()
    ids = ids_of(tokenizer, text)
    found = TokenPieces(tokenizer).of(ids)
    assert "##" not in "".join(found)
    assert "".join(found) == " " + tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_wordpiece_parts_of_a_word_have_no_space_and_words_have_one():
    tokenizer = wordpiece()
    ids = ids_of(tokenizer, "hellos user")
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert any(token.startswith("##") for token in tokens)
    expected = [token[2:] if token.startswith("##") else f" {token}" for token in tokens]
    assert list(TokenPieces(tokenizer).of(ids)) == expected

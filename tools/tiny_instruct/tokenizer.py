"""The tokenizer of models/tiny-instruct: byte-level BPE with Llama 3's special tokens and chat format."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
HEADER, HEADER_END, TURN_END = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    f"{HEADER}" + "{{ message['role'] }}" + f"{HEADER_END}" + "\n\n{{ message['content'] | trim }}" + f"{TURN_END}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + f"{HEADER}assistant{HEADER_END}" + "\n\n{% endif %}"
)
"""Llama 3's format, without the tools and the date of its later templates."""

_OFTEN = 10_000
"""Times that the words of the scaffold are shown, so that their merges are learned."""

_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn `vocab_size` tokens; every byte is one, so that any text can be told, and comes back as it was."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BEGIN, END, HEADER, HEADER_END, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    scaffold = ["system", "user", "assistant", "\n\n"]  # as Llama 3 has them: one token each
    tokenizer.train_from_iterator([*texts, *scaffold * _OFTEN], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=TURN_END,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )

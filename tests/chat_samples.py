"""Settings, examples and small tokenizers with real-world chat templates, for the tests of the chat room."""

from dataclasses import dataclass, field
from datetime import date
from functools import cache
from itertools import groupby
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from fast_sae.chat.examples import Example, read_example
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.chat.render import Rendered, Renderer
from fast_sae.chat.roles import ROLE_NAMES
from fast_sae.chat.settings import DataSettings

TEXTS = ["Hello there user, I am an assistant. The system tool is a model.", "Today Date: 26 Jul 2024", "Good bye"]


def data_settings(**overrides: object) -> DataSettings:
    """The `data` section, with every field that names something set."""
    section = {
        "path": "data.jsonl",
        "text_field": "text",
        "label_field": "label",
        "id_field": "id",
        "on_bad_line": "fail",
        "dedup_ngram": 0,
        "max_examples": None,
        "validation_fraction": 0.1,
        "test_fraction": 0.1,
        "seed": 0,
    } | overrides
    return DataSettings.model_validate(section)


def chat(*turns: str, **more: object) -> Example:
    """A chat of turns written as `role: content`."""
    messages = [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]
    return read_example({"messages": messages, **more}, data_settings(), "0000001", "chats.jsonl:line 1")


def text(content: str, **more: object) -> Example:
    """A bare text."""
    return read_example({"text": content, **more}, data_settings(), "0000001", "texts.jsonl:line 1")


@dataclass(frozen=True)
class Style:
    """A chat template and the special tokens it writes."""

    template: str
    specials: tuple[str, ...]
    bos: str | None = None
    eos: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    """Further arguments of each special token."""


def _each(turn: str) -> str:
    return "{% for m in messages %}" + turn + "{% endfor %}"


_HEADER = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
_LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_TAKE_SYSTEM = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
)
_DATED = "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}\n\n{{ system }}<|eot_id|>"

STYLES = {
    "llama": Style("{{ bos_token }}" + _each(_HEADER + "{{ m.content | trim }}<|eot_id|>"), _LLAMA, _LLAMA[0]),
    "llama-clock": Style(  # Llama 3.2
        _TAKE_SYSTEM
        + "{% set date_string = strftime_now('%d %b %Y') %}{{ bos_token }}"
        + _DATED
        + _each(_HEADER + "{{ m.content | trim }}<|eot_id|>"),
        _LLAMA,
        _LLAMA[0],
    ),
    "llama-date": Style(  # Llama 3.1
        _TAKE_SYSTEM
        + "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ bos_token }}"
        + _DATED
        + _each(_HEADER + "{{ m.content | trim }}<|eot_id|>"),
        _LLAMA,
        _LLAMA[0],
    ),
    "llama-tools": Style(  # Llama 3.1: a turn that calls a tool prints the call and not its content
        "{{ bos_token }}"
        + _each(
            "{% if m.tool_calls %}<|start_header_id|>assistant<|end_header_id|>\n\n"
            "{{ m.tool_calls[0].function | tojson }}<|eot_id|>"
            "{% elif m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n{{ m.content }}<|eot_id|>"
            "{% else %}" + _HEADER + "{{ m.content | trim }}<|eot_id|>{% endif %}"
        ),
        _LLAMA,
        _LLAMA[0],
    ),
    "chatml": Style(
        "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
        + _each("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{{ '\n' }}"),
        _CHATML,
        eos="<|im_end|>",
    ),
    "chatml-tools": Style(  # Qwen2.5: the newline behind the role depends on the content
        _each(
            "{% if m.tool_calls %}<|im_start|>assistant{% if m.content %}{{ '\n' + m.content }}{% endif %}"
            "{{ '\n<tool_call>\n' }}{{ m.tool_calls[0].function | tojson }}{{ '\n</tool_call><|im_end|>\n' }}"
            "{% elif m.role == 'tool' %}<|im_start|>user{{ '\n<tool_response>\n' + m.content }}"
            "{{ '\n</tool_response><|im_end|>\n' }}"
            "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{{ '\n' }}{% endif %}"
        ),
        _CHATML,
        eos="<|im_end|>",
    ),
    "gemma": Style(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}"
        + _each(
            "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
            "{% endif %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
            "<start_of_turn>{{ role }}\n{{ m.content | trim }}<end_of_turn>{{ '\n' }}"
        ),
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
    ),
    "mistral": Style(
        "{{ bos_token }}"
        + _each(
            "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
            "{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
        ),
        ("<s>", "</s>"),
        "<s>",
        "</s>",
    ),
    "mistral-late-system": Style(  # Mistral v0.3: the system turn is printed in the last user turn
        _TAKE_SYSTEM
        + "{{ bos_token }}"
        + _each(
            "{% if m.role == 'user' %}[INST] {% if loop.last and system %}{{ system + '\n\n' }}{% endif %}"
            "{{ m.content }}[/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
        ),
        ("<s>", "</s>", "[INST]", "[/INST]"),
        "<s>",
        "</s>",
    ),
    "llama-2": Style(  # with a system text of its own
        "{{ bos_token }}[INST] <<SYS>>\nYou are a helpful assistant.\n<</SYS>>\n\n{{ messages[0].content }} [/INST]",
        ("<s>", "</s>"),
        "<s>",
        "</s>",
    ),
    "phi": Style(
        _each("<|{{ m.role }}|>\n{{ m.content }}<|end|>{{ '\n' }}") + "{{ eos_token }}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
        eos="<|endoftext|>",
    ),
    "phi-rstrip": Style(  # Phi-3: the special tokens eat the space behind them
        _each("<|{{ m.role }}|>\n{{ m.content }}<|end|>{{ '\n' }}") + "{{ eos_token }}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
        eos="<|endoftext|>",
        more={"rstrip": True},
    ),
    "glm": Style(  # nothing closes a turn but the header of the next
        "[gMASK]<sop>" + _each("<|{{ m.role }}|>\n{{ m.content }}"),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>"),
    ),
    "olmo": Style(  # one token begins the text and closes the assistant's turn
        "{{ bos_token }}"
        + _each("<|{{ m.role }}|>\n{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}"),
        ("<|endoftext|>",),
        "<|endoftext|>",
        "<|endoftext|>",
    ),
}


@cache
def chat_tokenizer(name: str, *, special: bool = True, trim_offsets: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in one style; its control tokens need not be special."""
    style = STYLES[name]
    tokenizer: Any = Tokenizer(models.BPE())
    split = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if trim_offsets:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer: Any = trainers.BpeTrainer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXTS, trainer(vocab_size=360, initial_alphabet=alphabet, show_progress=False))
    tokens = [AddedToken(token, special=special, normalized=False, **style.more) for token in style.specials]
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(tokens)
    named = {"bos_token": style.bos, "eos_token": style.eos}
    if style.more:
        named = {key: next((t for t in tokens if t.content == token), None) for key, token in named.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=style.template, **named)


def renderer(tokenizer: PreTrainedTokenizerFast, **overrides: Any) -> Renderer:
    """A renderer by the tokenizer's template, with the date pinned."""
    arguments = {"use_template": True, "template_kwargs": {}, "template_date": date(2024, 7, 26), "max_length": 4096}
    return Renderer(tokenizer, **(arguments | overrides))


def runs(tokenizer: PreTrainedTokenizerFast, rendered: Rendered) -> list[tuple[str, str]]:
    """The rendered tokens, those of one kind in a row put together: (kind, text)."""
    return _runs(tokenizer, rendered, rendered.kinds.tolist(), KIND_NAMES)


def role_runs(tokenizer: PreTrainedTokenizerFast, rendered: Rendered) -> list[tuple[str, str]]:
    """The rendered tokens, those of one role in a row put together: (role, text)."""
    return _runs(tokenizer, rendered, rendered.roles.tolist(), ROLE_NAMES)


def _runs(tokenizer, rendered: Rendered, numbers: list[int], names: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = zip(numbers, rendered.token_ids.tolist(), strict=True)
    return [
        (names[number], tokenizer.decode([token for _, token in group], clean_up_tokenization_spaces=False))
        for number, group in groupby(pairs, key=lambda pair: pair[0])
    ]

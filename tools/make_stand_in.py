"""Make the stand-in model and data that params.yaml points at until the embedded ones exist.

    python tools/make_stand_in.py            # writes models/stand-in and data/raw/stand_in.jsonl

The model is a Llama of random weights with a small tokenizer and a Llama-3-style chat template; the texts are drawn
from a few word lists. Both only show that the pipeline runs: what an SAE finds in them means nothing.
"""

import json
import random
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim }}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
WORDS = {
    "weather": ["rain", "cloud", "storm", "sunny", "wind", "frost", "thunder", "warm", "drizzle", "fog"],
    "kitchen": ["bread", "oven", "salt", "onion", "butter", "knife", "soup", "pepper", "flour", "pan"],
    "travel": ["train", "ticket", "harbour", "suitcase", "border", "map", "hotel", "bridge", "ferry", "station"],
    "music": ["violin", "rhythm", "choir", "melody", "drum", "chord", "concert", "piano", "tempo", "flute"],
}
FRAMES = [
    "Yesterday the {0} and the {1} kept me busy, so I wrote about the {2}.",
    "Nobody had told us about the {0}; the {1} came first, and then the {2}.",
    "Please tell me how a {0} differs from a {1}, and why the {2} matters.",
    "My brother says the {0} is fine, but I would rather have the {1} than the {2}.",
]


def make_texts(n: int, seed: int) -> list[dict[str, str]]:
    """Draw n short texts, each with the topic it was drawn from as its label."""
    draw = random.Random(seed)  # noqa: S311  (no secret)
    records = []
    for number in range(n):
        topic = draw.choice(sorted(WORDS))
        sentences = [draw.choice(FRAMES).format(*draw.sample(WORDS[topic], 3)) for _ in range(draw.randint(1, 4))]
        records.append({"id": f"stand-in-{number:04d}", "text": " ".join(sentences), "label": topic})
    return records


def make_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with Llama-3's special tokens and a template in its style."""
    tokenizer = Tokenizer(models.BPE())
    split = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIALS, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([*texts, "system user assistant tool"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIALS[0],
        eos_token=SPECIALS[4],
        pad_token=SPECIALS[1],
        chat_template=TEMPLATE,
        additional_special_tokens=SPECIALS[2:4],
    )


def make_model(vocab_size: int, seed: int) -> LlamaForCausalLM:
    """Make a Llama of random weights: 3 blocks of width 32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=4,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def main(model: Path = Path("models/stand-in"), data: Path = Path("data/raw/stand_in.jsonl")) -> None:
    """Write both."""
    records = make_texts(300, seed=0)
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    tokenizer = make_tokenizer([record["text"] for record in records], vocab_size=512)
    tokenizer.save_pretrained(model)
    make_model(len(tokenizer), seed=0).save_pretrained(model)


if __name__ == "__main__":
    main()

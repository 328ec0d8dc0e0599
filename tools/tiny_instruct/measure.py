"""How good models/tiny-instruct is, on (action, domain) pairs that no training text has."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from cognitive_actions.classifier import BagOfWords
from cognitive_actions.compose import Example
from cognitive_actions.grammar import follows_grammar
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tiny_instruct.chats import NAMED, Message, Task, spoken, tokenise, write_request
from tiny_instruct.trigram import Trigram

Chat = tuple[Task, list[Message]]
_LONGEST = 160
"""Tokens of an answer; the longest text of the corpus has fewer."""
_BATCH = 100


@dataclass(frozen=True)
class LanguageModel:
    """A model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @torch.no_grad()
    def nats(self, ids: Sequence[int]) -> list[float]:
        """Return −log P of every token but the first, given all before it."""
        tokens = torch.tensor(ids)
        logits = self.model(tokens[None]).logits[0]
        return cross_entropy(logits[:-1].float(), tokens[1:], reduction="none").tolist()

    def answer(self, asked: Sequence[Message], *, temperature: float) -> Iterator[str]:
        """Answer each message on its own; temperature 0 takes the likeliest token."""
        chosen = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        for start in range(0, len(asked), _BATCH):
            prompts = [[message] for message in asked[start : start + _BATCH]]
            inputs = self.tokenizer.apply_chat_template(
                prompts,
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
                tokenizer_kwargs={"padding_side": "left"},
            )
            inputs = cast(dict[str, Tensor], inputs)
            found = self.model.generate(**inputs, **chosen, max_new_tokens=_LONGEST)  # type: ignore[operator]
            answers = found[:, inputs["input_ids"].shape[1] :]
            yield from self.tokenizer.batch_decode(answers, skip_special_tokens=True)


def perplexities(
    model: LanguageModel | Trigram, chats: Sequence[Chat], tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Return exp(mean −log P) per token of the two turns, over all chats and for each task (`write_user` …)."""
    nats: dict[str, list[float]] = {}
    for task, chat in chats:
        ids, n_prompt = tokenise(tokenizer, chat)
        known = model.nats(ids)
        for turn, part in (("user", known[: n_prompt - 1]), ("assistant", known[n_prompt - 1 :])):
            nats.setdefault(turn, []).extend(part)
            nats.setdefault(f"{task}_{turn}", []).extend(part)
    return {turn: math.exp(sum(found) / len(found)) for turn, found in nats.items()}


def writing(
    model: LanguageModel, asked: Sequence[Example], classifier: BagOfWords, *, temperature: float
) -> tuple[dict[str, float], list[dict[str, str]]]:
    """Ask for a text of each example's action and domain; measure and return what is written."""
    requests = [write_request(e.cognitive_action, e.domain, wording=i % 4) for i, e in enumerate(asked)]
    texts = list(model.answer(requests, temperature=temperature))
    samples = [
        {"action": e.cognitive_action, "domain": e.domain, "recognised_as": classifier.predict(text), "text": text}
        for e, text in zip(asked, texts, strict=True)
    ]
    recognised = [sample["recognised_as"] == sample["action"] for sample in samples]
    grammatical = [follows_grammar(text) for text in texts]
    return {
        "recognised": sum(recognised) / len(texts),
        "grammatical": sum(grammatical) / len(texts),
    }, samples


def naming(model: LanguageModel, examples: Sequence[Example]) -> float:
    """Return the share of texts whose action is named when the text stands alone in the user's turn."""
    asked = [{"role": "user", "content": example.text} for example in examples]
    wanted = [NAMED.format(action=spoken(example.cognitive_action)) for example in examples]
    return sum(a == b for a, b in zip(model.answer(asked, temperature=0), wanted, strict=True)) / len(wanted)

"""Rows cut from a stream of chats, from which the control of models/tiny-instruct learns."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from tiny_instruct.training import Batch

Chat = tuple[list[int], int]
"""Token ids, and how many stand before the assistant's words: what `tokenise` returns."""


@dataclass(frozen=True)
class PackedSchedule:
    """How long and how fast to learn."""

    epochs: int
    prompt_weight: float
    """What a token before the assistant's words counts for."""
    row_tokens: int
    batch_rows: int
    lr: float
    warmup_steps: int
    weight_decay: float
    seed: int


def pack(chats: Sequence[Chat], row_tokens: int) -> Batch:
    """Concatenate chats as they come and cut the stream into rows; a chat may begin and end anywhere in a row.

    The tokens that do not fill a last row are left out.
    """
    ids = torch.tensor([token for known, _ in chats for token in known])
    prompt = torch.tensor([place < n for known, n in chats for place in range(len(known))])
    n_rows = len(ids) // row_tokens
    rows, prompts = (part[: n_rows * row_tokens].view(n_rows, row_tokens) for part in (ids, prompt))
    return Batch(rows, prompts, torch.ones_like(prompts))


def train_packed(model: LlamaForCausalLM, chats: Sequence[Chat], schedule: PackedSchedule) -> None:
    """Train in place on rows of chats in a new order every epoch; AdamW, linear warm-up, cosine decay to nothing."""
    n_tokens = sum(len(ids) for ids, _ in chats)
    steps = math.ceil(n_tokens // schedule.row_tokens / schedule.batch_rows) * schedule.epochs
    optimiser = torch.optim.AdamW(model.parameters(), schedule.lr, (0.9, 0.98), weight_decay=schedule.weight_decay)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / schedule.warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / steps)),
    )
    said = 0.0
    for step, batch in enumerate(_batches(chats, schedule), start=1):
        loss = packed_loss(model, batch, schedule.prompt_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
        optimiser.zero_grad(set_to_none=True)
        said += loss.item()
        if step % 100 == 0:
            sys.stderr.write(f"step {step}/{steps}: {said / 100:.3f} nats per token\n")
            said = 0.0


def packed_loss(model: LlamaForCausalLM, batch: Batch, prompt_weight: float) -> Float[Tensor, ""]:
    """Return the weighted mean of −log P of every token but a row's first, attention across chats."""
    weights = batch.weights(prompt_weight)[:, 1:]
    return (nats(model, batch.ids) * weights).sum() / weights.sum()


def nats(model: LlamaForCausalLM, ids: Int[Tensor, "row position"]) -> Float[Tensor, "row next"]:
    """Return −log P of every token but a row's first, given all before it in its row."""
    logits = model(ids, use_cache=False).logits[:, :-1].float()
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)


def _batches(chats: Sequence[Chat], schedule: PackedSchedule) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(schedule.seed)
    for _ in range(schedule.epochs):
        order = torch.randperm(len(chats), generator=generator).tolist()
        rows = pack([chats[i] for i in order], schedule.row_tokens)
        for start in range(0, len(rows.ids), schedule.batch_rows):
            end = start + schedule.batch_rows
            yield Batch(rows.ids[start:end], rows.prompt[start:end], rows.real[start:end])

"""Train models/tiny-instruct: next tokens of whole chats first, above all those of the assistant after that."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn."""

    epochs_all: int
    epochs_assistant: int
    prompt_weight: float
    """What a token before the assistant's words counts for in the second phase, so that it is not forgotten."""
    batch_chats: int
    lr: float
    warmup_steps: int
    weight_decay: float
    seed: int


@dataclass(frozen=True)
class Batch:
    """Chats of about one length, padded on the right."""

    ids: Int[Tensor, "chat position"]
    prompt: Bool[Tensor, "chat position"]
    """Where nothing is said by the assistant."""
    real: Bool[Tensor, "chat position"]

    def weights(self, prompt_weight: float) -> Float[Tensor, "chat position"]:
        """Return what each token counts for as a target: 1, `prompt_weight` before the assistant's words, 0 padding."""
        return self.real * torch.where(self.prompt, prompt_weight, 1.0)


def batches(chats: Sequence[tuple[list[int], int]], size: int, generator: torch.Generator | None) -> Iterator[Batch]:
    """Yield every chat once, in batches of about one length.

    Args:
        chats: Token ids, and how many stand before the assistant's words.
        size: Chats in a batch.
        generator: For the order of batches and of chats of one length; None: as given.
    """
    order = _shuffled(len(chats), generator)
    by_length = sorted(order, key=lambda i: len(chats[i][0]))
    portions = [by_length[i : i + size] for i in range(0, len(by_length), size)]
    for i in _shuffled(len(portions), generator):
        yield _pad([chats[j] for j in portions[i]])


def train(model: LlamaForCausalLM, chats: Sequence[tuple[list[int], int]], schedule: Schedule) -> None:
    """Train in place, with AdamW, a linear warm-up and a cosine decay to nothing over both phases."""
    phases = [1.0] * schedule.epochs_all + [schedule.prompt_weight] * schedule.epochs_assistant
    steps_per_epoch = math.ceil(len(chats) / schedule.batch_chats)
    total = steps_per_epoch * len(phases)
    optimiser = torch.optim.AdamW(model.parameters(), schedule.lr, (0.9, 0.98), weight_decay=schedule.weight_decay)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, schedule.warmup_steps, total))
    generator = torch.Generator().manual_seed(schedule.seed)
    for epoch, prompt_weight in enumerate(phases):
        losses = []
        for batch in batches(chats, schedule.batch_chats, generator):
            loss = _loss(model, batch, prompt_weight)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
            optimiser.zero_grad(set_to_none=True)
            losses.append(loss.item())
            if len(losses) % 100 == 0:
                _say(epoch, len(losses), steps_per_epoch, losses)
        _say(epoch, len(losses), steps_per_epoch, losses)


def _loss(model: LlamaForCausalLM, batch: Batch, prompt_weight: float) -> Float[Tensor, ""]:
    states = model.model(batch.ids, attention_mask=batch.real.long(), use_cache=False).last_hidden_state
    weights = batch.weights(prompt_weight)[:, 1:].flatten()
    here = weights > 0  # the head is the dearest part: it sees no position whose next token counts for nothing
    logits = model.lm_head(states[:, :-1].flatten(0, 1)[here])
    nats = cross_entropy(logits, batch.ids[:, 1:].flatten()[here], reduction="none")
    return (nats * weights[here]).sum() / weights.sum()


def _rate(step: int, warmup: int, total: int) -> float:
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))


def _pad(chats: Sequence[tuple[list[int], int]]) -> Batch:
    longest = max(len(ids) for ids, _ in chats)
    ids = torch.zeros(len(chats), longest, dtype=torch.long)
    for row, (known, _) in enumerate(chats):
        ids[row, : len(known)] = torch.tensor(known)
    place = torch.arange(longest)
    prompts = torch.tensor([[n] for _, n in chats])
    lengths = torch.tensor([[len(known)] for known, _ in chats])
    return Batch(ids, place < prompts, place < lengths)


def _shuffled(n: int, generator: torch.Generator | None) -> list[int]:
    return list(range(n)) if generator is None else torch.randperm(n, generator=generator).tolist()


def _say(epoch: int, step: int, steps: int, losses: Sequence[float]) -> None:
    recent = losses[-100:]
    sys.stderr.write(f"epoch {epoch + 1}, step {step}/{steps}: {sum(recent) / len(recent):.3f} nats per token\n")

"""Greedy generation with a vector added to each row's hidden states, several prompts and vectors at once.

The vector is added at every position of `hidden_states[layer]`, of the prompt and of what is written. Prompts of one
length share a batch, so that nothing is padded, and models that take no positions can be run too.

Cost: one pass over the prompts and one per token written, each token read once. Memory: the model, and the keys and
values of a batch.
"""

from collections.abc import Callable, Collection, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from fast_sae.activations.live.batches import plan_batches
from fast_sae.splice.causal_lm import CausalLM


def generate(
    lm: CausalLM,
    prompts: Sequence[Sequence[int]],
    shifts: Float[Tensor, "prompt d_in"],
    layer: int,
    *,
    stop: Collection[int],
    max_new_tokens: int,
    batch_tokens: int,
    done: Callable[[int], object] = lambda rows: None,
) -> list[list[int]]:
    """Continue each prompt with the likeliest token each time, the first of equally likely ones.

    Args:
        lm: The model.
        prompts: Token ids, none empty.
        shifts: What is added to the hidden states of each; 0 leaves the model as it is.
        layer: Index into `hidden_states`.
        stop: Tokens that end a continuation, which keeps them.
        max_new_tokens: Tokens written at most.
        batch_tokens: Tokens in one batch, those that may be written too.
        done: Told the number of prompts of each batch.

    Raises:
        ModelError: if the layer does not exist.
    """
    written: list[list[int]] = [[] for _ in prompts]
    of_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        of_length.setdefault(len(prompt), []).append(i)
    for length, chosen in of_length.items():
        for rows in plan_batches(chosen, [length + max_new_tokens] * len(prompts), batch_tokens):
            batch = [i for row in rows for i in row]
            ids = torch.tensor([prompts[i] for i in batch], device=lm.model.device)
            with lm.shifted(layer, shifts[batch].to(lm.model.device)):
                found = _continue(lm, ids, stop, max_new_tokens)
            for i, tokens in zip(batch, found, strict=True):
                written[i] = tokens
            done(len(batch))
    return written


def stop_tokens(lm: CausalLM, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end what a model writes, by its generation_config.json and by its tokenizer."""
    configured = cast(GenerationConfig, lm.model.generation_config).eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)


def _continue(
    lm: CausalLM, prompts: Int64[Tensor, "batch position"], stop: Collection[int], limit: int
) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    going = list(range(len(prompts)))
    whole, fed, past = prompts, prompts, None
    for _ in range(limit):
        logits, past = lm.next_logits(fed, past)
        likeliest = logits.argmax(-1, keepdim=True)
        chosen = likeliest[:, 0].tolist()
        for row in going:
            written[row].append(chosen[row])
        going = [row for row in going if chosen[row] not in stop]
        if not going:
            break
        whole = torch.cat([whole, likeliest], 1)
        fed = whole if past is None else likeliest
    return written

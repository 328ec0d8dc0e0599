"""How well a model reads chats that stand alone, and how well in blocks cut from a stream of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import LlamaForCausalLM

from tiny_instruct.packing import Chat, nats, pack


@torch.no_grad()
def perplexities(model: LlamaForCausalLM, chats: Sequence[Chat], row_tokens: int) -> dict[str, float]:
    """Return exp(mean −log P) of the same tokens, read in whole chats and in blocks of a stream.

    The tokens: of all chats that fill the blocks, those with a token before them in both readings, so neither a chat's
    begin-of-text nor a block's first.
    """
    blocks = pack(chats, row_tokens)
    whole = torch.cat([torch.cat([torch.zeros(1), nats(model, torch.tensor(ids)[None])[0]]) for ids, _ in chats])
    packed = torch.cat([nats(model, row[None]) for row in blocks.ids])
    counted = _not_first(chats)[: blocks.ids.numel()].view(blocks.ids.shape)[:, 1:]
    read = {"chats": whole[: blocks.ids.numel()].view(blocks.ids.shape)[:, 1:], "blocks": packed}
    return {name: found[counted].double().mean().exp().item() for name, found in read.items()}


def _not_first(chats: Sequence[Chat]) -> Bool[Tensor, " token"]:
    return torch.tensor([place > 0 for ids, _ in chats for place in range(len(ids))])

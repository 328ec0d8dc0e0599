"""The last step of a language model by itself: its final norm and its LM head, without the blocks before them.

Cost: the embedding and the LM head are all that is read of the weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from fast_sae.activations.live.float64 import float64_for_float32
from fast_sae.activations.live.model import told, where
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError


@dataclass(frozen=True)
class Unembedding:
    """What a direction in the residual stream adds to the logits."""

    norm: nn.Module | None
    """The final norm; None for directions that are read behind it, and for a model that has none."""
    head: Float[Tensor, "vocabulary d_in"]
    """The weight of the LM head."""

    @torch.no_grad()
    def logits(self, directions: Float[Tensor, "direction d_in"]) -> Float[Tensor, "direction vocabulary"]:
        """Return the logit lens of directions (nostalgebraist 2020): which tokens they promote and suppress.

        Equation: W_U (norm(d) − norm(0)) / √d_in, without the head's bias. For an RMS norm of gain γ and a direction of
        norm 1 that is W_U (γ ⊙ d): what d adds to the logits of an activation whose root mean square is 1; a layer norm
        centres d first.
        """
        directions = directions.to(self.head)
        if self.norm is not None:
            with float64_for_float32() if self.head.dtype == torch.float64 else nullcontext():
                directions = self.norm(directions) - self.norm(torch.zeros_like(directions))
            directions = directions / directions.shape[1] ** 0.5
        return directions @ self.head.T


def load_unembedding(settings: ModelSettings, commit: str | None, layer: int, device: torch.device) -> Unembedding:
    """Load a model's final norm and LM head.

    Args:
        settings: The `model` section.
        commit: Of a model on the hub.
        layer: Index into `hidden_states` of the directions: the last is behind the final norm.
        device: Where to put them.

    Raises:
        ModelError: if the model has no LM head, or cannot be loaded.
    """
    with told(settings), _quiet():
        config = AutoConfig.from_pretrained(**where(settings, commit), trust_remote_code=False)
        text = config.get_text_config()
        n_blocks, text.num_hidden_layers = text.num_hidden_layers, 0
        loaded = AutoModelForCausalLM.from_pretrained(
            **where(settings, commit),
            config=config,
            dtype=getattr(torch, settings.dtype),
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, loading = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
    head = model.get_output_embeddings()
    if head is None or loading["missing_keys"]:
        raise ModelError(f"{settings.name} has no LM head; set features.logit_tokens: 0")
    norm = _final_norm(model) if layer < n_blocks else None
    weight = cast(Tensor, head.weight).detach()
    return Unembedding(norm.to(device) if norm else None, weight.to(device))


def _final_norm(model: PreTrainedModel) -> nn.Module | None:
    """Find the final norm: without blocks, the only norm that is left, or the last."""
    norms = [module for module in model.modules() if "norm" in type(module).__name__.lower()]
    return norms[-1] if norms else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from listing the weights of the blocks, which are left out on purpose."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)

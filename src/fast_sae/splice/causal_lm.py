"""A whole causal language model, one of whose `hidden_states` can be replaced while it runs.

Nothing here knows an SAE: what is put in is a function of activations, such as a reconstruction, a mean, or zero.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils.generic import ModelOutput

from fast_sae.activations.live.float64 import compute_in_float64
from fast_sae.activations.live.model import find_blocks, pad, takes, told, where
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError

Replace = Callable[[Float[Tensor, "row d_in"]], Float[Tensor, "row d_in"]]
"""What stands in for some activations, given these."""


class NoCausalLMError(ModelError):
    """A model that does not predict the next token."""


@dataclass(frozen=True)
class Batch:
    """Some sequences, brought to one length by padding that is masked."""

    inputs: Mapping[str, Tensor]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], *, pad_left: bool, device: torch.device) -> "Batch":
        """Pad token ids, behind the shorter sequences or before them."""
        return cls({name: tensor.to(device) for name, tensor in pad(sequences, pad_left=pad_left).items()})

    @property
    def token_ids(self) -> Int64[Tensor, "batch position"]:
        """Of each position; 0 where it is padding, which is also a token's id: see `real`."""
        return self.inputs["input_ids"]

    @property
    def real(self) -> Bool[Tensor, "batch position"]:
        """Whether a position holds a token, and not padding."""
        return self.inputs["attention_mask"].bool()

    def at(self, flags: Bool[Tensor, " token"]) -> Bool[Tensor, "batch position"]:
        """Put flags of the tokens, sequence behind sequence, where their tokens are; padding has none."""
        placed = torch.zeros_like(self.real)
        placed[self.real] = flags.to(placed.device)
        return placed


class CausalLM:
    """A `transformers` model with its LM head, run without gradients.

    `hidden_states[n]` means what it means to `TruncatedModel`: what enters block n, and for the last n the output of
    the base model, after its final norm, which the LM head reads.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Take a model with its LM head."""
        self.model = model.eval().requires_grad_(False)
        self._blocks = find_blocks(model)
        self.n_blocks = len(self._blocks)
        self.d_in: int = model.config.get_text_config().hidden_size
        self._options = {"use_cache": False} if takes(model, "use_cache") else {}
        self._one_logit = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}  # where no more is asked for

    def batch(self, sequences: Sequence[Sequence[int]], *, pad_left: bool = False) -> Batch:
        """Bring token ids to one length, on the model's device; before them only if the model takes positions."""
        left = pad_left and takes(self.model, "position_ids")
        return Batch.of(sequences, pad_left=left, device=self.model.device)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "batch position vocabulary"]:
        """Return the logits of every position, in the model's type; those of padding mean nothing."""
        return self.model(**batch.inputs, **self._options).logits

    @torch.no_grad()
    def next_logits(
        self, token_ids: Int64[Tensor, "batch position"], past: object = None
    ) -> tuple[Float[Tensor, "batch vocabulary"], object]:
        """Return the logits behind sequences of one length, and what the next call needs to be told new tokens alone.

        Args:
            token_ids: The sequences; with `past`, their new tokens.
            past: What the call before gave; None at first, and of a model that keeps nothing.
        """
        kept = {"use_cache": True, "past_key_values": past} if takes(self.model, "past_key_values") else {}
        output = self.model(input_ids=token_ids, **kept, **self._one_logit)
        return output.logits[:, -1], output.get("past_key_values")

    @torch.no_grad()
    def read(self, batch: Batch, layer: int, mask: Bool[Tensor, "batch position"]) -> Float[Tensor, "row d_in"]:
        """Return `hidden_states[layer]` at the masked positions, sequence behind sequence."""
        found: list[Tensor] = []

        def keep(states: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_in"]:
            found.append(states)
            return states

        with self.spliced(layer, mask, keep):
            self.model(**batch.inputs, **self._options, **self._one_logit)
        return found[0]

    @contextmanager
    def spliced(self, layer: int, mask: Bool[Tensor, "batch position"], replace: Replace) -> Iterator[None]:
        """Replace `hidden_states[layer]` in every pass within the block; the model is itself again behind it.

        Args:
            layer: Index into `hidden_states`.
            mask: Positions whose activations are replaced; the others are not touched.
            replace: Given the activations of the masked positions, returns what is to stand there, in any type.

        Raises:
            ModelError: if the layer does not exist.
        """

        def put_in(states: Float[Tensor, "batch position d_in"]) -> Float[Tensor, "batch position d_in"]:
            states = states.clone()
            states[mask] = replace(states[mask]).to(states)
            return states

        with self._changed(layer, put_in):
            yield

    @contextmanager
    def shifted(self, layer: int, shift: Float[Tensor, "batch d_in"]) -> Iterator[None]:
        """Add each row's own vector to `hidden_states[layer]` at every position, in every pass within the block.

        Padding is shifted too, which nothing reads: it is masked wherever a token attends.

        Args:
            layer: Index into `hidden_states`.
            shift: What is added, of each row of the batches that are run.

        Raises:
            ModelError: if the layer does not exist.
        """

        def add(states: Float[Tensor, "batch position d_in"]) -> Float[Tensor, "batch position d_in"]:
            return states + shift[:, None].to(states)

        with self._changed(layer, add):
            yield

    @contextmanager
    def _changed(self, layer: int, put_in: Callable[[Tensor], Tensor]) -> Iterator[None]:
        if layer > self.n_blocks:
            raise ModelError(f"layer {layer} does not exist: hidden_states of this model end at {self.n_blocks}")
        handle = self._enter(self._blocks[layer], put_in) if layer < self.n_blocks else self._leave(put_in)
        try:
            yield
        finally:
            handle.remove()

    def _enter(self, block: nn.Module, put_in: Callable[[Tensor], Tensor]):  # noqa: ANN202  (torch's handle)
        """Change what enters a block."""

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if args:
                return (put_in(args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": put_in(kwargs["hidden_states"])}

        return block.register_forward_pre_hook(hook, with_kwargs=True)

    def _leave(self, put_in: Callable[[Tensor], Tensor]):  # noqa: ANN202  (torch's handle)
        """Change what the base model puts out."""

        def hook(_: nn.Module, args: tuple[Any, ...], output: ModelOutput) -> ModelOutput:
            output["last_hidden_state"] = put_in(cast(Tensor, output["last_hidden_state"]))
            return output

        return self.model.base_model.register_forward_hook(hook)

    def is_causal(self) -> bool:
        """Find out by trial whether what a token predicts hangs on later tokens."""
        first, second = (self.logits(self.batch([[0, later]]))[0, 0] for later in (0, 1))
        return torch.equal(first, second)


def load_causal_lm(settings: ModelSettings, commit: str | None, device: torch.device) -> CausalLM:
    """Load a whole model by folder, or by hub id and commit, on the CPU, and put it on `device`.

    Raises:
        NoCausalLMError: if the model, such as an encoder, does not predict the next token.
        ModelError: if it cannot be loaded.
    """
    name = settings.name
    with told(settings):
        config = AutoConfig.from_pretrained(**where(settings, commit), trust_remote_code=False)
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise NoCausalLMError(f"{name} has no LM head: transformers knows none for {type(config).__name__}")
        loaded = AutoModelForCausalLM.from_pretrained(
            **where(settings, commit),
            dtype=getattr(torch, settings.dtype),
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, loading = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
    if missing := sorted(loading["missing_keys"]):
        raise NoCausalLMError(f"{name} has no LM head: its files lack {len(missing)} weights, such as {missing[0]}")
    if settings.dtype == "float64":
        compute_in_float64(model)
    model.to(device)  # type: ignore[arg-type]
    lm = CausalLM(model)
    if not lm.is_causal():
        raise NoCausalLMError(f"{name} does not predict the next token: what it says of one hangs on later ones")
    return lm

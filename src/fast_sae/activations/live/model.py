"""A language model cut down to what is read: the blocks up to the deepest wanted layer, and no LM head."""

import functools
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from fast_sae.activations.live.float64 import compute_in_float64
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError


class _DeepestReached(Exception):
    """Raised inside the model's pass once the deepest wanted layer is known."""


class TruncatedModel:
    """A `transformers` model that computes some of its `hidden_states`, and nothing beyond them.

    `hidden_states[n]` is what enters block n (for n = 0, the embedding), and for the last n the model's own output,
    after its final norm. The blocks behind the deepest wanted layer are removed.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[int], blocks: nn.ModuleList | None = None) -> None:
        """Cut `model` down in place.

        Args:
            model: A base model, without LM head.
            layers: Rising indices into `hidden_states`.
            blocks: The model's blocks, of which those behind the deepest layer may be gone; None: they are found.

        Raises:
            ModelError: if a layer does not exist or the model's blocks cannot be found.
        """
        self.layers = tuple(layers)
        blocks = find_blocks(model) if blocks is None else blocks
        self.n_blocks: int = model.config.get_text_config().num_hidden_layers
        if layers[-1] > self.n_blocks:
            raise ModelError(f"layer {layers[-1]} does not exist: hidden_states of this model end at {self.n_blocks}")
        self._entered = {n: blocks[n] for n in layers if n < self.n_blocks}
        del blocks[layers[-1] + 1 :]
        self.model = model.eval().requires_grad_(False)
        self.d_in: int = model.config.get_text_config().hidden_size
        self.takes_positions = takes(model, "position_ids")
        self._options = {"use_cache": False} if takes(model, "use_cache") else {}

    @torch.no_grad()
    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> dict[int, list[Float[Tensor, "_ d_in"]]]:
        """Return, for each wanted layer, the activations of each sequence, as if it had been fed alone.

        Shorter sequences are padded behind, where a causal model never looks: it is given no mask, so that its
        attention takes the kernel that skips what lies ahead, and no mask is built.

        Args:
            sequences: Token ids of each sequence, none empty.
        """
        inputs = pad(sequences, pad_left=False)
        if self.causal:
            del inputs["attention_mask"]
        return {
            layer: [row[: len(sequence)] for row, sequence in zip(states, sequences, strict=True)]
            for layer, states in self._run(inputs).items()
        }

    @torch.no_grad()
    def packed_states(self, rows: Sequence[Sequence[Sequence[int]]]) -> dict[int, list[Float[Tensor, "_ d_in"]]]:
        """Return the same for sequences that share rows, one behind another; those of the first row come first.

        Positions start anew with each sequence. transformers takes that, where no mask is given, for a sign that each
        attends to itself alone (`find_packed_sequence_indices`); shorter rows are filled with a sequence of their own.

        Args:
            rows: The sequences of each row, none empty; for causal models that take positions.
        """
        assert self.takes_positions
        found = self._run(_pack(rows))
        lengths = [[len(sequence) for sequence in row] for row in rows]
        return {
            layer: [part for row, n in zip(states, lengths, strict=True) for part in row[: sum(n)].split(n)]
            for layer, states in found.items()
        }

    @functools.cached_property
    def causal(self) -> bool:
        """Whether a token's activations hang on no later token, found out by trial."""
        deepest = self.layers[-1]
        one, other = ([1, 2], [1, 3]) if self.model.config.get_text_config().vocab_size > 3 else ([0, 0], [0, 1])
        with torch.no_grad():
            first, second = (self._run({"input_ids": torch.tensor([ids])})[deepest][0, 0] for ids in (one, other))
        return deepest == 0 or torch.equal(first, second)

    def _run(self, inputs: Mapping[str, Tensor]) -> dict[int, Float[Tensor, "batch position d_in"]]:
        found: dict[int, Tensor] = {}
        inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
        hooks = [
            block.register_forward_pre_hook(self._keep(layer, found), with_kwargs=True)
            for layer, block in self._entered.items()
        ]
        try:
            output = self.model(**inputs, **self._options)
            found[self.layers[-1]] = output.last_hidden_state
        except _DeepestReached:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return {layer: found[layer] for layer in self.layers}

    def _keep(self, layer: int, found: dict[int, Tensor]):  # noqa: ANN202  (torch's hook type is private)
        def hook(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            found[layer] = cast(Tensor, args[0] if args else kwargs["hidden_states"])
            if layer == self.layers[-1]:
                raise _DeepestReached

        return hook


def takes(model: PreTrainedModel, argument: str) -> bool:
    """Whether a model's pass knows an argument."""
    return argument in inspect.signature(model.forward).parameters


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Find the list of a model's blocks: the only one as long as its config says."""
    wanted = model.config.get_text_config().num_hidden_layers
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == wanted]
    if len(lists) != 1:
        raise ModelError(f"{type(model).__name__}: {len(lists)} lists of {wanted} blocks were found, not one")
    return lists[0]


def load_model(
    settings: ModelSettings, commit: str | None, layers: Sequence[int], device: torch.device
) -> TruncatedModel:
    """Load a model by folder, or by hub id and commit, cut down, and put it on `device`.

    Weights of the blocks behind the deepest layer, and of the LM head, are not read. Memory: the weights that are kept.
    """
    with told(settings):
        config = AutoConfig.from_pretrained(**where(settings, commit), trust_remote_code=False)
        with torch.device("meta"):
            outline = AutoModel.from_config(config, trust_remote_code=False)
        blocks = find_blocks(outline)
        place = next(name for name, module in outline.named_modules() if module is blocks)
        dropped = range(layers[-1] + 1, len(blocks))
        loaded = _without_blocks(type(outline), place, dropped).from_pretrained(
            **where(settings, commit),
            dtype=getattr(torch, settings.dtype),
            use_safetensors=True,
            output_loading_info=True,
        )
    model, loading = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
    truncated = TruncatedModel(model, layers, cast(nn.ModuleList, model.get_submodule(place)))
    read = {name for name, _ in truncated.model.named_parameters() if "pooler" not in name}
    if missing := sorted(read & {*loading["missing_keys"]}):
        raise ModelError(f"{settings.name} lacks {len(missing)} weights that would be read, such as {missing[0]}")
    if settings.dtype == "float64":
        compute_in_float64(truncated.model)
    truncated.model.to(device)  # type: ignore[arg-type]
    return truncated


def _without_blocks(family: type[PreTrainedModel], place: str, dropped: range) -> type[PreTrainedModel]:
    """Return a model class whose last blocks are gone before any weight is read.

    The config still tells their number, since some families compute with it.
    """
    ignored = [rf"(^|\.){re.escape(place)}\.{n}\." for n in dropped]  # weights that would be told as unexpected

    def init(self: PreTrainedModel, config: PreTrainedConfig, **options: object) -> None:
        family.__init__(self, config, **options)
        del cast(nn.ModuleList, self.get_submodule(place))[dropped.start :]

    members = {"__init__": init, "__module__": family.__module__}
    known = family._keys_to_ignore_on_load_unexpected or []
    return type(family.__name__, (family,), members | {"_keys_to_ignore_on_load_unexpected": [*known, *ignored]})


def load_tokenizer(settings: ModelSettings, commit: str | None) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a model."""
    with told(settings):
        return AutoTokenizer.from_pretrained(**where(settings, commit), trust_remote_code=False)


@contextmanager
def told(settings: ModelSettings) -> Iterator[None]:
    """Tell in one line what transformers says of a model that it cannot load."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, ArithmeticError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{settings.name} cannot be loaded: {first}") from None


def where(settings: ModelSettings, commit: str | None) -> dict[str, Any]:
    """Name a model's place for `from_pretrained`."""
    return {
        "pretrained_model_name_or_path": settings.name,
        "revision": commit or "main",
        "local_files_only": settings.is_local,
    }


def pad(sequences: Sequence[Sequence[int]], *, pad_left: bool) -> dict[str, Tensor]:
    """Bring sequences to one length; the padding is masked, so its token id (0) never matters.

    Positions are told only where padding shifts them: some models count theirs from elsewhere (RoBERTa from 2).
    """
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), None) if pad_left else slice(len(sequence))
        ids[row, place] = torch.as_tensor(sequence, dtype=torch.long)
        mask[row, place] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs | ({"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if pad_left else {})


def _pack(rows: Sequence[Sequence[Sequence[int]]]) -> dict[str, Tensor]:
    """Put the sequences of each row one behind another, with positions that start anew; token 0 fills up."""
    longest = max(sum(map(len, row)) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        at = 0
        for sequence in [*row, [0] * (longest - sum(map(len, row)))]:
            ids[number, at : at + len(sequence)] = torch.as_tensor(sequence, dtype=torch.long)
            positions[number, at : at + len(sequence)] = torch.arange(len(sequence))
            at += len(sequence)
    return {"input_ids": ids, "position_ids": positions}

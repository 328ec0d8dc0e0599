"""A model loaded in float64 computes in float64 throughout, so that its rounded activations are the same everywhere.

In float32 another processor, thread count or batch gives other last bits, and with them other bytes in the shards. In
float64 those bits lie so far below a float16's last that about one number in 10^10 can still round the other way. But
transformers goes through float32 whatever the model's type: in RMSNorm, in rotary embeddings (frequencies, angles,
cosines and sines), in the softmax of its `eager` attention. Here each float32 that the model's code asks for, in so
many words or by default, is read as float64: every family keeps its own formulas, and nothing is written anew.

Differs from transformers: by about 1e-7 relatively, the rounding that is left out (at position p, up to p · 1e-7 in a
rotary angle). What stays float32: tables that a model makes once in float32 and that are no rotary frequencies, such
as GPT-J's sines; they are told.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from fast_sae.errors import ModelError
from fast_sae.progress import say

_P = ParamSpec("_P")
_R = TypeVar("_R")
_TOLERANCE = 1e-5
"""Largest relative difference between a table in float64 and the float32 one that it replaces."""


def compute_in_float64(model: PreTrainedModel) -> None:
    """Make a model that was loaded in float64 compute its whole pass in float64, in place.

    Args:
        model: A model of any family, with or without LM head, whose parameters are float64.

    Raises:
        ModelError: if rotary frequencies made anew in float64 are not the model's.
    """
    for name, module in model.named_modules():
        if type(module).__name__.endswith("RotaryEmbedding") and hasattr(module, "config"):
            _remake_tables(name, module)
    if left := [f"{name}.{table}" for name, module in model.named_modules() for table, _ in _narrow(module)]:
        say(f"model.dtype is float64, but the model keeps {len(left)} tables in float32, such as {left[0]}")
    model.forward = _in_float64(model.forward)


@contextmanager
def float64_for_float32() -> Iterator[None]:
    """Let code that asks torch for float32 have float64."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float64ForFloat32():
            yield
    finally:
        torch.set_default_dtype(default)


class _Float64ForFloat32(TorchFunctionMode):
    """Reads `torch.float32` as `torch.float64` in every call of torch, and `.float()` as `.double()`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever torch's function returns)
        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(_widened, args), **{name: _widened(value) for name, value in (kwargs or {}).items()})


def _widened(value: object) -> object:
    return torch.float64 if value is torch.float32 else value


def _narrow(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the module's own tables in float32; a lone number, such as Gemma's scale, is the same everywhere."""
    return (
        (name, table)
        for name, table in module.named_buffers(recurse=False)
        if table.dtype == torch.float32 and table.ndim > 0
    )


def _remake_tables(name: str, module: nn.Module) -> None:
    """Make rotary frequencies anew by the module's own constructor, whichever type of them it uses."""
    with float64_for_float32():
        made = dict(type(module)(module.config).named_buffers())
    for table, narrow in [*_narrow(module)]:
        wide = made[table].to(narrow.device)
        if not _agree(wide, narrow):
            raise ModelError(f"{name}.{table} of this model cannot be computed in float64; set model.dtype: float32")
        setattr(module, table, wide)


def _agree(wide: Float[Tensor, "..."], narrow: Float[Tensor, "..."]) -> bool:
    return wide.shape == narrow.shape and torch.allclose(wide, narrow.double(), rtol=_TOLERANCE, atol=0)


def _in_float64(forward: Callable[_P, _R]) -> Callable[_P, _R]:
    @functools.wraps(forward)
    def wide(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with float64_for_float32():
            return forward(*args, **kwargs)

    return wide

"""The `runtime` section: where and in what portions to compute.

No stage tracks it: it changes speed and memory, and results only within the tolerance of the arithmetic.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fast_sae.errors import ParamsError
from fast_sae.params import Settings

if TYPE_CHECKING:
    import torch


class RuntimeSettings(Settings):
    """What DVC does not track."""

    device: Literal["auto", "cpu", "cuda"]
    """Where to compute; auto takes a CUDA GPU where there is one."""
    extract_batch_tokens: Annotated[int, Field(gt=0)] | None
    """Tokens, padding included, in one batch of the language model; null: as many as suit the device. Halved when the
    GPU runs out of memory."""
    extract_rows: Literal["padded", "packed"]
    """How a batch of the language model is laid out: one example a row, padded to the longest; or several examples a
    row, each attending to itself alone, for causal models whose equality is checked when extraction starts."""
    lm_batch_tokens: Annotated[int, Field(gt=0)]
    """Tokens, padding included, in one batch of the whole language model; each gives logits over the vocabulary."""
    sae_batch_rows: Annotated[int, Field(gt=0)]
    """Activation rows encoded at once where nothing is trained (validation, evaluation), at most."""

    def rows_at_once(self, width: int) -> int:
        """Return how many rows of a width, that of the activations or of the latents, are encoded at once.

        `sae_batch_rows`, and fewer where those of a wide SAE would be beyond 2**24 numbers: 128 MB in float64.

        >>> wide = RuntimeSettings.model_construct(sae_batch_rows=8192)
        >>> wide.rows_at_once(512), wide.rows_at_once(65536)
        (8192, 256)
        """
        return max(1, min(self.sae_batch_rows, 2**24 // width))

    def extract_tokens(self) -> int:
        """Return the tokens in one batch of the language model on this machine."""
        return self.extract_batch_tokens or _EXTRACT_TOKENS[self.torch_device().type]

    def torch_device(self) -> "torch.device":
        """Return the device to compute on; refuse one that this machine lacks."""
        import torch  # here, so that checking params.yaml does not wait for torch to load

        there = torch.cuda.is_available()
        if self.device == "cuda" and not there:
            raise ParamsError("params.yaml: runtime.device is cuda, and this machine has none; set auto")
        return torch.device("cuda" if there and self.device != "cpu" else "cpu")


_EXTRACT_TOKENS = {"cpu": 1024, "cuda": 8192}
"""Measured on a CPU: a batch's activations should stay in its cache, and past some hundred rows products gain nothing
more. A GPU wants enough rows to be full."""


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch share each operation of the calling thread among n threads."""
    import torch  # here, as above

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def give_freed_memory_back() -> None:
    """Make glibc return large blocks to the system when they are freed; without glibc, nothing happens.

    By itself it keeps freed blocks of up to 32 MB for later. Where a pass makes large temporaries and keeps small
    things between them, what it keeps falls to pieces, and memory grows with the data though nothing holds it. The
    price is a page fault for each page of a temporary, which training would feel.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_MMAP_THRESHOLD, 2**20)


_M_MMAP_THRESHOLD = -3
"""Of malloc.h: the size from which a block is the system's own."""

"""What is measured: the settings of the training benchmark, and the libraries that run it."""

from dataclasses import dataclass
from typing import Literal

LIBRARIES = {
    "ours": "benchmarks.ours",
    "hypothesaes": "benchmarks.peers.hypothesaes",
    "dictionary_learning": "benchmarks.peers.dictionary_learning",
    "sae_lens": "benchmarks.peers.sae_lens",
    "sparsify": "benchmarks.peers.sparsify",
}
"""The name of each library in results.json, and the module whose `train` drives it."""
MATRYOSHKA = ("ours", "hypothesaes")
"""The libraries that train a Matryoshka Top-K SAE of nested prefixes."""


@dataclass(frozen=True)
class Setting:
    """One Top-K SAE, and what it is trained on."""

    name: str
    d_in: int
    M: int
    K: int
    batch: int
    steps: int
    """Steps of one run: a few seconds of the slowest library on two cores."""
    source: Literal["texts", "mixture"]
    """Activations of a language model on texts, or a seeded mixture (`benchmarks.rows`)."""
    matryoshka: tuple[int, ...] | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs unless --settings asks for it elsewhere."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those that can train it."""
        return MATRYOSHKA if self.matryoshka else tuple(LIBRARIES)


_ALL = (
    Setting("S1", 384, 256, 8, 512, 400, "texts"),
    Setting("S2", 4096, 256, 8, 512, 60, "mixture"),
    Setting("S3", 384, 8192, 32, 2048, 12, "texts"),
    Setting("S4", 4096, 4096, 32, 1024, 10, "mixture"),
    Setting("S1m", 384, 256, 8, 512, 400, "texts", (64, 256)),
    Setting("S2m", 4096, 256, 8, 512, 60, "mixture", (64, 256)),
    Setting("G1", 4096, 32768, 64, 8192, 30, "mixture", device="cuda"),
    Setting("G2", 4096, 131072, 64, 8192, 15, "mixture", device="cuda"),
)
SETTINGS = {setting.name: setting for setting in _ALL}
"""Each setting by its name."""

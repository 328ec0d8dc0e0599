"""Extraction: ours beside the original's way, which feeds each text alone to the whole model in float32.

Two models: a random Llama of 24 blocks read at layer 12, on random tokens of the lengths of real texts; and MiniLM read
at layer 4 on texts. The ways alternate; what a way computes is compared, token by token, with the original's.
"""

import copy
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor
from transformers import AutoModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.peak import measure_product
from benchmarks.rows import LAYER, encoder_settings, extract_settings, read_texts, runtime
from fast_sae.activations.live.extractor import Extractor
from fast_sae.activations.live.model import TruncatedModel, find_blocks, load_tokenizer
from fast_sae.progress import say

Passes = Sequence[Int32[np.ndarray, " position"]]
Rows = Float[np.ndarray, "token d_in"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_LLAMA_LAYER, _LLAMA_TEXTS, _MINILM_TEXTS = 12, 32, 200
_SECONDS = 15
"""What bfloat16 may take, as measured: where no unit does it, on fewer texts."""
_LENGTHS = (np.log(89), 0.16, 145)
"""Of the logarithm of a length, the mean and the standard deviation; and the longest: 89 tokens in the mean."""


@dataclass(frozen=True)
class Case:
    """One model, one layer, some texts."""

    name: str
    model: PreTrainedModel
    """Whole, in float32."""
    layer: int
    passes: Passes

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return sum(map(len, self.passes))

    @property
    def base(self) -> PreTrainedModel:
        """The model without its head."""
        return cast(PreTrainedModel, self.model.base_model)

    def first(self, tokens: float) -> "Case":
        """Return the same of the first texts only, as many as have so many tokens, and one at least."""
        whole = max(1, int(np.searchsorted(np.cumsum([len(of_text) for of_text in self.passes]), tokens, "right")))
        return replace(self, passes=self.passes[:whole])

    def original(self) -> Rows:
        """Compute as the original does: one text at a time, all layers, all hidden states, the language model's head.

        Source: SAE_train's `extract_activations.py`, which this project grows from.
        """
        found = []
        with torch.no_grad():
            for tokens in self.passes:
                ids = torch.from_numpy(tokens.astype(np.int64))[None].to(self.model.device)
                found.append(self.model(input_ids=ids, output_hidden_states=True).hidden_states[self.layer][0].cpu())
        return torch.cat(found).numpy()

    def extractor(self, dtype: torch.dtype) -> Extractor:
        """Make ours, in a type of its own; what it computes is kept in float32 so that it can be compared."""
        base = copy.deepcopy(self.base)
        model = TruncatedModel(base.to(dtype), [self.layer])  # type: ignore[arg-type]
        return Extractor(model, extract_settings("float32"), runtime().extract_tokens())


class Way:
    """One way to compute a case, and its runs."""

    def __init__(self, case: Case, compute: Callable[[], Rows]) -> None:
        """Take what computes the rows of the case's texts."""
        self.case, self._compute = case, compute
        self.runs: list[dict[str, float]] = []
        self._fed = 0

    @classmethod
    def ours(cls, case: Case, dtype: torch.dtype) -> "Way":
        """Take ours, warmed up; its tokens are counted where they enter the model."""
        extractor = case.extractor(dtype)
        extractor.compute([case.passes[0][:8]])
        way = cls(case, lambda: extractor.compute(case.passes)[case.layer])
        extractor.model.model.register_forward_pre_hook(way._count, with_kwargs=True)
        return way

    def run(self) -> None:
        """Run once."""
        self._fed, wall, cpu = 0, time.perf_counter(), time.process_time()
        self.rows = self._compute()
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        tokens_per_s = self.case.tokens / seconds
        self.runs.append({"tokens_per_s": tokens_per_s, "seconds": seconds, "cpu_seconds": cpu_seconds})

    def summarise(self, original: Rows) -> dict:
        """Tell the median speed, what was padding, and how far the rows are from the original's."""
        found = {"tokens_per_s": statistics.median(run["tokens_per_s"] for run in self.runs), "runs": self.runs}
        if not self._fed:
            return found
        padding = {"tokens": self.case.tokens, "padding": 1 - self.case.tokens / self._fed}
        return found | padding | _differences(self.rows, original[: len(self.rows)])

    def _count(self, _module: object, _args: tuple[object, ...], kwargs: dict[str, Tensor]) -> None:
        self._fed += kwargs["input_ids"].numel()


def measure(asked: Namespace, results: dict) -> None:
    """Measure both models."""
    device = torch.device(asked.device)
    for make in (_llama, _minilm):
        case = make(asked)
        case.model.to(device)  # type: ignore[arg-type]
        results.setdefault("extraction", {})[case.name] = measure_case(case, asked.repeats, device)


def _llama(asked: Namespace) -> Case:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32000,
            hidden_size=1024,
            intermediate_size=2816,
            num_hidden_layers=24,
            num_attention_heads=16,
        )
    ).eval()
    draws = np.random.default_rng(0)
    mean, deviation, longest = _LENGTHS
    lengths = np.minimum(draws.lognormal(mean, deviation, _LLAMA_TEXTS).astype(int), longest)
    return Case("llama", model, _LLAMA_LAYER, [draws.integers(0, 32000, n, np.int32) for n in lengths])


def _minilm(asked: Namespace) -> Case:
    model = AutoModel.from_pretrained(asked.model, dtype=torch.float32, use_safetensors=True).eval()
    tokenizer = load_tokenizer(encoder_settings(asked.model), None)
    texts = read_texts(asked.texts)[:_MINILM_TEXTS]
    longest = extract_settings().max_length
    ids = [tokenizer(text, truncation=True, max_length=longest)["input_ids"] for text in texts]
    return Case("minilm", model, LAYER, [np.array(of_text, np.int32) for of_text in ids])


def measure_case(case: Case, repeats: int, device: torch.device) -> dict:
    """Run every way in turn, so many times, and tell what was found."""
    peaks = [_peaks(case, device)]
    few = case.first(_SECONDS * peaks[0]["bf16"] * 1e9 / _operations(case))
    ways = {"original": Way(case, case.original)}
    ways |= {name: Way.ours(few if name == "bf16" else case, dtype) for name, dtype in _DTYPES.items()}
    for repeat in range(repeats):
        peaks += [_peaks(case, device)] if repeat else []
        for name, way in ways.items():
            way.run()
            say(f"{case.name} {name:10} {way.runs[-1]['tokens_per_s']:10,.0f} tokens/s")
    original = ways["original"].rows
    return {name: way.summarise(original) for name, way in ways.items()} | {
        "tokens": case.tokens,
        "operations_per_token": _operations(case),
        "peaks": peaks,
    }


def _peaks(case: Case, device: torch.device) -> dict[str, float]:
    """Measure the product of a batch of tokens with an up-projection, in 1e9 operations per second."""
    config = case.model.config
    shape = (1024, config.hidden_size, config.intermediate_size)
    return {name: measure_product(shape, dtype, device) for name, dtype in _DTYPES.items()}


def _operations(case: Case) -> float:
    """Count the operations of a token in the blocks that are needed.

    2 per weight of a matrix, and 4 · length · width per block for attention's scores and sums, masked ones too; length
    is that of the token's text.
    """
    matrices = sum(p.numel() for p in find_blocks(case.base)[0].parameters() if p.ndim == 2)
    attended = sum(len(tokens) ** 2 for tokens in case.passes) / case.tokens
    return case.layer * (2 * matrices + 4 * attended * case.model.config.hidden_size)


def _differences(rows: Rows, original: Rows) -> dict[str, float]:
    """Compare rows: ‖difference‖ over ‖original‖ of each token, the largest and the mean."""
    relative = np.linalg.norm(rows - original, axis=1) / np.linalg.norm(original, axis=1)
    return {"max_difference": float(relative.max()), "mean_difference": float(relative.mean())}

"""In float64, no step of a model's pass is in float32, and so its rounded activations are the same everywhere."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers as hf
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fast_sae.activations.live.float64 import compute_in_float64
from fast_sae.activations.live.model import TruncatedModel, load_model
from fast_sae.activations.settings import ModelSettings
from fast_sae.errors import ModelError

LENGTHS = (7, 1, 30, 4, 12)
LAYERS = (2, 4)
SMALL = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
GROUPED = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 16, "pad_token_id": 0}
GEMMA = GROUPED | {"head_dim": 8, "query_pre_attn_scalar": 8}
SCALED = {"rope_theta": 1e4, "factor": 2.0}
PRETRAINED = SCALED | {"original_max_position_embeddings": 8}
ROPES = {
    "linear": SCALED,
    "dynamic": SCALED,
    "yarn": PRETRAINED,
    "llama3": PRETRAINED | {"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "longrope": PRETRAINED | {"short_factor": [1.0, 1.2, 1.3, 1.4], "long_factor": [2.0] * 4},
}
CONFIGS = {
    "llama": lambda: hf.LlamaConfig(**GROUPED),
    "llama, eager": lambda: hf.LlamaConfig(**GROUPED, attn_implementation="eager"),
    "qwen2": lambda: hf.Qwen2Config(**GROUPED),
    "qwen3": lambda: hf.Qwen3Config(**GROUPED, head_dim=8),
    "mistral": lambda: hf.MistralConfig(**GROUPED, sliding_window=5),
    "gemma": lambda: hf.GemmaConfig(**GROUPED, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**GEMMA),
    "gemma3": lambda: hf.Gemma3TextConfig(**GEMMA),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=60, n_embd=32, n_layer=4, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=1
    ),
    "bert": lambda: hf.BertConfig(**SMALL),
} | {
    f"llama, {name}": lambda name=name: hf.LlamaConfig(**GROUPED, rope_parameters={"rope_type": name, **ROPES[name]})
    for name in ROPES
}
NO_FLOAT32 = {"gpt2", "bert"}


class Narrow(TorchDispatchMode):
    """Counts the operations of torch, however deep, that give floating-point numbers other than float64."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
        self.count[str(func)] += sum(tensor.dtype != torch.float64 for tensor in made)
        return result


def saved(config: hf.PreTrainedConfig, folder: Path) -> Path:
    """A model of random weights, far from the tiny initial ones, so that every block matters."""
    torch.manual_seed(0)
    model = hf.AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    return folder


def model_settings(folder: Path) -> ModelSettings:
    section = {"name": str(folder), "files": str(folder), "revision": None, "dtype": "float64"}
    return ModelSettings.model_validate_json(json.dumps(section))


def load(folder: Path, layers: Sequence[int] = LAYERS) -> TruncatedModel:
    return load_model(model_settings(folder), None, layers, torch.device("cpu"))


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, 60, (n,), generator=generator).tolist() for n in LENGTHS]


@pytest.mark.parametrize("family", CONFIGS)
def test_no_step_is_in_float32_and_the_result_is_that_of_transformers(family, sequences, tmp_path):
    folder = saved(CONFIGS[family](), tmp_path)
    model, plain = load(folder), TruncatedModel(hf.AutoModel.from_pretrained(folder, dtype=torch.float64), LAYERS)
    with Narrow() as before:
        expected = plain.hidden_states(sequences)
    with Narrow() as after:
        found = model.hidden_states(sequences)
    for layer in LAYERS:
        for ours, theirs in zip(found[layer], expected[layer], strict=True):
            assert (ours - theirs).norm() / theirs.norm() <= 1e-5
    assert +after.count == {}
    assert (before.count.total() == 0) is (family in NO_FLOAT32)


def test_the_rest_of_the_program_keeps_float32(sequences, tmp_path):
    model = load(saved(CONFIGS["llama"](), tmp_path))
    with pytest.raises(IndexError):
        model.hidden_states([[10_000]])
    assert torch.zeros(1).float().dtype == torch.get_default_dtype() == torch.float32


def test_tables_that_stay_float32_are_told(capsys):
    config = hf.GPTJConfig(
        vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=16, rotary_dim=8, bos_token_id=1, eos_token_id=1
    )
    compute_in_float64(hf.GPTJModel(config).double().apply(_narrow_tables))
    assert "keeps 2 tables in float32, such as h.0.attn.embed_positions" in capsys.readouterr().err


def _narrow_tables(module: torch.nn.Module) -> None:
    for name, table in module.named_buffers(recurse=False):
        setattr(module, name, table.float())


def test_frequencies_that_the_config_does_not_give_are_refused():
    model = hf.LlamaModel(CONFIGS["llama"]()).double()
    model.rotary_emb.inv_freq = model.rotary_emb.inv_freq.float() * 1.01
    with pytest.raises(ModelError, match=r"rotary_emb.inv_freq .* set model.dtype: float32"):
        compute_in_float64(model)


PROGRAM = """
import sys
from pathlib import Path
import torch
from test_float64 import digest
torch.set_num_threads(int(sys.argv[3]))
print(torch.backends.cpu.get_cpu_capability(), digest(Path(sys.argv[1]), int(sys.argv[2])))
"""
PROCESSORS = [  # what to pretend, sequences in a batch, and threads (which wait asleep: these cores may be shared)
    ({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "AVX2"}, 13, 1),
    ({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_WAIT_POLICY": "PASSIVE"}, 5, 2),
]


def digest(folder: Path, batch: int) -> str:
    model, sequences, sha256 = load(folder, (3, 6)), of_realistic_size(), hashlib.sha256()
    for at in range(0, len(sequences), batch):
        states = model.hidden_states(sequences[at : at + batch])
        for rows in zip(*states.values(), strict=True):
            sha256.update(b"".join(row.half().numpy().tobytes() for row in rows))
    return sha256.hexdigest()


def of_realistic_size() -> list[list[int]]:
    """Give 4,250 tokens in sequences of 20 to 204."""
    return [[(7 * n + 31 * i + i * i * n) % 2000 for i in range(20 + 23 * (n % 9))] for n in range(40)]


def test_every_instruction_set_thread_count_and_batch_gives_the_same_bytes(tmp_path):
    """A Llama with activations of order 1 and Qwen2.5's head_dim and theta: their float32 powers are not the same."""
    size = {"vocab_size": 2000, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 6}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128, "max_position_embeddings": 512}
    rope = {"rope_type": "default", "rope_theta": 1e6}
    folder = saved(hf.LlamaConfig(**size, **heads, rope_parameters=rope), tmp_path)
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(batch), str(threads)],
            env=os.environ | path | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for environment, batch, threads in PROCESSORS
    ]
    found = dict(run.communicate()[0].split() for run in runs)
    if {*found, torch.backends.cpu.get_cpu_capability()} == {"DEFAULT"}:
        pytest.skip("this processor has one instruction set")
    assert {*found.values()} == {digest(folder, 8)}

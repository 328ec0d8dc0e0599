"""models/sae: weights as safetensors and config.json; no pickle, and nothing that does not fit.

`sae.safetensors` holds float32 tensors: W_enc (d_in, M), b_enc (M,), W_dec (M, d_in), b_dec (d_in,), and what else the
architecture needs for inference, such as a threshold. A loaded SAE takes raw activations.
"""

import json
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fast_sae.artifacts import file_sha256, read_json, write_json
from fast_sae.errors import ArtifactError, ParamsError
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.build import build_sae
from fast_sae.sae.functional import round_to_bits
from fast_sae.sae.settings import SAESettings

STAGE = "train_sae"
FORMAT = 1
WEIGHTS = "sae.safetensors"
CONFIG = "config.json"
_GRID_BITS = 19


def save_sae(sae: SparseAutoencoder, folder: Path) -> None:
    """Write weights and config; weights are rounded to float32, and more coarsely if they were trained in float64."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: _rounded(tensor).cpu().contiguous() for name, tensor in sae.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)  # without metadata: two keys or more would change the bytes each time
    write_json(folder / CONFIG, {"format": FORMAT, "d_in": sae.d_in, "sae": sae.settings.model_dump(mode="json")})


def sae_sha256(folder: Path) -> str:
    """Digest of an SAE's weights, by which what was made of it names it."""
    return file_sha256(folder / WEIGHTS)


def load_sae(folder: Path) -> SparseAutoencoder:
    """Load an SAE in float32 on the CPU.

    Raises:
        ArtifactError: if a file is missing or damaged, or config and weights do not fit each other.
    """
    config = read_json(folder / CONFIG, STAGE)
    if config.get("format") != FORMAT:
        raise _refuse(folder / CONFIG, f"its format is {config.get('format')!r}, not {FORMAT}")
    try:
        settings = SAESettings.model_validate_json(json.dumps(config["sae"]))
        sae = build_sae(cast(int, config["d_in"]), settings)
    except (ValidationError, ParamsError, KeyError, TypeError, RuntimeError) as error:
        raise _refuse(folder / CONFIG, f"it describes no SAE ({' '.join(str(error).split())})") from None
    sae.load_state_dict(_load_weights(folder / WEIGHTS, sae.state_dict()))
    return sae.eval()


def _rounded(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Round to float32, and float64 first to a grid of 2⁻¹⁹ of the tensor's largest number.

    Another processor gives float64 weights that differ by some 1e-10, most where a latent hardly fires. Float32's own
    grid is so fine near 0 that a few of them would round to another side; this one loses 1e-6 of the largest weight.
    """
    if tensor.dtype != torch.float64:
        return tensor.float()
    return round_to_bits(tensor.reshape(-1), _GRID_BITS, 0).view_as(tensor).float()


def _load_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; run: dvc pull, or: dvc repro {STAGE}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise _refuse(path, f"it is not safetensors ({error})") from None
    if tensors.keys() != expected.keys():
        raise _refuse(path, f"it holds {sorted(tensors)}, and {sorted(expected)} are wanted")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise _refuse(
                path, f"{name} has shape {tuple(tensor.shape)}, config.json says {tuple(expected[name].shape)}"
            )
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise _refuse(path, f"{name} is not finite float32")
    return tensors


def _refuse(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path} cannot be used: {why}; run: dvc repro {STAGE}")

"""What the machine has: room on its disks, memory, and a device to compute on."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from fast_sae.errors import UserError
from fast_sae.pipeline.terminal import size
from fast_sae.runtime import RuntimeSettings

_FICLONE = 0x40049409
"""Linux' request to clone a file without copying it."""
_LINKS = ("hardlink", "symlink")
_CGROUP = Path("/sys/fs/cgroup")


def check_disk(activations: int, download: int = 0) -> str:
    """Say whether the activations will fit, twice where DVC copies them to its cache, and a model to be downloaded.

    Args:
        activations: Bytes of all shards.
        download: Bytes of weights that come from the hub.

    Raises:
        UserError: if they do not fit.
    """
    here, cache = Path.cwd(), dvc_cache()
    copied = not _links(cache)
    need: dict[Path, int] = {}
    for place, wanted in ((here, activations), (cache, activations if copied else 0), (_hub_cache(), download)):
        root = _mount(place)
        need[root] = need.get(root, 0) + wanted
    for root, wanted in need.items():
        free = shutil.disk_usage(root).free
        if wanted > free:
            twice = " (with the copy in DVC's cache; docs/dvc.md says how to do without)" if copied else ""
            raise UserError(
                f"{size(free)} are free on {root}, {size(wanted)} are needed{twice}; free some, keep fewer "
                "extract.layers, or set data.max_examples"
            )
    told = f"{size(need[_mount(here)])} will be needed, {size(shutil.disk_usage(here).free)} are free"
    return told + (", DVC's copy included" if copied and activations else "")


def check_memory(model: int, sae: int) -> str:
    """Say whether the weights fit into memory: the whole model is loaded there first, whatever the device.

    Args:
        model: Bytes of the language model's weights; 0 if it will not be loaded.
        sae: Bytes of the SAE in training: weights, gradient, Adam's two moments, the best weights.

    Raises:
        UserError: if they do not.
    """
    wanted, free = max(model, sae), available_memory()
    if wanted > free:
        which = "model's weights" if model >= sae else "SAE in training"
        mend = "model.dtype: bfloat16 or a smaller model" if model >= sae else "a smaller sae.M or train.dtype: float32"
        raise UserError(
            f"{size(free)} are available, the {which} take {size(wanted)}; end other programs, or set {mend}"
        )
    return f"{size(wanted)} will be needed for weights, {size(free)} are available"


def check_device(runtime: RuntimeSettings, weights: int) -> str:
    """Name the device that will compute.

    Args:
        runtime: The `runtime` section.
        weights: Bytes of the language model's blocks that must fit into a GPU's memory.

    Raises:
        UserError: if runtime.device is one that this machine lacks, or the GPU is too small or too full.
    """
    import torch  # here, because it takes seconds, and what stands above needs none of it

    device = runtime.torch_device()
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        if weights > free:
            raise UserError(
                f"{torch.cuda.get_device_name()} has {size(free)} free, the model's blocks take {size(weights)}; end "
                "other programs, or set runtime.device: cpu"
            )
        return f"{torch.cuda.get_device_name()}, {size(free)} of {size(total)} free"
    return f"CPU, {torch.get_num_threads()} threads"


def available_memory() -> int:
    """Bytes that can be had without swapping, within the container's limit."""
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or none with a limit ("max")
        return free
    return min(free, max(0, limit - used))


def dvc_cache() -> Path:
    """Folder of DVC's cache; it need not exist yet."""
    return Path(_dvc_says("cache", "dir") or ".dvc/cache")


def _links(cache: Path) -> bool:
    """Whether DVC puts files into its cache without a copy: by links, or by cloning where the file system can."""
    types = (_dvc_says("config", "cache.type") or "reflink,copy").split(",")
    first = next((kind.strip() for kind in types if kind.strip() != "reflink"), "copy")
    return first in _LINKS or ("reflink" in types and _clones(Path.cwd(), _existing(cache)))


def _clones(source: Path, destination: Path) -> bool:
    """Try whether a file can be cloned from one folder to the other."""
    try:
        with tempfile.TemporaryFile(dir=source) as old, tempfile.TemporaryFile(dir=destination) as new:
            old.write(b"\0" * 4096)
            old.flush()
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError:
        return False
    return True


def _hub_cache() -> Path:
    from huggingface_hub import constants  # here, because it takes a moment

    return Path(constants.HF_HUB_CACHE)


def _mount(path: Path) -> Path:
    """Find the top folder of the file system that holds a path."""
    place = _existing(path)
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return place


def _existing(path: Path) -> Path:
    path = path.expanduser().absolute()
    return next((folder for folder in (path, *path.parents) if folder.exists()), path)


def _dvc_says(*words: str) -> str:
    try:
        done = subprocess.run(["dvc", *words], capture_output=True, text=True, check=False)
    except OSError:  # told by the check of the environment
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

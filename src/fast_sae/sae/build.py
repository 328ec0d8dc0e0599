"""An SAE from its settings: the architecture is imported by name, as DVC lists its file by name."""

import importlib
from types import ModuleType

from fast_sae.errors import ParamsError
from fast_sae.params import parse_section
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.settings import ARCHITECTURES, SAESettings


def build_sae(d_in: int, settings: SAESettings) -> SparseAutoencoder:
    """Make an SAE with zero weights.

    Args:
        d_in: Width of the activations it reads.
        settings: The `sae` section.
    """
    return architecture_module(settings).Architecture(d_in, settings)


def architecture_module(settings: SAESettings) -> ModuleType:
    """Import the architecture's file, and parse the sub-section that only it reads.

    Raises:
        ParamsError: if there is no such file, or the sub-section does not parse.
    """
    name = settings.architecture
    if name not in ARCHITECTURES:
        raise ParamsError(f"sae.architecture must be one of {', '.join(ARCHITECTURES)}, found {name!r}")
    module = importlib.import_module(f"fast_sae.sae.architectures.{name}")
    parse_section({f"sae.{name}": settings.options}, f"sae.{name}", module.Options)
    return module

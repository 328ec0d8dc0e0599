"""An SAE from its settings: the architecture is imported by name, as DVC lists its file by name."""

import importlib
from types import ModuleType

from fast_sae.errors import ParamsError
from fast_sae.params import Settings, parse_section
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.sae.settings import ARCHITECTURES, SAESettings


def build_sae(d_in: int, settings: SAESettings) -> SparseAutoencoder:
    """Make an SAE with zero weights.

    Args:
        d_in: Width of the activations it reads.
        settings: The `sae` section.
    """
    module = _architecture_module(settings)
    return module.Architecture(d_in, settings, parse_options(settings))


def parse_options(settings: SAESettings) -> Settings:
    """Parse the sub-section that only the chosen architecture reads.

    Raises:
        ParamsError: if there is no such file, or the sub-section does not parse.
    """
    name = f"sae.{settings.architecture}"
    return parse_section({name: settings.options}, name, _architecture_module(settings).Options)


def _architecture_module(settings: SAESettings) -> ModuleType:
    name = settings.architecture
    if name not in ARCHITECTURES:
        raise ParamsError(f"sae.architecture must be one of {', '.join(ARCHITECTURES)}, found {name!r}")
    return importlib.import_module(f"fast_sae.sae.architectures.{name}")

"""The `dashboard` section of params.yaml."""

from typing import Annotated

from pydantic import Field

from fast_sae.params import Settings

Positive = Annotated[int, Field(gt=0)]


class DashboardSettings(Settings):
    """What the page shows of each latent.

    Size: M · (top + sampled windows) · about 4 bytes a firing token, and the texts.
    """

    top_windows: Positive
    """Windows of test shown in which a latent is strongest."""
    sampled_windows: Positive
    """Windows of test shown of those drawn at random where a latent fires, evenly over their tenths by strength."""
    single_file_latents: Positive
    """Up to so many latents the page is one file; above that, latents lie beside it in chunks."""
    chunk_latents: Positive
    """Latents in a chunk."""
    map_neighbours: Annotated[int, Field(ge=2)]
    """Latents that each one is drawn to on the map: the nearest by decoder."""
    map_steps: Positive
    """Steps in which the map is laid out."""
    seed: Annotated[int, Field(ge=0)]
    """Draws the pairs of latents that the map pushes apart."""

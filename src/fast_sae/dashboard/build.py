"""reports/dashboard: index.html, and beside it the chunks of an SAE too large for one file."""

from collections.abc import Iterator
from pathlib import Path

from fast_sae.artifacts import Json, whole_folder
from fast_sae.chat.kinds import KIND_NAMES
from fast_sae.dashboard.chunks import Chunks
from fast_sae.dashboard.material import Material
from fast_sae.dashboard.overview import overview
from fast_sae.dashboard.scripts import SCRIPTS, STYLES
from fast_sae.dashboard.settings import DashboardSettings
from fast_sae.page.page import CHUNKS, Page, chunk_script
from fast_sae.progress import with_progress


def build_dashboard(material: Material, settings: DashboardSettings, folder: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        material: What the stages have found.
        settings: The `dashboard` section.
        folder: reports/dashboard.
    """
    M = material.store.M
    single = settings.single_file_latents >= M
    size = M if single else settings.chunk_latents
    ranges = [range(at, min(at + size, M)) for at in range(0, M, size)]
    summary = overview(material, settings, {"size": size, "count": len(ranges), "embedded": single})
    with whole_folder(folder) as part:
        made = _chunks(material, settings, ranges)
        embedded = {f"chunk-{number}": chunk for number, chunk in made} if single else {}
        for number, chunk in made:
            path = part / CHUNKS / f"{number}.js"
            path.parent.mkdir(exist_ok=True)
            path.write_text(chunk_script(number, chunk), encoding="utf-8")
        run = summary["run"]
        assert isinstance(run, dict)
        title = f"{run['model']} layer {run['layer']}: {M} latents"
        marks = {"sae": str(run["sae"])}
        Page(title, STYLES, SCRIPTS, {"overview": summary}, packed=embedded, marks=marks).write(part)


def _chunks(material: Material, settings: DashboardSettings, ranges: list[range]) -> Iterator[tuple[int, Json]]:
    chunks = Chunks(material, settings, KIND_NAMES)
    for number, latents in with_progress([*enumerate(ranges)], "dashboard", "chunk"):
        yield number, chunks.chunk(latents)

"""What a comparison of two runs says at first sight: a few lines of text."""

from collections.abc import Iterator

from fast_sae.comparison.contents import Contents
from fast_sae.comparison.latents import CHANGED, LatentComparison, Status
from fast_sae.comparison.matching import SHARED
from fast_sae.comparison.measures import HEADLINE, L0


def headline(a: Contents, b: Contents, latents: LatentComparison) -> Iterator[str]:
    """Say what has become of the latents, and how the main metrics of both stand."""
    if latents.by:
        yield _fates(a, b, latents)
    if latents.by == "decoder" and (living_on := latents.living_on):
        yield (
            f"{living_on:,} of the vanished live on by what they do: some latent of B correlates with them at "
            f"{SHARED:g} or more."
        )
    for title, key in [("L0", L0), *((measure.title, measure.key) for measure in HEADLINE)]:
        if key in a.metrics and key in b.metrics:
            x, y = a.metrics[key], b.metrics[key]
            yield f"{title} ({key}): {x:.4g} in A, {y:.4g} in B ({y - x:+.3g})"


def rules(latents: LatentComparison) -> Iterator[str]:
    """Say by which rules latents were matched and judged."""
    if latents.by is None:
        return
    what = "decoder cosine" if latents.by == "decoder" else "correlation of pooled activations"
    yield (
        f"Latents are matched one to one by {what}; a pair of {SHARED:g} or more is found again, a latent of A without "
        "such a pair has vanished, one of B has appeared. Only living latents count."
    )
    if latents.by == "decoder":
        yield (
            f"A pair found again has changed its meaning if the two latents' pooled activations (the largest in each "
            f"test example) correlate less than {CHANGED:g} over the same examples. The other signs beside it, labels, "
            "names and shared top examples, decide nothing."
        )


def _fates(a: Contents, b: Contents, latents: LatentComparison) -> str:
    count = {status: latents.count(status) for status in Status}
    changed = f" ({count[Status.CHANGED]:,} of them changed their meaning)" if latents.by == "decoder" else ""
    return (
        f"Of {len(a.alive):,} latents of A and {len(b.alive):,} of B, "
        f"{count[Status.FOUND] + count[Status.CHANGED]:,} are found again{changed}, "
        f"{count[Status.VANISHED]:,} vanished, {count[Status.APPEARED]:,} appeared."
    )

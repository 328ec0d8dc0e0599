"""A glance at an annotation: for the first examples, the strongest latents and the token where each fires most."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from fast_sae.annotation.incoming import Incoming

EXAMPLES = 3
LATENTS = 5


def glance(incoming: Sequence[Incoming], examples: pa.Table) -> Iterator[str]:
    """Yield the lines for some examples.

    Args:
        incoming: The examples to show.
        examples: Rows of the table by example, these among them, the strongest of an example first.
    """
    for one in incoming:
        yield f"{one.id} ({len(one.rendered.token_ids)} tokens)"
        its_own = np.flatnonzero(examples["example"].to_numpy() == one.number)[:LATENTS]
        rows = examples.take(its_own).to_pylist()
        if not rows:
            yield "    no latent fires"
        for row in rows:
            yield (
                f"    latent {row['latent']:<6} max {row['max_activation']:<8.4g} at {row['max_token']!r}, "
                f"position {row['max_position']}; fires on {row['tokens_fired']}"
            )

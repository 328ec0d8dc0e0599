"""What will run and what it will take, told before the user says yes; estimates say how they were made."""

from collections.abc import Iterator

from fast_sae.errors import UserError
from fast_sae.pipeline.prerequisites import Survey
from fast_sae.pipeline.rates import extraction_speed, step_seconds
from fast_sae.pipeline.terminal import duration, table


def forecast(seen: Survey) -> list[str]:
    """Say which stages will run and why, and what the costly ones take.

    Args:
        seen: What is known; what it takes is told only where data and model are.
    """
    if not seen.due:
        return []
    lines = table([[stage.name, "runs" if stage.certain else "may run", stage.why] for stage in seen.due])
    lines.append("A stage whose results lie in DVC's cache is fetched from there instead of run.")
    return [*lines, "", *costs] if (costs := table(list(_costs(seen)))) else lines


def _costs(seen: Survey) -> Iterator[list[str]]:
    for stage, cost in (("extract_activations", _extraction), ("train_sae", _training)):
        if seen.due is not None and seen.is_due(stage):
            try:
                yield [stage, cost(seen)]
            except UserError as error:
                yield [stage, f"not known ({error})"]


def _extraction(seen: Survey) -> str:
    if seen.amount is None or seen.weights is None or seen.parsed is None:
        return "not known: it takes data and model to tell"
    speed, how = extraction_speed(seen.parsed, seen.model, seen.weights, seen.amount.sample)
    return f"{seen.amount.plan.tell(speed)} ({how})"


def _training(seen: Survey) -> str:
    if seen.amount is None or seen.parsed is None or seen.d_in is None:
        return "not known: it takes data and model to tell"
    settings = seen.parsed.train
    per_epoch = max(1, -(-seen.amount.train_rows // settings.batch_size))
    seconds, how = step_seconds(seen.parsed, seen.d_in)
    return (
        f"about {seen.amount.train_rows:,} rows, {per_epoch:,} steps an epoch of {duration(per_epoch * seconds)}; at "
        f"most {settings.epochs} epochs, {duration(per_epoch * seconds * settings.epochs)} ({how}); it stops "
        f"{settings.patience} epochs after the best one"
    )

"""What will run and what it will take, told before the user says yes; estimates say how they were made."""

from collections.abc import Callable, Iterator

from fast_sae.pipeline.prerequisites import Survey
from fast_sae.pipeline.rates import extraction_speed, step_seconds
from fast_sae.pipeline.terminal import duration, table


def forecast(seen: Survey) -> Iterator[str]:
    """Say which stages will run and why, then what the costly ones take, each as soon as it is measured.

    Args:
        seen: What is known; what it takes is told only where data and model are.
    """
    if not seen.due:
        return
    yield from table([[stage.name, "runs" if stage.certain else "may run", stage.why] for stage in seen.due])
    yield "A stage whose results lie in DVC's cache is fetched from there instead of run."
    costs = [(stage, cost) for stage, cost in _COSTS.items() if seen.is_due(stage)]
    if costs:
        yield ""
    for stage, cost in costs:
        yield f"{stage:<{max(map(len, _COSTS))}}  {_told(cost, seen)}"


def _told(cost: Callable[[Survey], str], seen: Survey) -> str:
    try:
        return cost(seen)
    except Exception as error:  # an estimate loads the model and trains; whatever fails there must not end the command
        return f"not known ({(str(error).splitlines() or [type(error).__name__])[0]})"


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
    epoch = per_epoch * seconds
    if settings.source == "live" and seen.weights is not None:
        epoch += seen.amount.train_rows / extraction_speed(seen.parsed, seen.model, seen.weights, seen.amount.sample)[0]
        how += ", and the model's pass over train in each epoch"
    return (
        f"about {seen.amount.train_rows:,} rows, {per_epoch:,} steps an epoch of {duration(epoch)}; at "
        f"most {settings.epochs} epochs, {duration(epoch * settings.epochs)} ({how}); it stops "
        f"{settings.patience} epochs after the best one"
    )


_COSTS = {"extract_activations": _extraction, "train_sae": _training}

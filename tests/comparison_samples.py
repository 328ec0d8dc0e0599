"""Plans and made-up results of their runs, by a few words."""

import numpy as np

from fast_sae.comparison.collect import Result
from fast_sae.comparison.plan import Plan, PlannedModel, runs


def plan(seeds: tuple[int, ...] = (1, 2, 3), **control_of: str | None) -> Plan:
    """A plan with one architecture; models by name and what each is the control of (one model `tiny` if none)."""
    models = control_of or {"tiny": None}
    return Plan(
        about="What this is about.",
        common={"sae.K": 8},
        models={
            name: PlannedModel(about=f"About {name}.", overrides={"model.name": name}, control_of=of)
            for name, of in models.items()
        },
        packings={"FAST": {"train.lr": 0.1}, "block": {"train.lr": 0.2}},
        architectures={"standard": {}},
        seeds=seeds,
    )


def results(
    planned: Plan, values: dict[tuple[str, str], dict[str, list[float]]], *, held_out: bool = True
) -> list[Result]:
    """One result per run: by model and packing the metrics by name, a value per seed; L0 is 8 unless given."""
    made = []
    for run in runs(planned, "made"):
        at = planned.seeds.index(run.seed)
        metrics = {name: float(of_seed[at]) for name, of_seed in values[run.model, run.packing].items()}
        decoder = np.eye(4)[: 3 if run.packing == "FAST" else 4]
        made.append(Result(run, {"evaluate.l0": 8.0} | metrics, 8.0, decoder, held_out=held_out))
    return made

"""What steering did: a few headline metrics, the dose-response curves, every continuation, and a text in words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fast_sae.artifacts import whole_file, write_metrics, write_table
from fast_sae.steering.effects import CONTROLS, Chosen, Effects, Estimate
from fast_sae.steering.settings import SteerSettings
from fast_sae.steering.trials import UNSTEERED, Continuation, perplexity, record

_RATE = ("rate", "rate_low", "rate_high")
CURVE_COLUMNS = ("direction", "alpha", "alpha_over_norm", "labels", *_RATE)
LATENT_COLUMNS = ("label", "latent", "chosen_by", *CURVE_COLUMNS[:3], *_RATE)
COST_COLUMNS = ("continuations", "perplexity", "repetition", "chat_perplexity")


@dataclass(frozen=True)
class SteerReport:
    """All that was found; nothing where steering is switched off."""

    settings: SteerSettings
    effects: Effects | None = None
    """None if nothing was steered."""
    choosing: Sequence[Continuation] = ()
    candidates: Sequence[Chosen] = ()
    """Every label that was tried on the choosing prompts, the best first."""
    unlabelled: Mapping[int, str] = field(default_factory=dict)
    """Latents steered for something else than a label, and how they were chosen."""
    alphas: Sequence[float] = ()
    norm: float = float("nan")
    """Mean norm of the residual stream."""
    accuracy: float | None = None
    """The recogniser's, on test."""
    chat_perplexity: Mapping[tuple[str, float], float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float | int | None]:
        """Return the headline metrics; the rates are means over the labels, each at the dose chosen for it."""
        effects = self.effects
        if effects is None:
            return {"prompts": 0, "label_latents": 0}
        found: dict[str, float | int | None] = {
            "prompts": effects.n_prompts,
            "label_latents": len(effects.chosen),
            "residual_norm": self.norm,
            "recogniser_accuracy": self.accuracy,
        }
        if not effects.chosen:
            return found
        found["labels_raised"] = len(effects.raised())
        found["rate_unsteered"] = float(effects.mean_rate(UNSTEERED, 0.0).mean())
        for role in ("latent", *CONTROLS):
            found[f"rate_{role}"] = float(effects.mean_rate(role, None).mean())
        for control in CONTROLS:
            found |= _with_bounds(f"difference_{control}", effects.mean_difference(control))
        return found

    def curve(self) -> pd.DataFrame:
        """Return the mean rate of the chosen labels at each dose, for their latents and for both controls."""
        rows = []
        if self.effects and self.effects.chosen:
            for role, alpha in self._doses():
                estimate = self.effects.estimate(self.effects.mean_rate(role, alpha))
                rows.append({"direction": role, **self._dose(alpha), "labels": len(self.effects.chosen)})
                rows[-1] |= _with_bounds("rate", estimate)
        return pd.DataFrame(rows, columns=[*CURVE_COLUMNS])

    def latents(self) -> pd.DataFrame:
        """Return the curve of each chosen label."""
        rows = []
        for one in self.effects.chosen if self.effects else ():
            assert self.effects
            for role, alpha in self._doses():
                estimate = self.effects.estimate(self.effects.rate(one, role, alpha))
                about = {"label": one.label, "latent": one.latent, "chosen_by": "label", "direction": role}
                rows.append(about | self._dose(alpha) | _with_bounds("rate", estimate))
        return pd.DataFrame(rows, columns=[*LATENT_COLUMNS])

    def costs(self) -> pd.DataFrame:
        """Return what each direction at each dose does to the text and to held-out chats."""
        rows = []
        for trial in dict.fromkeys(one.trial for one in self.effects.scoring) if self.effects else ():
            found = self._of(trial.name, trial.alpha)
            rows.append({"direction": trial.name, "role": trial.role, **self._dose(trial.alpha)})
            rows[-1] |= {
                "continuations": len(found),
                "perplexity": perplexity(found),
                "repetition": sum(one.repetition for one in found) / len(found),
                "chat_perplexity": self.chat_perplexity[trial.name, trial.alpha],
            }
        return pd.DataFrame(rows, columns=["direction", "role", *CURVE_COLUMNS[1:3], *COST_COLUMNS])

    def write(self, folder: Path, metrics: Path, plots: Path) -> None:
        """Write the tables, the continuations and the text into `folder`, and metrics and curve where they belong."""
        write_metrics(metrics, "steer", self.metrics())
        write_table(plots / "dose_response.csv", self.curve())
        write_table(folder / "latents.csv", self.latents())
        write_table(folder / "costs.csv", self.costs())
        write_table(folder / "candidates.csv", pd.DataFrame(self.candidates, columns=[*Chosen._fields]))
        with whole_file(folder / "generations.jsonl") as part:
            lines = (json.dumps(record, ensure_ascii=False) for record in self._records())
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        with whole_file(folder / "report.md") as part:
            part.write_text("\n".join(self.text()) + "\n", encoding="utf-8")

    def text(self) -> Iterator[str]:
        """Yield the report's lines."""
        yield "# Steering"
        yield ""
        if self.effects is None:
            yield "steer.enabled is false: nothing was steered."
            return
        yield from self._method(self.effects)
        if self.effects.chosen:
            yield from self._verdict(self.effects)
        else:
            yield "No label was steered for: the data have none, or steer.label_latents is 0."
        if self.unlabelled:
            yield from self._unlabelled(self.effects)

    def _method(self, effects: Effects) -> Iterator[str]:
        settings = self.settings
        told = ", ".join(f"{alpha:.4g} ({alpha / self.norm:.2g})" for alpha in self.alphas)
        yield f"α·d is added to the residual stream at every position, d of norm 1; its mean norm is {self.norm:.4g}."
        yield f"Doses α, and in units of that norm: {told}."
        yield (
            f"{effects.n_prompts} prompts, other than the {len(settings.choosing_prompts)} on which labels and doses "
            f"were chosen; greedy, at most {settings.max_new_tokens} tokens. Controls of equal norm: "
            f"{settings.random_controls} random directions, {settings.latent_controls} other latents."
        )
        if self.accuracy is not None:
            told = f"which names {self.accuracy:.1%} of the test texts rightly"
            yield f"Labels are recognised by complement naive Bayes over words, {told}."
        yield ""

    def _verdict(self, effects: Effects) -> Iterator[str]:
        differences = [effects.mean_difference(control) for control in CONTROLS]
        n, raised = len(effects.chosen), effects.raised()
        what = (
            "Steering by the labels' latents raises the labels' rates well above both controls"
            if effects.raises(differences)
            else "Steering by the labels' latents does not raise the labels' rates well above both controls"
        )
        yield f"**{what}**: the mean rate is {effects.mean_rate('latent', None).mean():.1%} with the latent,"
        yield (
            f"{effects.mean_rate('random', None).mean():.1%} with a random direction, "
            f"{effects.mean_rate('other', None).mean():.1%} with another latent, and "
            f"{effects.mean_rate(UNSTEERED, 0.0).mean():.1%} unsteered;"
        )
        yield f"above a random direction by {_told(differences[0])}, above another latent by {_told(differences[1])}."
        yield f"By itself, the latent of {len(raised)} of the {n} labels does; well above means that both differences"
        yield f"are at least {self.settings.margin:.0%} and their {self.settings.confidence:.0%} intervals lie above 0."
        yield ""
        yield "| label | latent | α | on choosing prompts | latent | random | other | perplexity | raised |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        for one in effects.chosen:
            rates = [_told(effects.estimate(effects.rate(one, role, one.alpha))) for role in ("latent", *CONTROLS)]
            cost = perplexity(self._of(f"latent {one.latent}", one.alpha))
            yield (
                f"| {one.label} | {one.latent} | {one.alpha:.4g} | {one.choosing_rate:.1%} | {' | '.join(rates)} | "
                f"{cost:.3g} | {'yes' if one in raised else 'no'} |"
            )
        yield ""
        yield f"Perplexity: of the continuations under the unsteered model; of its own it is {self._unsteered():.3g}."
        reached = sum(candidate.choosing_rate > 0 for candidate in self.candidates)
        tried = f"{len(self.candidates)} labels were tried on the choosing prompts"
        yield f"{tried}, of which {reached} were recognised there at some dose (candidates.csv)."
        yield ""

    def _unlabelled(self, effects: Effects) -> Iterator[str]:
        yield "Latents steered for no label, by the perplexity of what is written at each dose:"
        yield ""
        yield f"| latent | chosen by | {' | '.join(f'{alpha:.4g}' for alpha in self.alphas)} |"
        yield "| --- | --- |" + " --- |" * len(self.alphas)
        for latent, chosen_by in self.unlabelled.items():
            found = [perplexity(self._of(f"latent {latent}", alpha)) for alpha in self.alphas]
            yield f"| {latent} | {chosen_by} | {' | '.join(f'{value:.3g}' for value in found)} |"
        yield ""
        yield f"Unsteered it is {self._unsteered():.3g}; costs.csv has the controls and repetition."

    def _of(self, name: str, alpha: float) -> list[Continuation]:
        assert self.effects
        return [one for one in self.effects.scoring if (one.trial.name, one.trial.alpha) == (name, alpha)]

    def _unsteered(self) -> float:
        return perplexity(self._of(UNSTEERED, 0.0))

    def _doses(self) -> list[tuple[str, float]]:
        return [(role, alpha) for role in ("latent", *CONTROLS) for alpha in (0.0, *self.alphas)]

    def _dose(self, alpha: float) -> dict[str, float]:
        return {"alpha": alpha, "alpha_over_norm": alpha / self.norm}

    def _records(self) -> Iterator[dict[str, object]]:
        for one in self.choosing:
            yield record(one, "choosing", self.settings.choosing_prompts[one.prompt])
        for one in self.effects.scoring if self.effects else ():
            yield record(one, "scoring", self.settings.prompts[one.prompt])


def _with_bounds(name: str, estimate: Estimate) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(_clean, estimate), strict=True))


def _clean(value: float) -> float:
    """Round what only the order of a sum decides."""
    return round(value, 9) + 0.0


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"

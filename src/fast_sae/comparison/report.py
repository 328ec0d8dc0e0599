"""The report of a plan, in Markdown; every sentence follows from the numbers, or is the plan's own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fast_sae.comparison.collect import Result
from fast_sae.comparison.intervals import LEVEL, Interval, t_interval
from fast_sae.comparison.measures import MEASURES, ROWS
from fast_sae.comparison.plan import Plan
from fast_sae.comparison.stability import SHARED
from fast_sae.comparison.verdict import TOLERANCE, Cell, Comparison, Verdict


@dataclass(frozen=True)
class Report:
    """What was planned, what came out, and what follows."""

    name: str
    """Of the plan."""
    command: str
    """What the user types to make it again."""
    commit: str
    plan: Plan
    results: Sequence[Result]
    cells: Sequence[Cell]

    def markdown(self) -> str:
        """Write the report."""
        first, second = self.plan.packings
        parts = [
            f"# {first} against {second}",
            f"<!-- made by `{self.command}`; not to be edited -->",
            self.plan.about,
            "\n".join(self._runs()),
            "## Where which is better",
            self._verdicts(),
            "\n".join(f"* {line}" for line in self._sentences()),
            f"![each measure, by model and architecture]({self.name}.svg)",
            "## At which L0",
            self._sparsities(),
            *(part for cell in self.cells for part in self._cell(cell)),
            "## What this cannot show",
            "\n".join(f"* {line}" for line in self._limits()),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _runs(self) -> Iterator[str]:
        plan = self.plan
        yield (
            f"{len(self.results)} runs of commit {self.commit[:7]}: {len(plan.models)} × {len(plan.architectures)} × "
            f"{len(plan.packings)} × {len(plan.seeds)} models, architectures, packings and seeds, each a DVC "
            f"experiment. `dvc exp apply` and a name from [{self.name}.csv]({self.name}.csv) brings back its params, "
            f"SAE and metrics; `{self.command}` runs what the commit does not have, and writes this again. "
            "Other than params.yaml:\n"
        )
        models = {name: model.overrides for name, model in plan.models.items()}
        for name, overrides in ({"all runs": plan.common} | models | plan.packings | plan.architectures).items():
            told = ", ".join(f"`{key}={_value(value)}`" for key, value in overrides.items())
            yield f"* {name}: {told or 'as params.yaml says'}"

    @property
    def _words(self) -> dict[Verdict, str]:
        """Say each verdict by the names of the packings."""
        first, second = self.plan.packings
        return {
            Verdict.FIRST: f"{first} is better",
            Verdict.SECOND: f"{second} is better",
            Verdict.OPEN: "nothing can be said",
            Verdict.EQUAL: "no difference",
            Verdict.UNMATCHED: "L0 is not matched",
        }

    def _verdicts(self) -> str:
        rows = [
            [
                cell.model,
                cell.architecture,
                *(_titles(c for c in cell.comparisons if c.verdict == v) for v in self._words),
            ]
            for cell in self.cells
        ]
        return _table(["model", "architecture", *self._words.values()], rows)

    def _sentences(self) -> Iterator[str]:
        first, second = self.plan.packings
        everywhere, nowhere = [], []
        for measure in MEASURES:
            found = [c.verdict for cell in self.cells for c in cell.comparisons if c.measure == measure]
            if found and all(verdict == Verdict.FIRST for verdict in found):
                everywhere.append(measure.title)
            elif found and Verdict.FIRST not in found:
                nowhere.append(measure.title)
        yield f"{first} is better with every model and architecture in: {', '.join(everywhere) or 'nothing'}."
        yield f"{first} is better with none of them in: {', '.join(nowhere) or 'nothing'}."
        for name, model in self.plan.models.items():
            if model.control_of is not None:
                yield self._control(name, model.control_of)
        judged = [c for cell in self.cells for c in cell.comparisons if c.difference.n > 1]
        count = Counter(c.verdict for c in judged)
        yield (
            f"Of {len(judged)} differences {count[Verdict.FIRST]} speak for {first} and {count[Verdict.SECOND]} for "
            f"{second}. Were there none at all, about {(1 - LEVEL) * len(judged):.1f} intervals would miss 0 by chance."
        )

    def _control(self, control: str, of: str) -> str:
        """Say what becomes on the control of what the first packing wins on its model."""
        first, second = self.plan.packings
        there = {(c.architecture, c.measure): c.verdict for c in self._of(control)}
        won = [c for c in self._of(of) if c.verdict == Verdict.FIRST]
        if not won:
            return f"{first} wins nothing on {of}, so that its control {control} has nothing to explain."
        after = [(c, there.get((c.architecture, c.measure))) for c in won]
        kept = [c for c, verdict in after if verdict == Verdict.FIRST]
        turned = [c for c, verdict in after if verdict == Verdict.SECOND]
        told = (
            f"Of the {len(won)} differences that {first} wins on {of}, it wins {len(kept)} on the control {control} "
            f"too, and loses {len(turned)} to {second} there."
        )
        gone = ", ".join(f"{c.measure.title} ({c.architecture})" for c in won if c not in kept)
        return f"{told} The tuning of {of}, and not {first}, may be what wins: {gone}." if gone else told

    def _of(self, model: str) -> list[Comparison]:
        return [c for cell in self.cells if cell.model == model for c in cell.comparisons]

    def _sparsities(self) -> str:
        rows = []
        for cell in self.cells:
            s = cell.sparsity
            means = [_told(t_interval(list(values.values()))) for values in (s.first, s.second)]
            match = "yes" if s.matched else "**no**"
            rows.append(
                [cell.model, cell.architecture, f"{s.target:g}", *means, f"{s.furthest:.1%}", f"{s.apart:.1%}", match]
            )
        first, second = self.plan.packings
        head = ["model", "architecture", "target", first, second, "furthest run from target", "means apart", "matched"]
        return _table(head, rows) + (
            f"\n\nMatched: every run within {TOLERANCE:.0%} of the target, and the two means within {TOLERANCE:.0%} of "
            "each other. Where they are not, no difference is called a win."
        )

    def _cell(self, cell: Cell) -> Iterator[str]:
        first, second = self.plan.packings
        rows = [
            [c.measure.title, *_row(c), c.measure.better, self._words[c.verdict], c.measure.told]
            for c in cell.comparisons
        ]
        yield f"## {cell.model}, {cell.architecture}" + ("" if cell.sparsity.matched else ": L0 not matched")
        yield _table(["", first, second, f"{first} − {second}", "better is", "verdict", "what it is"], rows)

    def _limits(self) -> Iterator[str]:
        for name, model in self.plan.models.items():
            metrics = next(result.metrics for result in self.results if result.run.model == name)
            texts, rows = metrics.get("evaluate.examples"), metrics.get(ROWS)
            counted = f" Measured on {texts:,.0f} test texts of {rows / texts:.0f} tokens." if texts and rows else ""
            yield f"**{name}**: {model.about.strip()}{counted}"
        yield (
            f"Intervals are Student's at {LEVEL:.0%} over {len(self.plan.seeds)} seeds; in brackets their ends. A seed "
            "changes the first weights and the order of the rows, neither the data nor the language model: of another "
            "corpus or model they say nothing. Differences are paired by seed."
        )
        if any(c.measure.key.startswith("stability") for cell in self.cells for c in cell.comparisons):
            yield (
                "Stability is of pairs of seeds, and each seed stands in several pairs: its intervals are too narrow. "
                "Decoders are matched one to one, over latents that fire (Paulo & Belrose 2025, "
                f"arXiv:2501.16615); a cosine of {SHARED} or more counts as shared."
            )
        yield "Measures overlap: MSE, FVU and their variants are of one squared error, and no independent evidence."
        if lacking := [
            m.title for m in MEASURES if not any(m == c.measure for cell in self.cells for c in cell.comparisons)
        ]:
            yield f"Not measured in these runs: {', '.join(lacking)}."


def _row(c: Comparison) -> list[str]:
    return [_told(t_interval(list(values.values()))) for values in (c.first, c.second)] + [_told(c.difference)]


def _told(interval: Interval) -> str:
    """Say a mean and its interval.

    >>> _told(Interval(0.5, 0.25, 0.75, 3))
    '0.5 [0.25, 0.75]'
    """
    ends = "" if interval.low is None else f" [{interval.low:.4g}, {interval.high:.4g}]"
    return f"{interval.mean:.4g}{ends}"


def _titles(comparisons: "Iterator[Comparison]") -> str:
    return ", ".join(c.measure.title for c in comparisons) or "–"


def _value(value: object) -> str:
    return "null" if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])

"""The report of a plan, in Markdown; every sentence follows from the numbers, or is the plan's own."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fast_sae.comparison.collect import Result
from fast_sae.comparison.control import told_by_control
from fast_sae.comparison.intervals import LEVEL, t_interval
from fast_sae.comparison.matching import SHARED
from fast_sae.comparison.measures import HEADLINE, MEASURES, ROWS, WITHOUT
from fast_sae.comparison.plan import Plan
from fast_sae.comparison.verdict import ELASTICITY, TOLERANCE, Cell, Comparison, Verdict

_WON = (Verdict.FIRST, Verdict.SECOND)


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
            Verdict.UNMATCHED: "L0 is not matched",
            Verdict.EQUAL: "no difference",
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
        for verdict, words in self._words.items():
            where = self._where(verdict)
            if where or verdict != Verdict.EQUAL:
                yield f"{_capital(words) if verdict not in _WON else words} in: {where or 'nothing'}."
        for name, model in self.plan.models.items():
            if model.control_of is not None:
                yield from told_by_control(self.cells, list(self.plan.packings), name, model.control_of)
        judged = [c for cell in self.cells for c in cell.comparisons if _counts(c)]
        count = Counter(c.verdict for c in judged)
        yield (
            f"Of {len(judged)} differences at matched L0 {count[Verdict.FIRST]} speak for {first} and "
            f"{count[Verdict.SECOND]} for {second}. Were there none at all, at most about "
            f"{(1 - LEVEL) * len(judged):.1f} would by chance. Neither logarithms, which say again what their errors "
            "say, nor stability, nor values that are equal run by run are counted."
        )

    def _where(self, verdict: Verdict) -> str:
        """Name the measures that have a verdict, first those without constant rows, each with where it has it."""
        found: list[str] = []
        for measure in HEADLINE:
            all_of_it = [c for cell in self.cells for c in cell.comparisons if c.measure == measure]
            here = [f"{c.model}, {c.architecture}" for c in all_of_it if c.verdict == verdict]
            if here:
                found.append(f"{measure.title} ({'everywhere' if len(here) == len(self.cells) else '; '.join(here)})")
        return ", ".join(found)

    def _sparsities(self) -> str:
        rows = []
        for cell in self.cells:
            s = cell.sparsity
            rows.append(
                [
                    cell.model,
                    cell.architecture,
                    f"{s.target:g}",
                    *_means(s.first, s.second),
                    f"{s.furthest:.1%}",
                    f"{s.apart:.1%}",
                    f"{s.gap:+.4f}",
                    *(_means(*s.varying) if s.varying else ["–", "–"]),
                    "–" if s.varying_gap is None else f"{s.varying_gap:+.4f}",
                    "yes" if s.matched else "**no**",
                ]
            )
        first, second = self.plan.packings
        head = ["model", "architecture", "target", first, second, "furthest run from target", "means apart", "gap"]
        head += [f"{packing} {WITHOUT}" for packing in (first, second)] + [f"gap {WITHOUT}", "matched"]
        return _table(head, rows) + (
            f"\n\nMatched: every run within {TOLERANCE:.0%} of the target, and the two means within {TOLERANCE:.0%} of "
            "each other, over all rows. Where they are not, no difference is called a win. Where they are, a win "
            f"counts only if it survives what the gap, log(mean L0 of {first} / mean L0 of {second}) over the "
            "measure's own rows, could explain: where the better one has the higher L0, the interval is shifted by "
            f"|gap| × {ELASTICITY:g} × the mean of the other (a log2 by |gap| × {ELASTICITY:g} / ln 2), and must still "
            f"exclude 0. {ELASTICITY:g} is twice the largest |d log FVU / d log L0| measured on the default SAE, 0.49."
        )

    def _cell(self, cell: Cell) -> Iterator[str]:
        first, second = self.plan.packings
        rows = [
            [
                c.measure.title,
                *_means(c.first, c.second),
                str(c.difference),
                c.measure.better,
                self._said(c),
                c.measure.told,
            ]
            for c in cell.comparisons
        ]
        yield f"## {cell.model}, {cell.architecture}" + ("" if cell.sparsity.matched else ": L0 not matched")
        yield _table(["", first, second, f"{first} − {second}", "better is", "verdict", "what it is"], rows)

    def _said(self, c: Comparison) -> str:
        return self._words[c.verdict] + (": the L0 gap could explain it" if c.explained_by_l0 else "")

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
        yield (
            "Constant rows are those of tokens whose whole prefix is the same in all chats, as the template's first: "
            "the language model gives the same activations there each time, and an SAE trained on whole chats has been "
            "trained on these very rows, so that figures with them partly measure memory. Sentences name the measures "
            f"{WITHOUT} first."
        )
        if any(c.measure.of_seed_pairs for cell in self.cells for c in cell.comparisons):
            yield (
                "Stability has numbers and no verdict: it is of pairs of seeds, pairs share seeds, and so its "
                "intervals are far too narrow. Decoders are matched one to one, over latents that fire (Paulo & "
                f"Belrose 2025, arXiv:2501.16615); a cosine of {SHARED} or more counts as shared."
            )
        if all_latents := sorted(
            {
                f"{r.run.model}, {r.run.packing}, {r.run.architecture}"
                for r in self.results
                if r.decoder is not None and not r.held_out
            }
        ):
            yield (
                "No held-out activations were stored, and stability counts all latents, those that never fire too, of: "
                f"{'; '.join(all_latents)}."
            )
        yield "Measures overlap: MSE, FVU and their variants are of one squared error, and no independent evidence."
        if lacking := [
            m.title for m in MEASURES if not any(m == c.measure for cell in self.cells for c in cell.comparisons)
        ]:
            yield f"Not measured in these runs: {', '.join(lacking)}."


def _counts(c: Comparison) -> bool:
    return (
        c.matched
        and c.difference.n > 1
        and not (c.measure.logarithm or c.measure.of_seed_pairs)
        and c.verdict != Verdict.EQUAL
    )


def _means(first: Mapping[str, float], second: Mapping[str, float]) -> list[str]:
    return [str(t_interval(list(values.values()))) for values in (first, second)]


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _titles(comparisons: "Iterator[Comparison]") -> str:
    return ", ".join(c.measure.title for c in comparisons) or "–"


def _value(value: object) -> str:
    return "null" if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])

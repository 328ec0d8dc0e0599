"""Write what the README.md take from elsewhere: `python tools/readme.py`.

The tree has one line per file, from the first line of its docstring; the tables are those of the metrics files.
"""

import ast
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MODEL_CARD = ROOT / "models/tiny-instruct/README.md"
PACKED_CARD = ROOT / "models/tiny-instruct-packed/README.md"
TOLD = {
    "evaluate.normalized_mse": "fraction of variance unexplained (FVU) on test texts",
    "evaluate.normalized_mse_varying": "the same without tokens whose whole prefix is the same in all chats",
    "evaluate.l0": "latents active per token",
    "evaluate.reconstruction_mse": "mean squared error per number",
    "evaluate.dead_latent_fraction": "latents that fire on no test token",
    "evaluate.ultra_dense_latent_fraction": "latents that fire on more than a tenth of the tokens",
    "evaluate.label_auroc": "mean over the 45 actions of the AUROC of one latent, chosen on validation texts",
    "evaluate.label_auroc_dimension": "the same of one dimension of the activations themselves",
    "evaluate.label_auroc_probe": "the same of a linear probe on all of them, fitted on validation texts",
    "in_model.ce_recovered": "share of the cross-entropy lost by ablation that the SAE in the model wins back",
    "interpret.balanced_accuracy": "of the names of 20 latents, found on validation, on test texts: 0.5 is chance",
    "interpret.f1_over_other": "F1 of a latent's name, less that of another latent's name on the same texts",
    "steer.rate_latent": "share of texts written that show the action of the latent that is steered",
    "steer.rate_random": "the same for random directions of the same length",
    "steer.rate_other": "the same for other latents",
    "evaluate.examples": "test texts",
    "evaluate.rows": "their tokens",
    "train.best_epoch": "epoch whose weights were kept",
}
"""The metrics of the README's table."""
TURNS = {
    "user": "the user's turn",
    "assistant": "the assistant's turn",
    "write_user": "a request, in the user's turn",
    "write_assistant": "the text asked for, in the assistant's turn",
    "name_user": "a text, in the user's turn",
    "name_assistant": "its action, in the assistant's turn",
}
OTHERS = {
    "BENCHMARKS.md": "speed and memory beside peers, in one run: what is measured, and the tables",
    "benchmarks/requirements.txt": "the peers, for make bench's own environment",
    "benchmarks/results.json": "what make bench has measured",
    "Makefile": "repro, paper, plots, compare, bench, test, test-system, check, format: each sets up what it needs",
    "dvc.yaml": "the stages: what each reads, tracks and makes",
    "params.yaml": "every knob, explained",
    "dvc.lock": "which inputs made which outputs, by their hashes",
    "requirements.txt": "what the pipeline runs on, pinned",
    "requirements-dev.txt": "what tests and checks need besides",
    "constraints.txt": "the versions of all that those need in turn",
    "pyproject.toml": "settings of ruff, basedpyright, pytest and import-linter",
    "data/raw/cognitive_actions.jsonl": "the embedded corpus, 7,000 texts",
    "models/tiny-instruct/README.md": "the embedded model: what it can do, in numbers",
    "models/tiny-instruct/recipe/dvc.yaml": "how it was trained: a DVC repository of its own",
    "models/tiny-instruct-packed/README.md": "its control, tuned on rows cut from a stream of chats",
    "models/tiny-instruct-packed/recipe/dvc.yaml": "how that was tuned: another DVC repository of its own",
    "experiments/fast_vs_block.yaml": "the plan of make paper: models, packings, architectures, seeds",
    "models/HUB_MODEL/config.json": "what model.files points at where the model comes from the hub",
    "reports/fast_vs_block.md": "what `make paper` found: FAST against blocks, at matched L0, with a control",
    "docs/metrics.md": "what each metric means",
    "docs/paper.md": "what FAST claims, in its units; its settings here; what in ours differs, and why",
    "docs/features.md": "what is kept of each latent, by table and definition",
    "docs/interpretation.md": "how latents are named, offline and by a language model, and how names are scored",
    "docs/hypotheses.md": "latents that go with a label or a number: chosen, named, tested",
    "docs/steering.md": "steering by latents: doses, controls, and how to read the curve",
    "docs/plots.md": "what each of DVC's plots shows, and make plots, which needs no network",
    "docs/compare.md": "two runs compared: what is found again, changed, vanished, appeared",
    "docs/dashboard.md": "the page on which to look at a run and its latents",
    "docs/api.md": "an SAE and its features from Python and notebooks",
    "notebooks/explore.ipynb": "an SAE and its features in ten lines, with what they show",
    "docs/dvc.md": "DVC's surprises, their answers, and what to do when something goes wrong",
    "tools/cognitive_actions/actions.yaml": "sixteen things that somebody does who performs each action",
    "tools/cognitive_actions/domains.yaml": "topics, people and scenes of each domain",
    "tools/cognitive_actions/frames.yaml": "triggers, feelings, beginnings and styles",
    "tests/recorded/hypothesaes_2_0_1.json": "one training step of HypotheSAEs in eight settings",
    "tests/recorded/hypothesaes_selection.json": "the latents that HypotheSAEs 2.0.1 selects, and their scores",
    "tests/recorded/peer_metrics.json": "what SAELens and dictionary_learning measure on the same rows and logits",
}


def describe() -> Iterator[tuple[str, str]]:
    """Yield every file that has a line: path from the root, and what it is."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(set(listed.stdout.split("\n")), key=lambda name: (name.rpartition("/")[0], name)):
        path = ROOT / name
        if name in OTHERS:
            yield name, OTHERS[name]
        elif path.suffix == ".py" and path.exists() and (told := _first_line(path)):
            yield name, told
        elif name.startswith("presets/"):
            yield name, path.read_text(encoding="utf-8").split("\n")[0].removeprefix("# ").rstrip(".")


def draw() -> str:
    """Draw the tree: each folder once, its files below it."""
    lines: list[str] = []
    folder = ""
    for name, told in describe():
        parent, _, base = name.rpartition("/")
        if parent != folder:
            folder = parent
            lines.append(f"{folder}/")
        lines.append(f"{'  ' * bool(parent)}{base:<26} {told}")
    return "```\n" + "\n".join(lines) + "\n```\n"


def tabulate() -> str:
    """Make the table of the default's metrics."""
    known: dict[str, float] = {}
    for path in sorted((ROOT / "metrics").glob("*.json")):
        for prefix, values in json.loads(path.read_text(encoding="utf-8")).items():
            known |= {f"{prefix}.{key}": value for key, value in values.items()}
    rows = (f"| `{key}` | {known[key]:,} | {told} |" for key, told in TOLD.items())
    return "\n".join(["| metric | value | what it is |", "|---|---|---|", *rows]) + "\n"


def tabulate_model() -> str:
    """Make the table of the embedded model's measures."""
    found = json.loads((MODEL_CARD.parent / "recipe/metrics.json").read_text(encoding="utf-8"))
    ours, trigram = found["perplexity"], found["trigram_perplexity"]
    rows = [
        ["perplexity per token", "model", "trigram"],
        ["---"] * 3,
        *([told, f"{ours[turn]:.3f}", f"{trigram[turn]:.3f}"] for turn, told in TURNS.items()),
    ]
    writing = found["writing"]
    facts = [
        ("texts written on request whose action the classifier recognises", writing["recognised"]),
        (
            "the classifier's own score on texts of the corpus that it did not learn from",
            found["classifier"]["held_out"],
        ),
        ("texts written that follow the generator's grammar from the first word to the last", writing["grammatical"]),
        ("held-out texts whose action it names", found["naming"]["right"]),
    ]
    shares = [["share of", "value"], ["---"] * 2, *([told, f"{value:.1%}"] for told, value in facts)]
    return "\n\n".join("\n".join(f"| {' | '.join(row)} |" for row in table) for table in (rows, shares)) + "\n"


def tabulate_packed() -> str:
    """Make the table of both models' perplexity on chats and on blocks."""
    found = json.loads((PACKED_CARD.parent / "recipe/metrics.json").read_text(encoding="utf-8"))["perplexity"]
    rows = (f"| {model} | {read['chats']:.3f} | {read['blocks']:.3f} |" for model, read in found.items())
    return "\n".join(["| perplexity per token | each chat alone | in blocks |", "|---|---|---|", *rows]) + "\n"


def insert(text: str) -> str:
    """Put each block of a README between its marks."""
    blocks = {"tree": draw, "metrics": tabulate, "measures": tabulate_model, "packed measures": tabulate_packed}
    for name, make in blocks.items():
        begin, end = f"<!-- {name}: made by tools/readme.py -->\n", f"<!-- end of {name} -->\n"
        if begin in text:
            before, rest = text.split(begin)
            text = before + begin + make() + end + rest.split(end)[1]
    return text


def _first_line(path: Path) -> str:
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return told.split("\n")[0].split(": `")[0].rstrip(".")


if __name__ == "__main__":
    for path in (README, MODEL_CARD, PACKED_CARD):
        path.write_text(insert(path.read_text(encoding="utf-8")), encoding="utf-8")

"""A run in small, whose every number can be checked by eye, its dashboard, and a reader of pages.

The features are those of `features_samples`, with tables that it leaves empty. Latent 0 fires on " pearl" in each fifth
example; 1 has labels, a steering curve and both kinds of names; 2 fires on test alone and has nothing; 3 is dead.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import torch
import yaml
from features_samples import make_store
from samples import params
from steering_samples import steer_settings, written

import build_dashboard
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import read_manifest, write_manifest, write_metrics, write_table
from fast_sae.dashboard.figures import Figures
from fast_sae.dashboard.material import Material
from fast_sae.dashboard.names import Names
from fast_sae.dashboard.settings import DashboardSettings
from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.features.store import FeatureStore
from fast_sae.features.tables import from_rows, read_features_table, write_features_table
from fast_sae.interpretation.tables import write_interpretations
from fast_sae.params import parse_section
from fast_sae.sae.build import build_sae
from fast_sae.sae.checkpoint import sae_sha256, save_sae
from fast_sae.sae.settings import SAESettings
from fast_sae.steering.effects import Chosen, Effects
from fast_sae.steering.report import SteerReport
from fast_sae.training.settings import TrainSettings, training_record

M, D_IN = 4, 3
MODEL_NAME = "models/tiny-instruct"
PATHS = ("sae", "features", "interpretations", "hypotheses", "steering", "metrics")
"""What the stage reads, in a run's folder."""
PROMPTS = ("Write a short text about music.", "Write a short text about friends.")
"""The first two that steering scores."""
_NONE = (None,) * 7

TABLES: dict[str, list[tuple]] = {
    "latents": [
        (0, 0.123456, 0.2, 0.25, 0.0987654, 0.3, 0.4, 1.23456, 1, 1.25, 1.5, 1.75, 1.9, 1.98333)
        + (0, 0, 0, 1, 0, "waiting", 0.75, None),
        (1, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 2.5, 2, 2.1, 2.2, 2.3, 2.4, 2.96667)
        + (0, 0.25, 0, 0.75, 0, "counting", 1, 0.98765),
        (2, 0, 0, 0, 0.125, 1, 1, *_NONE, 0, 0, 0, 0, 0, None, None, None),
    ],
    "histograms": [(0, 0.99999, 1.54321, 7), (0, 1.54321, 2, 123456), (1, 2, 3, 30)],
    "tokens": [(0, 1, 17, " pearl", 36, 37, 6.66666), (0, 2, 18, "Pearl", 1, 10000, 1.5), (1, 1, 9, "", 3, 4, 2)],
    "logit_lens": [
        (0, "promoted", 1, 3, " shell", 2.34567),
        (0, "promoted", 2, 4, " sea", 1.0),
        (0, "suppressed", 1, 5, " sky", -3.45678),
        (1, "suppressed", 1, 6, " one", -0.000123456),
    ],
    "neighbours": [
        (0, "decoder", 1, 2, 0.6),
        (0, "decoder", 2, 1, 0.0),
        (0, "cofiring", 1, 1, 0.333333),
        (1, "decoder", 1, 0, 0.0),
    ],
    "labels": [(1, 1, "counting", 1.0, 0.98765), (1, 2, "waiting", 0.123456, None)],
}

NAMED = {
    "neuron_idx": 0,
    "interpretation": "the word pearl",
    "status": "explained",
    "reason": "",
    "rating": 5,
    "rating_reason": "clear, and short",
    "balanced_accuracy": 0.87654,
    "fuzzing_balanced_accuracy": 0.75,
    "precision": 1.0,
    "recall": 0.5,
    "f1": 0.666667,
    "correlation": None,
    "other_f1": 0.1,
    "constant_f1": 0.2,
    "other_fuzzing_balanced_accuracy": None,
}
"""A row of interpretations.csv."""
HYPOTHESIS = {
    "target": "counting",
    "latent": 1,
    "interpretation": "counts aloud",
    "status": "named",
    "auroc": 0.912345,
    "p_corrected": 0.000123456,
    "confirmed": True,
}
"""A row of hypotheses.csv."""
UNNAMED = HYPOTHESIS | {
    **{"interpretation": "no pattern found", "status": "no_pattern", "auroc": None, "p_corrected": None},
    "confirmed": False,
}

METRICS: dict[str, tuple[str, dict[str, float | int | None]]] = {
    "prepare_data": ("prepare", {"examples": 123456}),
    "train_sae": ("train", {"epochs": 3, "mse_low": 0.5}),
    "evaluate_sae": ("evaluate", {"fvu": 0.0646538, "fvu_low": 0.0642, "fvu_high": 0.0651, "l0": 8.0}),
    "evaluate_in_model": ("in_model", {"examples": 0, "predictions": 0}),
    "interpret_sae": ("interpret", {"n_latents": 1}),
    "generate_hypotheses": ("hypotheses", {"targets": 2}),
    "steer_features": ("steer", {"prompts": 3}),
}


def dashboard_settings(**overrides: object) -> DashboardSettings:
    """The dashboard section of params.yaml, of few steps."""
    section = params()["dashboard"] | {"top_windows": 3, "sampled_windows": 4, "map_steps": 20} | overrides
    return parse_section({"dashboard": section}, "dashboard", DashboardSettings)


def steering_of(*chosen: Chosen, latents: Sequence[int] = (1,)) -> SteerReport:
    """A report of two doses and three prompts."""
    settings = steer_settings()
    alphas = (25.0, 50.0)
    steered = [
        one
        for latent in latents
        for alpha in alphas
        for one in written("latent", alpha, ["counting", "waiting", "counting"], latent=latent)
    ]
    controls = [
        one for role in ("random", "other") for a in alphas for one in written(role, a, ["waiting"] * 3, latent=3)
    ]
    scoring = [*steered, *controls, *written("none", 0.0, ["waiting", None, "waiting"])]
    chats = {(one.trial.name, one.trial.alpha): 2.0 for one in scoring}
    effects = Effects(scoring, chosen, settings)
    return SteerReport(settings, effects, [], [], {}, alphas, 100.0, 0.75, chats)


STEERED = steering_of(Chosen("counting", 1, 0.9, 50.0, 1.0), latents=(1, 2))
"""Latent 1 for a label, latent 2 for none."""


@dataclass
class Run:
    """A repository in small: what the stage reads, and its run."""

    folder: Path
    tables: Mapping[str, list[tuple]] = field(default_factory=dict)
    """In place of those of `TABLES`, or of `features_samples`."""
    interpretations: Sequence[Mapping[str, object]] = (NAMED,)
    hypotheses: Sequence[Mapping[str, object]] = (UNNAMED, HYPOTHESIS)
    steering: SteerReport = STEERED
    metrics: Mapping[str, tuple[str, dict[str, float | int | None]]] = field(default_factory=lambda: METRICS)
    changed: Mapping[str, object] = field(default_factory=dict)
    """Of params.yaml."""

    def __post_init__(self) -> None:
        small = {f"dashboard.{key}": value for key, value in dashboard_settings().model_dump().items()}
        sae = {"sae.M": M, "sae.K": 2, "sae.matryoshka": None, "sae.layer": 5, "sae.architecture": "topk"}
        self.sections = params(**small | sae | dict(self.changed))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_sae()
        self._write_features()
        self.write_tables()
        self._write_metrics()

    def build(self, monkeypatch) -> "ReadPage":
        """Run the stage, and read its page."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.sections, allow_unicode=True), encoding="utf-8")
        monkeypatch.chdir(self.folder)
        build_dashboard.main(*map(Path, PATHS))
        return read_dashboard(self.folder / "reports/dashboard")

    def _write_sae(self) -> None:
        settings = parse_section(self.sections, "sae", SAESettings)
        sae = build_sae(D_IN, settings)
        with torch.no_grad():
            sae.W_dec.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.6, 0, 0.8], [0, 0, 1]]))
        save_sae(sae, self.folder / "sae")
        trained = (("model", ModelSettings), ("extract", ExtractSettings), ("train", TrainSettings))
        model, extract, train = (parse_section(self.sections, name, of) for name, of in trained)
        features = parse_section(self.sections, "features", FeaturesSettings)
        self.record = features_record(training_record(model, extract, settings, train), features)

    def _write_features(self) -> None:
        folder = self.folder / "features"
        facts = make_store(folder).manifest.facts
        for name, rows in (TABLES | dict(self.tables)).items():
            write_features_table(folder, name, [from_rows(name, rows)])
        made_of = {"sae_sha256": sae_sha256(self.folder / "sae")}
        write_manifest(folder, "collect_features", self.record, {**facts, **made_of})

    def write_tables(self) -> None:
        """Write what is made of the features."""
        folder, rows = self.folder, {"interpretations": self.interpretations, "hypotheses": self.hypotheses}
        features = {"features_sha256": read_manifest(folder / "features", "collect_features").sha256}
        stages = {"interpretations": "interpret_sae", "hypotheses": "generate_hypotheses", "steering": "steer_features"}
        self.steering.write(folder / "steering", folder / "steer.json", folder / "plots")
        for name, stage in stages.items():
            write_manifest(folder / name, stage, {}, features)
        for name, found in rows.items():
            columns = [*(found[0] if found else NAMED | HYPOTHESIS)]
            table = pd.DataFrame([*map(dict, found)], columns=columns, dtype=object)
            write_interpretations(folder / name / f"{name}.csv", table)

    def _write_metrics(self) -> None:
        folder = self.folder / "metrics"
        for stage, (section, values) in self.metrics.items():
            write_metrics(folder / f"{stage}.json", section, values)
        for name in ("loss", "l0", "dead_fraction", "validation_loss"):
            points = {"step": [50, 123450, 123500], name: [0.123456, 0.1, 0]}
            write_table(folder / f"plots/train_sae/{name}.csv", pd.DataFrame(points))
        density = pd.DataFrame({"log10_density": ["dead", "-6.0", "-5.5"], "latents": [1, 0, 12345]})
        write_table(folder / "plots/evaluate_sae/density.csv", density)


def without_labels(rows: list[dict]) -> list[tuple]:
    """Rows of a table of data/features whose labels are taken away."""
    names = ("label", "best_label", "validation_auroc", "test_auroc")
    return [tuple(None if name in names else value for name, value in row.items()) for row in rows]


def kept_rows(folder: Path, name: str) -> list[dict]:
    """The rows of a table that `features_samples` writes."""
    return read_features_table(make_store(folder).folder, name).to_pylist()


def material_of(store: FeatureStore, **overrides) -> Material:
    """What is known of latents when no stage but collect_features ran."""
    found = {"W_dec": torch.eye(M)[:, :D_IN].numpy(), "names": Names(), "steered": {}, "figures": Figures([], {}, [])}
    return Material(store, **found | overrides)


@dataclass(frozen=True)
class ReadPage:
    """What a page holds."""

    text: str
    blocks: dict[str, dict]
    """The JSON blocks, by name."""
    scripts: list[str]
    styles: list[str]
    policy: dict[str, list[str]]
    """The sources of each directive of the Content-Security-Policy."""
    title: str
    tags: list[tuple[str, dict[str, str | None]]]
    beside: dict[int, dict] = field(default_factory=dict)
    """The chunks beside it."""

    @property
    def overview(self) -> dict:
        return self.blocks["overview"]

    @property
    def chunks(self) -> dict[int, dict]:
        """The chunks, wherever they are."""
        embedded = {int(k.removeprefix("chunk-")): v for k, v in self.blocks.items() if k.startswith("chunk-")}
        return embedded | self.beside

    @property
    def latents(self) -> dict[int, dict]:
        """Each latent of each chunk."""
        return {int(latent): about for chunk in self.chunks.values() for latent, about in chunk["latents"].items()}

    @property
    def columns(self) -> dict[int, dict]:
        """The overview's rows, by latent."""
        table = self.overview["latents"]
        assert len({len(column) for column in table.values()}) == 1
        return {k: {name: table[name][i] for name in table} for i, k in enumerate(table["latent"])}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[list[str]] = []
        self.open = False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append([])
        self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.inside[-1].append(data)


def read_page(text: str) -> ReadPage:
    """Read a page's HTML as a browser would."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    found = [(tag, about, "".join(held)) for (tag, about), held in zip(reader.tags, reader.inside, strict=True)]
    data = [one for one in found if one[0] == "script" and one[1].get("type") == "application/json"]
    packed = [one for one in found if one[0] == "script" and one[1].get("type") == "text/plain"]
    scripts = [held for tag, about, held in found if tag == "script" and "type" not in about]
    policies = [about["content"] or "" for _, about, _ in found if about.get("http-equiv") == "Content-Security-Policy"]
    (policy,) = policies
    directives = [directive.split() for directive in policy.split(";")]
    return ReadPage(
        text,
        {str(about["id"]).removeprefix("data-"): json.loads(held) for _, about, held in data}
        | {str(about["id"]).removeprefix("data-"): unpack(held) for _, about, held in packed},
        scripts,
        [held for tag, _, held in found if tag == "style"],
        {name: sources for name, *sources in directives},
        next(held for tag, _, held in found if tag == "title"),
        reader.tags,
    )


def read_chunk(script: str) -> tuple[int, dict]:
    """Read a chunk's script as a browser would: one call."""
    match = re.fullmatch(r'fastSaeChunk\((\d+),"([A-Za-z0-9+/=]*)"\);\n', script)
    assert match, script[:100]
    return int(match[1]), unpack(match[2])


def unpack(packed: str) -> dict:
    """Read what a page packs."""
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def read_dashboard(folder: Path) -> ReadPage:
    """Read a page and the chunks beside it."""
    page = read_page((folder / "index.html").read_bytes().decode("utf-8"))
    for path in sorted(folder.glob("chunks/*")):
        number, chunk = read_chunk(path.read_bytes().decode("utf-8"))
        assert path.name == f"{number}.js"
        page.beside[number] = chunk
    return page


def digest(text: str) -> str:
    """A source of a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

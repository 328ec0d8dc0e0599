"""Record what HypotheSAEs 2.0.1 selects and how it scores hypotheses, for tests/hypotheses/test_recorded.py.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install --no-deps hypothesaes==2.0.1
    /tmp/peer/bin/pip install numpy scipy scikit-learn==1.9.1 pandas statsmodels==0.15.0 tqdm openai tiktoken
    /tmp/peer/bin/python tools/record_hypothesaes_selection.py  # writes tests/recorded/hypothesaes_selection.json

Its own functions run, on pooled latents drawn here. A rare latent's separation score hangs on how an unstable sort
orders silent examples; it is recorded as the mean over many orders of the examples.
"""

import importlib
import importlib.util
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

PACKAGES = ("hypothesaes", "scikit-learn", "statsmodels")
EXAMPLES, M, N, TOP, RARE, ORDERS = 90, 10, 3, 20, 2, 4000


def submodule(name: str) -> ModuleType:
    """Import one file of the package; its __init__ would load embeddings models and torch."""
    if "hypothesaes" not in sys.modules:
        spec = importlib.util.find_spec("hypothesaes")
        assert spec is not None
        package = ModuleType("hypothesaes")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["hypothesaes"] = package
    return importlib.import_module(f"hypothesaes.{name}")


def draw() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw latents, the last `RARE` of them rare, and a label and a number that some of them go with."""
    generator = np.random.default_rng(0)
    z = generator.gamma(2.0, 1.0, (EXAMPLES, M)).round(3)
    rate = np.append(np.linspace(0.4, 0.9, M - RARE), [0.1] * RARE)
    z *= generator.random((EXAMPLES, M)) < rate
    number = (0.8 * z[:, 0] - 0.6 * z[:, 3] + 0.5 * z[:, 5] + generator.normal(0, 1.5, EXAMPLES)).round(3)
    return z, {"number": number, "label": (number > np.median(number)).astype(float)}


def selections(z: np.ndarray, y: np.ndarray, is_label: bool) -> dict[str, object]:
    """Select by each method, of the latents that are not rare."""
    select = submodule("select_neurons").select_neurons
    options = {"n_select": N, "classification": is_label}
    own = {"separation_score": {"n_top_activating": TOP}, "correlation": {}, "lasso": {}}
    found = {}
    for method, more in own.items():
        np.random.seed(0)  # liblinear's order of coordinates
        latents, scores = select(z[:, :-RARE], y, method=method, **options, **more)
        found[method] = {"latents": [int(i) for i in latents], "scores": [float(s) for s in scores]}
    return found


def rare_separation(z: np.ndarray, y: np.ndarray) -> list[float]:
    """Average the separation scores of the rare latents over orders of the examples."""
    separation = submodule("select_neurons").select_neurons_separation_score
    generator, total = np.random.default_rng(1), np.zeros(RARE)
    for _ in range(ORDERS):
        order = generator.permutation(EXAMPLES)
        latents, scores = separation(z[order, -RARE:], y[order], RARE, n_top_activating=TOP)
        total[latents] += scores
    return (total / ORDERS).tolist()


def evaluations(z: np.ndarray, y: np.ndarray, is_label: bool) -> dict[str, object]:
    """Score annotations that say whether a latent is above 1."""
    annotations = {str(i): (z[:, i] > 1).astype(int) for i in range(N)}
    metrics, table = submodule("evaluation").score_hypotheses(annotations, y, classification=is_label)
    columns = table.sort_values("hypothesis").to_dict("list")
    joint = metrics["auroc"] if is_label else metrics["r2"]
    return {"joint": float(joint), **{key: columns[key] for key in ("separation_score", "feature_prevalence")}}


def main(path: Path = Path("tests/recorded/hypothesaes_selection.json")) -> None:
    """Record both targets."""
    warnings.simplefilter("ignore")  # scikit-learn's, of penalty="l1"
    z, targets = draw()
    found = {}
    for name, y in targets.items():
        is_label = name == "label"
        found[name] = {
            "target": y.tolist(),
            "selected": selections(z, y, is_label),
            "rare_separation": rare_separation(z, y),
            "evaluated": evaluations(z, y, is_label),
        }
    drawn = {"latents": z.tolist(), "n": N, "top": TOP, "rare": RARE}
    content = {"versions": {name: version(name) for name in PACKAGES}, **drawn, "targets": found}
    path.write_text(json.dumps(content, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

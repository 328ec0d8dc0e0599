"""Hypotheses, whole: choose latents that go with a target, name them on validation, test the names on test."""

from collections.abc import Mapping, Sequence

from fast_sae.backends.base import Backend, Evidence, Explanation
from fast_sae.backends.naming import find_names
from fast_sae.chat.examples import Example
from fast_sae.chat.splits import Split
from fast_sae.features.store import FeatureStore
from fast_sae.hypotheses.annotations import annotate, text_window
from fast_sae.hypotheses.hypothesis import Annotated, Hypothesis
from fast_sae.hypotheses.material import gather
from fast_sae.hypotheses.report import HypothesesReport
from fast_sae.hypotheses.selection import best_latents, score_latents
from fast_sae.hypotheses.settings import HypothesesSettings
from fast_sae.hypotheses.targets import Held, Targets, hold, no_targets, read_targets

EVIDENCE: frozenset[Evidence] = frozenset({"ngram"})
"""A hypothesis speaks of the words of a text: not of the template, nor of places, and never of the label."""


def generate_hypotheses(
    store: FeatureStore,
    examples: Mapping[Split, Sequence[Example]],
    settings: HypothesesSettings,
    backend: Backend,
    texts_per_question: int,
) -> HypothesesReport:
    """Make the hypotheses; none if the settings want none.

    Args:
        store: data/features.
        examples: All of validation and of test, as data/prepared holds them.
        settings: The `hypotheses` section.
        backend: Names and judges.
        texts_per_question: Texts asked about at once.

    Raises:
        ParamsError: if there is nothing to predict.
        ArtifactError: if data/features was made of other examples.
    """
    validation, test = (hold(store, split, examples[split]) for split in ("validation", "test"))
    targets = read_targets(validation, test, settings) if settings.enabled else no_targets(validation, test)
    return make_hypotheses(
        store, validation, test, targets, settings, backend=backend, texts_per_question=texts_per_question
    )


def make_hypotheses(
    store: FeatureStore,
    validation: Held,
    test: Held,
    targets: Targets,
    settings: HypothesesSettings,
    *,
    backend: Backend,
    texts_per_question: int,
) -> HypothesesReport:
    """Choose, name, annotate; the report tests.

    Args:
        store: data/features, for the windows in which a latent is strongest.
        validation: What chooses latents and fits models.
        test: What is annotated and tested.
        targets: What is predicted of each.
        settings: The `hypotheses` section.
        backend: Names and judges.
        texts_per_question: Texts asked about at once.
    """
    chosen = _choose(validation, targets, settings)
    latents = sorted({latent for _, latent, _ in chosen})
    texts = [text_window(example, int(i), "validation", settings.words_per_text) for example, i in validation.pairs]
    strengths = validation.latents[:, latents].toarray()
    materials = [gather(store, latent, texts, strengths[:, i], settings) for i, latent in enumerate(latents)]
    named = find_names(backend, materials, settings.candidates, EVIDENCE)
    names = {
        latent: one.name for latent, one in named.items() if isinstance(one.name, Explanation) and one.name.pattern
    }

    def annotated(held: Held, n: int) -> Annotated:
        rows = held.draw(n, settings.seed)
        texts = [text_window(held.examples[i], int(held.index[i]), held.split, settings.words_per_text) for i in rows]
        return Annotated(held, rows, [*names], annotate(backend, [*names.values()], texts, texts_per_question))

    return HypothesesReport(
        settings,
        targets,
        [Hypothesis(target, latent, score, named[latent]) for target, latent, score in chosen],
        annotated(validation, settings.validation_examples),
        annotated(test, settings.test_examples),
    )


def _choose(validation: Held, targets: Targets, settings: HypothesesSettings) -> list[tuple[int, int, float]]:
    """Return target, latent and score of each hypothesis."""
    if not targets.names:
        return []
    scores = score_latents(validation.latents, targets.validation, settings)
    return [
        (target, latent, float(scores[latent, target]))
        for target in range(len(targets.names))
        for latent in best_latents(scores[:, target], settings.n_hypotheses)
    ]

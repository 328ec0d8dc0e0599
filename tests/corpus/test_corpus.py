"""The embedded corpus: made by the generator beside it, varied enough to be data, and no word gives an action away."""

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from cognitive_actions.classifier import BagOfWords, words
from cognitive_actions.compose import compose, held_out_pairs, load_banks
from cognitive_actions.grammar import follows_grammar
from make_corpus import CORPUS, N_EXAMPLES, SEED

from fast_sae.chat.dedup import drop_duplicates
from fast_sae.chat.gather import gather_examples
from fast_sae.chat.settings import DataSettings
from fast_sae.params import load_params, parse_section

ROOT = Path(__file__).parents[2]
FIELDS = ["id", "text", "cognitive_action", "domain", "trigger", "emotional_state", "language_style"]
FIELDS += ["sentence_starter"]
CLAUSES = 16


@pytest.fixture(scope="module")
def records() -> list[dict[str, str]]:
    return [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def test_the_file_is_what_the_generator_writes(records):
    made = [example.as_dict() for example in compose(N_EXAMPLES, seed=SEED)]
    assert [{key: value for key, value in record.items() if key != "id"} for record in records] == made


def test_another_seed_writes_other_texts(records):
    known = {record["text"] for record in records}
    assert not known & {example.text for example in compose(2000, seed=SEED + 1)}


def test_it_has_the_fields_of_the_original_and_7000_texts_none_equal(records):
    assert all(list(record) == FIELDS for record in records)
    assert all(record[field] for record in records for field in FIELDS)
    assert len({record["text"] for record in records}) == len({record["id"] for record in records}) == 7000


def test_every_action_is_met_about_equally_often_in_every_domain(records):
    actions = Counter(record["cognitive_action"] for record in records)
    assert len(actions) == 45
    assert max(actions.values()) - min(actions.values()) <= 12
    assert len({(record["cognitive_action"], record["domain"]) for record in records}) == len(load_banks().pairs)


def test_20_gram_deduplication_keeps_nine_tenths():
    params = load_params(ROOT / "params.yaml")
    settings = parse_section(params, "data", DataSettings).model_copy(
        update={"dedup_ngram": 0, "max_examples": None, "text_field": "text", "label_field": "cognitive_action"}
    )
    examples = gather_examples(CORPUS, settings).examples
    assert len(drop_duplicates(examples, 20)) >= 0.9 * len(examples)


def test_a_bag_of_words_names_the_action_of_held_out_texts(records):
    texts, actions = ([record[field] for record in records] for field in ("text", "cognitive_action"))
    assert BagOfWords(texts[:5600], actions[:5600]).accuracy(texts[5600:], actions[5600:]) >= 0.9


def test_no_word_and_no_bigram_names_an_action_by_itself(records):
    found: defaultdict[object, Counter[str]] = defaultdict(Counter)
    for record in records:
        told = words(record["text"])
        for gram in {*told, *pairwise(told)}:
            found[gram][record["cognitive_action"]] += 1
    totals = Counter(record["cognitive_action"] for record in records)
    telling = [
        (gram, action)
        for gram, actions in found.items()
        for action, count in actions.items()
        if count / actions.total() > 0.5 and count / totals[action] > 0.2
    ]
    assert telling == []


def test_every_text_follows_the_grammar_and_a_scrambled_one_does_not(records):
    assert all(follows_grammar(record["text"]) for record in records[::50])
    scrambled = [" ".join(reversed(record["text"].split())) for record in records[:5]]
    assert not any(map(follows_grammar, scrambled))
    assert not follows_grammar(records[0]["text"] + " And more.")
    assert not follows_grammar(records[0]["text"].replace("I was", "I were").replace(" I ", " me ", 1))


def test_every_action_has_sixteen_clauses_that_no_other_has():
    clauses = Counter(clause for known in load_banks().actions.values() for clause in known)
    assert {len(known) for known in load_banks().actions.values()} == {CLAUSES}
    assert max(clauses.values()) == 1


def test_a_text_holds_two_different_clauses_of_its_action(records):
    for record in records[:200]:
        known = load_banks().actions[record["cognitive_action"]]
        starts = [clause.split("{")[0].strip() for clause in known]
        assert sum(bool(start) and f"{start}" in record["text"] for start in starts) >= 2, record["text"]


def test_held_out_pairs_take_turns_and_are_not_composed():
    kept = held_out_pairs(108, seed=1)
    assert len(set(kept)) == 108
    assert max(Counter(action for action, _ in kept).values()) <= 3
    allowed = [pair for pair in load_banks().pairs if pair not in set(kept)]
    composed = {(example.cognitive_action, example.domain) for example in compose(3000, seed=2, pairs=allowed)}
    assert composed == set(allowed)


def test_the_classifier_counts_as_computed_by_hand():
    """Two texts, three words: P(a | 'red') ∝ 1/2 · 2/5 = 0.2, P(b | 'red') ∝ 1/2 · 1/4 = 0.125."""
    model = BagOfWords(["red blue", "green"], ["a", "b"])
    assert model.predict("red") == "a"
    assert model.predict("green") == "b"  # 1/2 · 2/4 against 1/2 · 1/5
    assert model.predict("unheard of") == "a"  # neither word is known, the priors are equal: the first

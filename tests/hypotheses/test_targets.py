import numpy as np
import pytest
import scipy.sparse as sp
from features_samples import make_store
from hypotheses_samples import example, hypotheses_settings, sample_examples

from fast_sae.chat.examples import read_example
from fast_sae.chat.settings import DataSettings
from fast_sae.errors import ArtifactError, ParamsError
from fast_sae.hypotheses.targets import Held, hold, read_targets


def held(*labels: str, split="validation") -> Held:
    latents = sp.csr_array(np.zeros((len(labels), 2), np.float32))
    return Held(split, np.arange(len(labels)), [example("text", label) for label in labels], latents)


def test_each_label_is_told_from_the_rest():
    found = read_targets(held("a", "b", "a"), held("b", "a", "c", split="test"), hypotheses_settings())
    assert (found.names, found.is_label) == (["a", "b"], True)
    assert found.validation.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert found.test.tolist() == [[0, 1], [1, 0], [0, 0]]


def test_listed_labels_are_predicted_alone():
    assert read_targets(held("a", "b"), held("a", "b"), hypotheses_settings(labels=["b"])).names == ["b"]


def test_a_number_is_read_off_the_labels():
    found = read_targets(held("1", "-2.5", "1e3"), held("0", "7"), hypotheses_settings(target="number"))
    assert (found.names, found.is_label) == (["number"], False)
    assert found.validation.tolist() == [[1], [-2.5], [1000]]


@pytest.mark.parametrize("value", [3, 2.5, "4.0", 0])
def test_a_number_in_the_data_comes_through_as_a_label(value):
    data = {"path": "x.jsonl", "text_field": "text", "label_field": "score", "id_field": None, "on_bad_line": "fail"}
    data |= {"dedup_ngram": 0, "max_examples": None, "validation_fraction": 0.2, "test_fraction": 0.2, "seed": 0}
    read = read_example({"text": "words", "score": value}, DataSettings.model_validate(data), "1", "x:1")
    label = read.label
    assert label is not None
    found = read_targets(held(label, "9"), held(label, "8"), hypotheses_settings(target="number"))
    assert found.validation[0, 0] == float(value)


WRONG = {
    "no labels": ((), ("a", "b"), {}, "no example of validation has a label"),
    "no labels on test": (("a", "b"), (), {}, "no example of test has a label"),
    "one label": (("a", "a"), ("a", "b"), {}, "do not hold two labels each"),
    "none in common": (("a", "b"), ("c", "d"), {}, "do not hold two labels each"),
    "a listed one is missing": (("a", "b"), ("a", "b"), {"labels": ["z"]}, "names 'z'"),
    "a word for a number": (("1", "two"), ("1", "2"), {"target": "number"}, "has the label 'two'"),
    "nan": (("1", "nan"), ("1", "2"), {"target": "number"}, "has the label 'nan'"),
    "infinite": (("1", "2"), ("1", "-inf"), {"target": "number"}, "test has the label '-inf'"),
    "a constant": (("1", "1.0"), ("1", "2"), {"target": "number"}, "every label of validation is 1"),
}


@pytest.mark.parametrize(("validation", "test", "settings", "named"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_predicted_is_told_in_one_line(validation, test, settings, named):
    with pytest.raises(ParamsError) as caught:
        read_targets(held(*validation), held(*test, split="test"), hypotheses_settings(**settings))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_examples_without_a_label_are_left_out(tmp_path):
    store = make_store(tmp_path)
    assert len(hold(store, "test", sample_examples()).examples) == 60


def test_latents_of_other_examples_are_refused(tmp_path):
    store, examples = make_store(tmp_path), sample_examples()
    for others in (examples[:-1], examples[1:] + examples[:1]):
        with pytest.raises(ArtifactError, match="made of other examples"):
            hold(store, "test", others)

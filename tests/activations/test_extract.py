"""An extraction, whole: what its manifests say, and what makes it stale."""

import pytest
from activation_samples import extract
from samples import params

from fast_sae.activations.settings import ExtractSettings, ModelSettings, activation_record, read_record
from fast_sae.errors import ArtifactError, ModelError, ParamsError
from fast_sae.params import parse_section

BLOCK = {"extract.packing": "block", "extract.block_size": 64}


def parsed(**overrides: object) -> tuple[ModelSettings, ExtractSettings]:
    sections = params(**overrides)
    return parse_section(sections, "model", ModelSettings), parse_section(sections, "extract", ExtractSettings)


def record(**overrides: object) -> dict:
    return activation_record(*parsed(**overrides))


def test_blocks_have_no_shared_prefix_but_held_out_chats_alone_do(tmp_path):
    facts = {
        name: [extracted.manifest(split)["facts"]["shared_prefix"] for split in ("train", "validation", "test")]
        for name, values in (("fast", {}), ("block", BLOCK))
        for extracted in [extract(tmp_path / name, (4, 2, 2), **values)]
    }
    assert facts["fast"][0] > 0
    assert facts["fast"] == [facts["fast"][0]] * 3
    assert facts["block"] == [0, *facts["fast"][1:]]


def test_activations_of_the_other_packing_are_refused_by_name(tmp_path):
    extracted = extract(tmp_path, (3, 1, 1))
    changed = type(extracted)(extracted.folder, params(**{**flat(extracted.sections), **BLOCK}))
    with pytest.raises(
        ArtifactError, match=r"extract.block_size=None, but params.yaml says 64; run: dvc repro extract"
    ):
        changed.opened().open("train")


def flat(sections: dict) -> dict:
    return {f"{name}.{key}": sections[name][key] for name in ("model", "extract") for key in sections[name]}


def test_an_encoder_is_not_fed_in_blocks(tmp_path):
    import transformers as hf
    from samples import MODEL

    config = hf.BertConfig(
        vocab_size=4096, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    folder = tmp_path / "bert"
    hf.BertModel(config).save_pretrained(folder)
    hf.AutoTokenizer.from_pretrained(MODEL).save_pretrained(folder)
    values = {"model.name": str(folder), "model.files": str(folder), "model.dtype": "float32"}
    with pytest.raises(ModelError, match=r"BertModel is not causal.*set extract.packing: fast"):
        extract(tmp_path / "run", (2, 1, 1), **values, **BLOCK)


def test_the_record_holds_what_decides_the_activations():
    assert record() != record(**BLOCK)
    assert record(**BLOCK) != record(**BLOCK | {"extract.block_size": 32})
    assert record(**{"extract.block_size": 32}) == record(**{"extract.block_size": 64})
    assert record(**{"extract.store": []}) == record()
    assert record(**{"extract.layers": [1, 2]}) == record()


@pytest.mark.parametrize("packing", ["fast", "block"])
def test_other_texts_are_read_each_alone_as_those_of_a_record(packing):
    model, extract = parsed(**{"extract.packing": packing})
    read_model, read_extract = read_record(activation_record(model, extract), layer=3)
    assert read_model == model
    same = {"template", "template_kwargs", "template_date", "max_length", "shard_rows", "dtype"}
    assert read_extract.model_dump(include=same) == extract.model_dump(include=same)
    assert read_extract.layers == (3,)
    assert [read_extract.block_of(split) for split in ("train", "test")] == [None, None]


def test_train_alone_has_blocks():
    _, extract = parsed(**BLOCK)
    assert [extract.block_of(split) for split in ("train", "validation", "test")] == [64, None, None]
    assert parsed()[1].block_of("train") is None


def test_a_split_is_named_once():
    with pytest.raises(ParamsError, match="store must name each split once"):
        parsed(**{"extract.store": ["train", "train"]})

"""What an SAE costs its language model: computed by hand on a toy, and chat by chat on real families."""

import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_samples import CAUSAL_LMS, random_lm, toy_lm
from sae_samples import sae_settings
from samples import MODEL, params, rendered_tokens, runtime, written

from fast_sae.activations.live.identity import folder_sha256
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.artifacts import Manifest, file_sha256, read_manifest, write_manifest
from fast_sae.chat.examples import Example, Message
from fast_sae.chat.kinds import Kind
from fast_sae.chat.roles import Role
from fast_sae.errors import ArtifactError, ModelError
from fast_sae.evaluation.in_model.evaluate import draw, evaluate_in_model
from fast_sae.evaluation.in_model.measure import InModel
from fast_sae.evaluation.in_model.report import InModelReport
from fast_sae.evaluation.in_model.settings import InModelSettings
from fast_sae.evaluation.in_model.sums import QUANTITIES, PredictionSums, cell_of
from fast_sae.params import parse_section
from fast_sae.sae.build import build_sae
from fast_sae.sae.lineage import require_same_split
from fast_sae.splice.causal_lm import CausalLM
from fast_sae.statistics import resample_counts

BOT, SCAFFOLD, ROLE, CONTENT, END = Kind
TRAINED = (int(SCAFFOLD), int(ROLE), int(CONTENT), int(END))
NONE, SYSTEM, USER, ASSISTANT, TOOL = Role

TABLE = [[0.0, 3.0, 3.0], [-1.0, 2.0, 2.0], [0.5, 2.5, 0.0]]
CHATS = [
    rendered_tokens([0, 2, 1, 1], [BOT, CONTENT, CONTENT, END], [NONE, USER, USER, USER]),
    rendered_tokens([0, 1, 2], [BOT, SCAFFOLD, CONTENT], [NONE, ASSISTANT, ASSISTANT]),
]


def settings(**overrides: object) -> InModelSettings:
    section = {"enabled": True, "examples": None, "ce_floor": 0.0, "bootstrap_resamples": 50, "confidence": 0.95}
    return InModelSettings.model_validate(section | {"seed": 0} | overrides)


def in_model(lm: CausalLM, layer: int = 1, *, batch_tokens: int = 8, pad_left: bool = False) -> InModel:
    return InModel(lm, layer, TRAINED, batch_tokens, pad_left)


def toy() -> CausalLM:
    return CausalLM(toy_lm(TABLE))


def halve(states: torch.Tensor) -> torch.Tensor:
    return states / 2


def log_softmax(logits: list[float]) -> list[float]:
    total = math.log(sum(map(math.exp, logits)))
    return [x - total for x in logits]


def by_hand(chats, replace) -> tuple[list[float], list[float]]:
    """Cross-entropy and KL of each predicted token when `replace` changes the logits at all but begin-of-text."""
    ce, kl = [], []
    for chat in chats:
        ids, kinds = chat.token_ids.tolist(), chat.kinds.tolist()
        for source, kind, target in zip(ids, kinds, ids[1:], strict=False):
            p = log_softmax(TABLE[source])
            q = p if kind == BOT else log_softmax(replace(TABLE[source]))
            ce.append(-q[target])
            kl.append(sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True)))
    return ce, kl


MEAN = [1.0, -1.0, 0.0]
VARIANTS = {
    "ce_clean": lambda row: row,
    "ce_sae": lambda row: [x / 2 for x in row],
    "ce_zero": lambda row: [0.0] * 3,
    "ce_mean": lambda row: MEAN,
}


def measured(model: InModel | None = None, reconstruct=halve, mean=MEAN, chats=CHATS) -> PredictionSums:
    return (model or in_model(toy())).measure(chats, reconstruct, torch.tensor(mean, dtype=torch.float64))


@pytest.mark.parametrize("layer", [0, 1], ids=["embedding", "after the final norm"])
def test_the_headline_metrics_are_what_a_hand_computes(layer):
    found = InModelReport(measured(in_model(toy(), layer)), settings()).metrics()
    ce = {name: sum(by_hand(CHATS, replace)[0]) / 5 for name, replace in VARIANTS.items()}
    assert {name: found[name] for name in ce} == pytest.approx(ce, abs=2e-9)
    assert found["ce_increase"] == pytest.approx(ce["ce_sae"] - ce["ce_clean"], abs=2e-9)
    lost = {name: ce[name] - ce["ce_clean"] for name in ce}
    assert found["ce_recovered"] == pytest.approx(1 - lost["ce_sae"] / lost["ce_zero"], abs=2e-9)
    assert found["ce_recovered_mean"] == pytest.approx(1 - lost["ce_sae"] / lost["ce_mean"], abs=2e-9)
    assert found["kl"] == pytest.approx(sum(by_hand(CHATS, VARIANTS["ce_sae"])[1]) / 5, abs=2e-9)
    assert (found["predictions"], found["examples"], found["ce_floor_hit"]) == (5, 2, 0)
    assert len(found) <= 15


def test_zeros_stand_where_the_sae_stands_and_nowhere_else():
    """SAELens' zero ablation reaches the positions that its SAE leaves alone, which flatters the score."""
    found = InModelReport(measured(), settings()).metrics()
    at_all_positions = 2 * math.log(3) + sum(by_hand(CHATS, VARIANTS["ce_zero"])[0])
    at_all_positions -= sum(-log_softmax(TABLE[0])[target] for target in (2, 1))
    assert found["ce_zero"] * 5 < at_all_positions - 0.5
    clean, sae = found["ce_clean"] * 5, found["ce_sae"] * 5
    assert found["ce_recovered"] < (at_all_positions - sae) / (at_all_positions - clean) - 0.02


def test_what_is_put_in_sees_the_trained_kinds_and_no_padding():
    seen = []

    def watch(states: torch.Tensor) -> torch.Tensor:
        seen.append(states)
        return states

    measured(reconstruct=watch)
    assert torch.cat(seen).tolist() == [TABLE[2], TABLE[1], TABLE[1], TABLE[1], TABLE[2]]


def test_the_mean_is_over_the_tokens_at_which_something_is_put_in():
    rows = [TABLE[token] for token in (2, 1, 1, 1, 2)]
    assert in_model(toy()).mean(CHATS).tolist() == pytest.approx(np.mean(rows, 0).tolist())


def test_a_perfect_reconstruction_recovers_all():
    found = InModelReport(measured(reconstruct=lambda states: states), settings()).metrics()
    assert (found["ce_recovered"], found["ce_recovered_mean"], found["kl"], found["ce_increase"]) == (1, 1, 0, 0)
    assert (found["ce_recovered_low"], found["ce_recovered_high"]) == (1, 1)


def test_a_reconstruction_of_zeros_recovers_nothing():
    found = InModelReport(measured(reconstruct=torch.zeros_like), settings()).metrics()
    assert (found["ce_recovered"], found["ce_recovered_low"], found["ce_recovered_high"]) == (0, 0, 0)
    assert found["ce_sae"] == found["ce_zero"]


def test_the_tables_are_by_role_and_kind_of_the_predicted_token(tmp_path):
    _, tables = written(InModelReport(measured(), settings()), tmp_path)
    ce, kl = by_hand(CHATS, VARIANTS["ce_sae"])
    assert {row["role"]: int(row["predictions"]) for row in tables["by_role"]} == {"all": 5, "user": 3, "assistant": 2}
    kinds = {row["kind"]: int(row["predictions"]) for row in tables["by_kind"]}
    assert kinds == {"all": 5, "content": 3, "end_of_turn": 1, "scaffold": 1}
    (assistant,) = [row for row in tables["by_role"] if row["role"] == "assistant"]
    assert float(assistant["ce_sae"]) == pytest.approx(sum(ce[3:]) / 2, rel=1e-5)
    assert float(assistant["kl"]) == pytest.approx(sum(kl[3:]) / 2, rel=1e-5)
    (end,) = [row for row in tables["by_kind"] if row["kind"] == "end_of_turn"]
    assert float(end["ce_sae"]) == pytest.approx(ce[2], rel=1e-5)
    assert end["examples"] == "1"


def test_below_the_floor_nothing_is_recovered_and_the_flag_says_so(tmp_path):
    sums = measured()
    report = InModelReport(sums, settings())
    lost = report.metrics()["ce_zero"] - report.metrics()["ce_clean"]
    at, below = (InModelReport(sums, settings(ce_floor=lost + more)) for more in (-1e-6, 1e-6))
    assert at.metrics()["ce_floor_hit"] == 0
    assert below.metrics()["ce_floor_hit"] == 1
    found, tables = written(below, tmp_path)
    assert not {"ce_recovered", "ce_recovered_low", "ce_recovered_high"} & found.keys()
    assert found["ce_increase"] == pytest.approx(report.metrics()["ce_increase"], rel=1e-5)
    assert tables["by_role"][0]["ce_recovered"] == ""


def test_an_ablation_that_helps_the_model_recovers_nothing_even_without_a_floor():
    found = InModelReport(measured(mean=[0.0, 9.0, 0.0], chats=[CHATS[0]]), settings()).metrics()
    assert found["ce_mean"] < found["ce_clean"]
    assert found["ce_recovered_mean"] is None


def test_intervals_hold_the_value_and_repeat():
    sums = measured()
    first, second = (InModelReport(sums, settings()).metrics() for _ in range(2))
    assert first == second
    for name in ("ce_increase", "ce_recovered"):
        assert first[f"{name}_low"] < first[name] < first[f"{name}_high"]


def sums_of(clean, sae, zero, tokens=1) -> PredictionSums:
    """Sums of examples of so many tokens each, with these nats in all; the mean costs what zeros do."""
    sums, cell = PredictionSums(len(clean)), cell_of(np.array([USER]), np.array([CONTENT]))
    for i, nats in enumerate(zip(clean, sae, zero, zero, np.zeros(len(clean)), strict=True)):
        share = np.repeat(np.array(nats, float)[:, None] / tokens, tokens, axis=1)
        sums.add(np.repeat(i, tokens), np.repeat(cell, tokens), share)
    return sums


def test_without_the_floor_in_every_resample_a_ratio_has_no_interval(tmp_path):
    """Half of the examples lose nothing by ablation, so that resamples of those alone have next to no denominator."""
    sums = sums_of([1, 1, 1, 1], [1.5, 1.5, 1.1, 1.1], [3, 3, 1.001, 1.001])
    found, tables = written(InModelReport(sums, settings(ce_floor=0.1, bootstrap_resamples=200)), tmp_path)
    assert found["ce_recovered"] == pytest.approx(1 - 1.2 / 4.002, rel=1e-5)
    assert found["ce_floor_hit"] == 0
    assert not {"ce_recovered_low", "ce_recovered_high"} & found.keys()
    assert {"ce_increase_low", "ce_increase_high"} <= found.keys()
    assert float(tables["by_role"][0]["ce_recovered_mean"]) == found["ce_recovered"]
    assert tables["by_role"][0]["ce_recovered_mean_low"] == ""
    lower = InModelReport(sums, settings(ce_floor=0.0005, bootstrap_resamples=200)).metrics()
    assert lower["ce_recovered_low"] < lower["ce_recovered"] < lower["ce_recovered_high"]


def test_the_intervals_are_those_of_a_ratio_of_sums_over_the_examples_of_each_resample():
    random = np.random.default_rng(0)
    clean = random.random(12)
    sae, zero = clean + random.random(12), clean + 1 + random.random(12)
    found = InModelReport(
        sums_of(clean, sae, zero, tokens=2), settings(bootstrap_resamples=60, confidence=0.8)
    ).metrics()
    recovered, increase = [], []
    for counts in resample_counts(12, 60, seed=0)[1:]:
        taken = np.repeat(np.arange(12), counts)
        recovered.append((zero - sae)[taken].sum() / (zero - clean)[taken].sum())
        increase.append((sae - clean)[taken].sum() / (2 * len(taken)))
    for name, values in (("ce_recovered", recovered), ("ce_increase", increase)):
        bounds = [found[f"{name}_low"], found[f"{name}_high"]]
        assert bounds == pytest.approx(np.quantile(values, [0.1, 0.9]), abs=2e-9), name


def test_the_resamples_are_drawn_once_for_all_figures(monkeypatch):
    drawn = []
    draws = "fast_sae.evaluation.in_model.report.resample_counts"
    monkeypatch.setattr(draws, lambda *args: drawn.append(args) or resample_counts(*args))
    found = InModelReport(measured(), settings())
    found.metrics(), found.tables()
    assert drawn == [(2, 50, 0)]


def test_sums_over_two_parts_add_up_to_those_of_the_whole():
    random = np.random.default_rng(0)
    example, role, kind = random.integers(0, 4, 50), random.integers(0, 5, 50), random.integers(0, 5, 50)
    nats = random.random((len(QUANTITIES), 50))
    whole, parts = PredictionSums(4), [PredictionSums(4), PredictionSums(4)]
    whole.add(example, cell_of(role, kind), nats)
    for part, at in zip(parts, (slice(20), slice(20, None)), strict=True):
        part.add(example[at], cell_of(role, kind)[at], nats[:, at])
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[0].tokens, whole.tokens)
    np.testing.assert_allclose(parts[0].nats, whole.nats, rtol=1e-14)
    assert whole.tokens.sum() == 50


def test_each_target_falls_into_the_cell_of_its_role_and_kind():
    cells = {int(cell_of(np.array([role]), np.array([kind]))[0]) for role in Role for kind in Kind}
    assert cells == {*range(len(Role) * len(Kind))}


# ---- batches and padding, against the model on each chat alone


def many() -> list:
    random = np.random.default_rng(3)
    lengths = (1, 9, 300, 4, 9)  # one chat predicts nothing; one is longer than the positions held at once
    drawn = [random.integers(0, 60, n).tolist() for n in lengths]
    return [rendered_tokens([0, 0, *ids][: len(ids)], [BOT, *[CONTENT] * (len(ids) - 1)]) for ids in drawn]


@pytest.mark.parametrize("pad_left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_batches_and_padding_change_nothing_and_a_padding_id_is_a_token_like_any_other(family, batch_tokens, pad_left):
    chats = [chat for chat in many() if family != "gpt2" or len(chat.token_ids) <= 64]
    model = random_lm(family)
    lm = CausalLM(model)
    sums = measured(in_model(lm, 2, batch_tokens=batch_tokens, pad_left=pad_left), halve, [0.0] * 32, chats)
    for i, chat in enumerate(chats):
        assert sums.tokens[i].sum() == len(chat.token_ids) - 1
        ids = torch.tensor(chat.token_ids.tolist())
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1]
        expected = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum") if len(ids) > 1 else 0.0
        assert sums.nats[0, i].sum() == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("family", CAUSAL_LMS)
def test_cross_entropy_and_kl_follow_from_the_spliced_models_logits(family):
    lm, (chat,) = CausalLM(random_lm(family)), many()[1:2]
    sums = measured(in_model(lm, 2), halve, [0.0] * 32, [chat])
    batch = lm.batch([chat.token_ids.tolist()])
    clean = lm.logits(batch)[0, :-1].log_softmax(-1)
    with lm.spliced(2, batch.at(torch.from_numpy(chat.kinds == CONTENT)), halve):
        spliced = lm.logits(batch)[0, :-1].log_softmax(-1)
    ce = torch.nn.functional.nll_loss(spliced, torch.tensor(chat.token_ids[1:].tolist()), reduction="sum")
    kl = torch.nn.functional.kl_div(spliced, clean, log_target=True, reduction="sum")
    by_name = dict(zip(QUANTITIES, sums.nats.sum((1, 2)), strict=True))
    assert by_name["ce_sae"] == pytest.approx(float(ce), abs=1e-9)
    assert by_name["kl"] == pytest.approx(float(kl), abs=1e-9)


def test_half_precision_logits_are_normalised_in_float32():
    lm, chat = CausalLM(random_lm("llama").to(torch.bfloat16)), many()[1]
    sums = measured(in_model(lm, 2), lambda states: states, [0.0] * 32, [chat])
    logits = lm.logits(lm.batch([chat.token_ids.tolist()]))[0, :-1].double()
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(chat.token_ids[1:].tolist()), reduction="sum")
    assert sums.nats[0].sum() == pytest.approx(float(expected), rel=1e-5)


class Watched(CausalLM):
    """Counts the logits of earlier passes that are still there when the next pass begins."""

    def __init__(self, model):
        super().__init__(model)
        self.passes, self.alive = [], []

    def logits(self, batch):
        self.alive.append(sum(found() is not None for found in self.passes))
        found = super().logits(batch)
        self.passes.append(weakref.ref(found))
        return found


def test_the_logits_of_two_passes_are_in_memory_and_never_of_three():
    lm = Watched(toy_lm(TABLE))
    measured(in_model(lm, batch_tokens=4))
    assert lm.alive == [0, 1, 1, 1] * 2


def test_a_loss_that_is_no_number_is_told():
    lm = CausalLM(toy_lm([[0.0, math.inf, 0.0], *TABLE[1:]]))
    with pytest.raises(ModelError, match=r"NaN or infinite; use another model\.dtype"):
        measured(in_model(lm))


# ---- the whole


def chats(n: int) -> list[Example]:
    turns = (("system", "Be kind."), ("user", "Write about a walk."), ("assistant", "I went to the park."))
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    return [Example(f"c{i}", (*messages, Message(role="user", content=f"{i} more?")), is_text=False) for i in range(n)]


def mirror_sae(d_in: int = 96):
    """An SAE that reconstructs everything: each axis and its opposite, all of them active."""
    sae = build_sae(d_in, sae_settings(layer=5, M=2 * d_in, K=2 * d_in))
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([torch.eye(d_in), -torch.eye(d_in)]))
        sae.W_enc.copy_(sae.W_dec.T)
    return sae


def evaluated(
    sae=None, n_test: int = 4, model: str = str(MODEL), trained_on: dict | None = None, **overrides: object
) -> InModelReport:
    """Evaluate an SAE trained on this very model, if nothing else is said."""
    trained_on = {"commit": None, "model_sha256": folder_sha256(Path(model))} if trained_on is None else trained_on
    sections = params(**{"model.name": model, "model.files": model})
    return evaluate_in_model(
        sae or mirror_sae(),
        {"validation": chats(2), "test": chats(n_test)},
        settings(**overrides),
        made=Manifest(Path("models/sae/manifest.json"), "train_sae", {}, {"activations": trained_on}),
        model=parse_section(sections, "model", ModelSettings),
        extract=parse_section(sections, "extract", ExtractSettings),
        kinds=TRAINED,
        dtype=torch.float64,
        runtime=runtime(lm_batch_tokens=1024),
    )


def test_an_sae_that_loses_nothing_costs_the_embedded_model_nothing(tmp_path):
    found, tables = written(evaluated(), tmp_path)
    assert found["ce_recovered"] == pytest.approx(1, abs=1e-9)
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    assert found["ce_zero"] > found["ce_clean"] + 0.5
    roles = {row["role"]: int(row["predictions"]) for row in tables["by_role"]}
    assert [*roles] == ["all", "system", "user", "assistant"]
    assert roles["all"] == found["predictions"] == sum(roles.values()) / 2


def test_so_many_examples_are_drawn_the_same_each_time():
    everything = [f"c{i}" for i in range(6)]
    first, second, other = (
        [example.id for example in draw(chats(6), settings(examples=3, seed=seed))] for seed in (0, 0, 1)
    )
    assert first == second != other
    assert len(first) == 3
    assert first == sorted(first)
    assert [example.id for example in draw(chats(6), settings(examples=30))] == everything
    assert [example.id for example in draw(chats(6), settings(examples=None))] == everything
    assert evaluated(n_test=3, examples=1).metrics()["examples"] == 1


def test_switched_off_nothing_is_loaded_and_the_files_are_empty_but_there(tmp_path, capsys):
    report = evaluated(model=str(tmp_path / "nowhere"), enabled=False)
    assert "in_model.enabled is false" in capsys.readouterr().err
    found, tables = written(report, tmp_path)
    assert found == {"predictions": 0, "examples": 0}
    assert tables == {"by_role": [], "by_kind": []}
    assert (tmp_path / "plots/by_role.csv").read_text().startswith("role,predictions,examples,ce_clean,ce_sae")


def test_an_encoder_ends_in_one_line_that_says_what_to_set(tmp_path):
    import transformers as hf

    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / file).write_bytes((MODEL / file).read_bytes())
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    hf.BertModel(hf.BertConfig(vocab_size=4096, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"evaluate_in_model needs .* LM head: set in_model\.enabled: false") as caught:
        evaluated(model=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("facts", [{}, {"validation_prepared_sha256": "0" * 64}], ids=["untold", "another"])
def test_an_sae_of_another_split_is_refused(tmp_path, facts):
    (tmp_path / "validation.jsonl").write_text("{}\n")
    write_manifest(tmp_path / "sae", "train_sae", {}, {"activations": facts})
    manifest = read_manifest(tmp_path / "sae", "train_sae")
    with pytest.raises(ArtifactError, match=r"trained on another split .*; run: dvc repro train_sae"):
        require_same_split(manifest, tmp_path)
    same = {"validation_prepared_sha256": file_sha256(tmp_path / "validation.jsonl")}
    write_manifest(tmp_path / "sae", "train_sae", {}, {"activations": same})
    require_same_split(read_manifest(tmp_path / "sae", "train_sae"), tmp_path)


@pytest.mark.parametrize(
    "trained_on",
    [{}, {"commit": None, "model_sha256": "0" * 64}, {"commit": "0" * 40, "model_sha256": None}],
    ids=["untold", "other files of the same name", "a model on the hub"],
)
def test_an_sae_of_another_language_model_is_refused(trained_on):
    message = r"^models/sae was trained on another state of the language model .*; run: dvc repro train_sae$"
    with pytest.raises(ArtifactError, match=message):
        evaluated(trained_on=trained_on)


def test_an_sae_of_another_width_is_refused():
    with pytest.raises(ArtifactError, match="width 8, and the model gives 96"):
        evaluated(mirror_sae(8))

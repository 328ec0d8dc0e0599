"""Rows cut from a stream of chats, by hand."""

import pytest
import torch
from tiny_instruct.blocks import perplexities
from tiny_instruct.packing import PackedSchedule, nats, pack, packed_loss, train_packed
from transformers import LlamaConfig, LlamaForCausalLM

CHATS = [([0, 5, 6, 7], 2), ([0, 8, 9], 1), ([0, 4, 3], 2)]


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"vocab_size": 12, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=2, num_key_value_heads=1))


def test_a_chat_begins_and_ends_anywhere_and_what_fills_no_row_is_left_out():
    rows = pack(CHATS, row_tokens=3)
    assert rows.ids.tolist() == [[0, 5, 6], [7, 0, 8], [9, 0, 4]]
    assert rows.weights(0.25).tolist() == [[0.25, 0.25, 1], [1, 0.25, 1], [1, 0.25, 0.25]]


def test_the_loss_weighs_what_is_said_and_counts_no_first_token(model):
    row = pack(CHATS, row_tokens=6)
    found = nats(model, row.ids)[0]
    weights = torch.tensor([0.25, 1, 1, 0.25, 1])
    assert packed_loss(model, row, 0.25).item() == pytest.approx(((found * weights).sum() / weights.sum()).item())


def test_both_readings_are_of_the_same_tokens(model):
    """In rows of 5 the stream is 0 5 6 7 0 | 8 9 0 4 3: counted are 5 6 7, 9, 4 3, not the 8 with nothing before it."""
    found = perplexities(model, CHATS, row_tokens=5)
    alone = [nats(model, torch.tensor([ids]))[0].tolist() for ids, _ in CHATS]
    blocks = nats(model, torch.tensor([[0, 5, 6, 7, 0], [8, 9, 0, 4, 3]])).tolist()
    chats = [*alone[0], alone[1][1], *alone[2]]
    packed = [*blocks[0][:3], blocks[1][0], *blocks[1][2:]]
    assert found["chats"] == pytest.approx(torch.tensor(chats).mean().exp().item())
    assert found["blocks"] == pytest.approx(torch.tensor(packed).mean().exp().item())


def test_training_lowers_the_loss_and_two_runs_agree(model):
    schedule = PackedSchedule(
        epochs=20, prompt_weight=1.0, row_tokens=5, batch_rows=1, lr=0.01, warmup_steps=2, weight_decay=0.0, seed=1
    )
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = packed_loss(model, pack(CHATS, 5), 1.0).item()
    train_packed(model, CHATS, schedule)
    once = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert packed_loss(model, pack(CHATS, 5), 1.0).item() < before
    model.load_state_dict(first)
    train_packed(model, CHATS, schedule)
    assert all(torch.equal(once[name], tensor) for name, tensor in model.state_dict().items())

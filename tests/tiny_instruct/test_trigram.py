"""The trigram that the embedded model is held against, on counts small enough for a pencil."""

import math

import pytest
from tiny_instruct.trigram import Trigram

LEARNED = [[0, 1], [0, 1], [0, 2]]


def test_it_is_kneser_ney_by_hand():
    """P(1) = .25/2 + .75·2/2/4; P(1|0) = .25/2 + .75·2/2·P(1); P(1|start 0) = 1.25/3 + .75·2/3·P(1|0)."""
    (nats,) = Trigram(LEARNED, vocab_size=4, discount=0.75).nats([0, 1])
    assert math.exp(-nats) == pytest.approx(1.25 / 3 + 0.5 * (0.125 + 0.75 * 0.3125))


@pytest.mark.parametrize("context", [[0], [3], [0, 1], [2, 0]], ids=str)
def test_probabilities_add_up_to_1_in_every_context(context):
    model = Trigram(LEARNED, vocab_size=4)
    assert sum(math.exp(-model.nats([*context, word])[-1]) for word in range(4)) == pytest.approx(1)


def test_what_it_has_seen_is_likelier_than_what_it_has_not():
    model = Trigram(LEARNED, vocab_size=4)
    assert model.nats([0, 1])[0] < model.nats([0, 2])[0] < model.nats([0, 3])[0]

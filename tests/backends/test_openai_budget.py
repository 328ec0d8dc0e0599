"""The budget holds whatever the server bills and however much goes wrong; the server keeps the account."""

import pytest
from backend_samples import questions, right_answers, settings_for
from chat_server import Act, completion, error, honest

from fast_sae.backends.openai.budget import OVERHEAD, Budget, Tokens, worst_case
from fast_sae.backends.opening import open_backend
from fast_sae.errors import UserError


def detect(server, root, count=20, **changed):
    with open_backend(settings_for(server.url, **changed), root / "replies.jsonl") as backend:
        return backend.detect(questions(count))


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("limit", [{"budget_tokens": 2500}, {"budget_usd": 0.006}], ids=["tokens", "dollars"])
def test_a_run_ends_before_its_budget_is_passed_and_the_next_goes_on(limit, concurrency, server, root):
    with pytest.raises(UserError, match="would be exceeded.*running again goes on from there") as caught:
        detect(server, root, concurrency=concurrency, **limit)
    assert "\n" not in str(caught.value)
    billed = Tokens(server.billed["prompt_tokens"], server.billed["completion_tokens"])
    assert 0 < billed.all <= limit.get("budget_tokens", 10**9)
    assert Budget(settings_for(server.url)).dollars(billed) <= limit.get("budget_usd", 10**9)
    first = len(server.bodies)
    assert 5 < first < 20
    assert detect(server, root) == right_answers(20)
    assert len(server.bodies) == 20
    assert server.sent_again_after_success == 0


def test_a_budget_that_holds_no_request_sends_none(server, root):
    for limit in ({"budget_tokens": 0}, {"budget_usd": 0.0}):
        with pytest.raises(UserError, match="0 requests sent"):
            detect(server, root, **limit)
    assert server.bodies == []


def test_without_prices_dollars_are_no_limit(server, root):
    free = {"budget_usd": 0.0, "usd_per_million_input": 0.0, "usd_per_million_output": 0.0}
    assert detect(server, root, 2, **free) == right_answers(2)


@pytest.mark.parametrize(
    "act",
    [
        completion('{"answers": [1, 0, 1]}', usage=None),
        completion('{"answers": [1, 0, 1]}', usage={"prompt_tokens": -5, "completion_tokens": 1}),
        completion('{"answers": [1, 0, 1]}', usage={"prompt_tokens": "many"}),
        Act(200, b"{"),
        Act(200, completion("{}").body, cut=True),
        error(504),
    ],
    ids=["no usage", "negative usage", "nonsense usage", "no JSON", "cut", "gateway's time-out"],
)
def test_what_may_have_been_billed_unheard_counts_at_its_worst(act, server, root):
    """One try fits the budget, two do not: so the second is not sent."""
    server.script = lambda body, nth: act
    with pytest.raises(UserError, match="1 requests sent"):
        detect(server, root, concurrency=1, budget_tokens=2200, max_retries=1)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("act", [error(429), error(500), error(503), error(409)])
def test_what_was_not_answered_costs_nothing(act, server, root):
    server.play(act, act)
    assert detect(server, root, 1, budget_tokens=2200) == right_answers(1)
    assert len(server.bodies) == 3


def test_threads_wait_for_what_is_reserved_before_they_give_up(server, root):
    """Eight worst cases do not fit at once, but all that is really used does."""
    server.script = lambda body, nth: Act(200, honest(body).body, delay=0.01)
    assert detect(server, root, 8, concurrency=8, budget_tokens=2600) == right_answers(8)
    assert server.most_at_once == 1


def test_the_worst_case_holds_more_than_a_token_a_byte():
    request = {"messages": [{"role": "user", "content": "é" * 100}], "schema": {}}
    worst = worst_case(request, 50)
    assert worst.received == 50
    assert worst.sent > 200 + OVERHEAD


def test_money_by_hand():
    budget = Budget(settings_for("http://a/v1", budget_usd=0.01, budget_tokens=3000))
    assert budget.dollars(Tokens(1000, 500)) == pytest.approx(0.006)
    assert budget.reserve(Tokens(1000, 500))
    assert budget.fits(Tokens(0, 500))
    assert not budget.fits(Tokens(0, 501))  # 1000 × 2 + 1001 × 8 is 10,008 millionths
    budget.settle(Tokens(1000, 500), Tokens(10, 5))
    assert budget.spent == Tokens(10, 5)
    assert budget.fits(Tokens(2985, 0))
    assert not budget.fits(Tokens(2986, 0))
    assert not budget.reserve(Tokens(2986, 0))


def test_an_estimate_is_said_before_anything_is_sent(server, root, capsys):
    said = []

    def look(body, nth):
        said.append(capsys.readouterr().err)

    server.script = look
    detect(server, root, 3, concurrency=1, budget_tokens=50_000)
    assert "detect: 3 requests, 0 stored, 3 new: about " in said[0]
    assert "at most " in said[0]
    detect(server, root, 4)
    assert "detect: 4 requests, 3 stored, 1 new: about " in said[3]
    assert "4 requests, 4 stored" not in capsys.readouterr().err
    detect(server, root, 4)
    assert "detect: 4 requests, 4 stored, 0 new\n" in capsys.readouterr().err


def test_an_estimate_beyond_the_budget_is_said_to_be(server, root, capsys):
    with pytest.raises(UserError):
        detect(server, root, 20, budget_tokens=2500)
    assert "more than is left of budget_tokens (2,500)" in capsys.readouterr().err

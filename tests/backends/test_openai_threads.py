"""Many questions to the openai backend at once: their order, their number, and what an interrupt leaves."""

import json
import threading
import time

import pytest
from backend_samples import PEARLS, questions, right_answers, settings_for, window
from chat_server import Act, completion, error, honest, windows_in

from fast_sae.backends.base import Unanswered
from fast_sae.backends.opening import open_backend


def detect(server, root, asked, **changed):
    with open_backend(settings_for(server.url, **changed), root / "replies.jsonl") as backend:
        return backend.detect(asked)


def test_order_is_kept_whatever_comes_first_and_no_more_than_concurrency_are_under_way(server, root):
    def slow(body, nth):
        number = int(windows_in(body)[0]["text"].split()[1])
        return Act(200, honest(body).body, delay=0.02 * ((7 * number) % 5))

    server.script = slow
    assert detect(server, root, questions(20), concurrency=3) == right_answers(20)
    assert server.most_at_once == 3
    assert server.sent_again_after_success == 0


def test_windows_are_asked_in_portions_and_put_together(server, root):
    assert detect(server, root, questions(2, windows=7)) == right_answers(2, windows=7)
    assert sorted(len(windows_in(body)) for body in server.bodies) == [1, 1, 3, 3, 3, 3]


def test_a_portion_without_an_answer_leaves_its_question_without(server, root):
    server.script = lambda body, nth: completion(None, refusal="no") if "pearl 0 6" in str(body) else None
    first, second = detect(server, root, questions(2, windows=7))
    assert first == Unanswered("refused", "no")
    assert second == right_answers(2, windows=7)[1]


def test_no_windows_and_no_questions_ask_nothing(server, root):
    assert detect(server, root, [(PEARLS, []), *questions(1)]) == [(), *right_answers(1)]
    assert detect(server, root, []) == []
    assert len(server.bodies) == 1


def test_the_same_question_twice_is_asked_once(server, root):
    assert detect(server, root, questions(1) * 5) == right_answers(1) * 5
    assert len(server.bodies) == 1


def test_an_interrupt_stops_sending_and_keeps_what_came(server, root, monkeypatch):
    came = threading.Event()

    def slow(body, nth):
        if len(server.bodies) == 4:
            came.set()
        return Act(200, honest(body).body, delay=0.1)

    def interrupted(futures):
        assert came.wait(5)
        raise KeyboardInterrupt

    server.script = slow
    with monkeypatch.context() as patched:
        patched.setattr("fast_sae.backends.openai.asking.as_completed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            detect(server, root, questions(40), concurrency=4)
    sent = len(server.bodies)
    assert sent <= 8
    assert not (root / "replies.jsonl").exists()
    assert len(list((root / "data/replies").rglob("*.json"))) == sent
    server.script = lambda body, nth: None
    assert detect(server, root, questions(40), concurrency=4) == right_answers(40)
    assert len(server.bodies) == 40
    assert server.sent_again_after_success == 0


def test_an_interrupt_does_not_wait_for_a_servers_wait(server, root, monkeypatch):
    server.script = lambda body, nth: error(429, retry_after="30")

    def interrupted(futures):
        while not server.bodies:
            time.sleep(0.01)
        raise KeyboardInterrupt

    started = time.monotonic()
    monkeypatch.setattr("fast_sae.backends.openai.asking.as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        detect(server, root, questions(1))
    assert time.monotonic() - started < 5


def test_unanswered_questions_are_said_with_their_number(server, root, capsys):
    server.script = lambda body, nth: completion(None, refusal="no") if "stone 1" in str(body) else None
    detect(server, root, questions(3))
    assert "detect: 1 of 3 unanswered: 1 refused; the first: no" in capsys.readouterr().err


def test_a_window_is_judged_by_its_whole_text(server, root):
    seen = window("a stone <|end|> pearl")
    assert detect(server, root, [(PEARLS, [seen])]) == [(True,)]
    assert json.loads(server.bodies[0]["messages"][1]["content"].split("\n")[1])["window"] == 1

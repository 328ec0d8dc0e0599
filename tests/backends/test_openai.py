"""The openai backend against a real server that misbehaves on cue: nothing lost or dropped, nothing sent twice."""

import time
from email.utils import formatdate

import pytest
from backend_samples import PEARLS, marked, questions, right_answers, settings_for, showing, shown, window
from chat_server import Act, completion, error, windows_in

from fast_sae.backends.base import Backend, Explanation, Rating, Unanswered
from fast_sae.backends.opening import open_backend
from fast_sae.errors import UserError

MISBEHAVIOURS = {
    "429 with Retry-After in seconds": error(429, retry_after="0.05"),
    "429 with Retry-After in milliseconds": error(429, retry_after_ms="20"),
    "429 with a Retry-After that is past": error(429, retry_after=formatdate(0, usegmt=True)),
    "429 with a Retry-After that is nonsense": error(429, retry_after="soon"),
    "408": error(408),
    "409": error(409),
    "500": error(500),
    "503 without JSON": Act(503, b"<html>busy</html>"),
    "500 cut in the body": Act(500, {"error": {"message": "x" * 200}}, cut=True),
    "500 with a body that no parser likes": Act(500, b"[" * 5000),
    "429 with a Retry-After that no calendar has": error(429, retry_after="Mon, 99 Feb 99999 99:99:99 GMT"),
    "body that no parser likes": Act(200, b"[" * 5000),
    "connection cut in the body": Act(200, completion("{}").body, cut=True),
    "body that is no JSON": Act(200, b'{"choices": [{"mess'),
    "body that is empty": Act(200, b""),
    "body of another form": Act(200, {"error": {"message": "upstream"}}),
    "no choices": Act(200, {"choices": []}),
}


def detect(server, root, asked, **changed):
    with open_backend(settings_for(server.url, **changed), root / "replies.jsonl") as backend:
        return backend.detect(asked)


def test_it_is_a_backend(server, root):
    with open_backend(settings_for(server.url), root / "replies.jsonl") as backend:
        assert isinstance(backend, Backend)


def test_all_four_kinds_of_question_are_asked_and_answered(server, root):
    with open_backend(settings_for(server.url), root / "replies.jsonl") as backend:
        assert backend.explain([showing()], 2) == [(Explanation("name 0"), Explanation("name 1"))]
        assert backend.detect(questions(2)) == right_answers(2)
        assert backend.fuzz([(PEARLS, [marked("a pearl", "a"), marked("a stone", "a")])]) == [(True, False)]
        assert backend.rate([(PEARLS, [shown("a pearl", "pearl")])]) == [Rating(4, "one deviates")]


def test_the_order_of_the_windows_says_nothing_and_the_answers_come_back_in_theirs(server, root):
    texts = [f"a pearl {i}" for i in range(30)] + [f"a stone {i}" for i in range(30)]
    asked = [(PEARLS, [window(text) for text in texts])]
    assert detect(server, root, asked, windows_per_request=10) == [(True,) * 30 + (False,) * 30]
    pearls = [sum("pearl" in shown["text"] for shown in windows_in(body)) for body in server.bodies]
    assert len(pearls) == 6
    assert all(0 < n < 10 for n in pearls)
    shown_texts = [shown["text"] for body in server.bodies for shown in windows_in(body)]
    assert sorted(shown_texts) == sorted(texts)


@pytest.mark.parametrize("method", ["detect", "fuzz"])
def test_marked_windows_are_shuffled_by_the_seed_alone(method, server, root):
    texts = [f"pearl {i}" for i in range(12)]
    windows = [marked(text, "pearl") if method == "fuzz" else window(text) for text in texts]
    for i, seed in enumerate((1, 2, 1)):
        settings = settings_for(server.url, seed=seed, windows_per_request=12)
        with open_backend(settings, root / f"{i}.jsonl") as backend:
            assert getattr(backend, method)([(PEARLS, windows)]) == [(True,) * 12]
    first, second = ([shown["text"] for shown in windows_in(body)] for body in server.bodies)  # the third was stored
    assert first != second
    assert sorted(first) == sorted(second)


def test_what_is_sent_is_what_the_settings_say(server, root):
    detect(server, root, questions(1), temperature=None, max_output_tokens=77, seed=5)
    (body,) = server.bodies
    assert (body["model"], body["max_tokens"], body["seed"]) == ("some-model", 77, 5)
    assert "temperature" not in body
    assert "Short texts about things." in body["messages"][0]["content"]
    assert body["response_format"]["json_schema"]["schema"]["properties"]["answers"]["minItems"] == 3


@pytest.mark.parametrize("act", MISBEHAVIOURS.values(), ids=MISBEHAVIOURS)
def test_what_goes_wrong_once_is_asked_again_and_nothing_is_lost(act, server, root):
    server.play(act)
    assert detect(server, root, questions(3)) == right_answers(3)
    assert len(server.bodies) == 6
    assert server.sent_again_after_success == 0


@pytest.mark.parametrize("act", MISBEHAVIOURS.values(), ids=MISBEHAVIOURS)
def test_what_always_goes_wrong_leaves_its_question_unanswered_in_its_place(act, server, root):
    server.script = lambda body, nth: act if "stone 1" in body["messages"][1]["content"] else None
    answers = detect(server, root, questions(3))
    assert isinstance(answers[1], Unanswered)
    assert answers[1].status == "failed"
    assert [answers[0], answers[2]] == [right_answers(3)[0], right_answers(3)[2]]
    assert len(server.bodies) == 2 + 3  # once, and max_retries more


def test_a_slow_reply_is_given_up_and_asked_again(server, root):
    server.play(Act(200, honest_body(), delay=0.5))
    assert detect(server, root, questions(1), timeout_seconds=0.1) == right_answers(1)
    assert len(server.bodies) == 2


def honest_body() -> object:
    return completion('{"answers": [1, 0, 1]}').body


def test_a_reply_that_trickles_in_for_ever_is_given_up(server, root):
    server.play(Act(200, honest_body(), trickle=0.03))
    started = time.monotonic()
    assert detect(server, root, questions(1), timeout_seconds=0.2) == right_answers(1)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_waited_for(date, server, root):
    wait = formatdate(time.time() + 2, usegmt=True) if date else "0.3"
    server.play(error(429, retry_after=wait))
    assert detect(server, root, questions(1)) == right_answers(1)
    assert server.times[1] - server.times[0] >= (0.9 if date else 0.3)


def test_a_wait_of_hours_ends_the_run_and_says_so(server, root):
    server.play(error(429, "daily limit", retry_after="7200"))
    with pytest.raises(UserError, match="asks to wait 7200 s.*running again goes on"):
        detect(server, root, questions(1))


BAD_REPLIES = {
    "no JSON": "Sure! Here it is",
    "empty": "",
    "nothing": None,
    "half": '{"answers": [1, 0',
    "another field": '{"verdicts": [1, 0, 1]}',
    "one field more": '{"answers": [1, 0, 1], "note": ""}',
    "too few": '{"answers": [1, 0]}',
    "too many": '{"answers": [1, 0, 1, 1]}',
    "another number": '{"answers": [1, 0, 2]}',
    "texts": '{"answers": ["1", "0", "1"]}',
    "null": '{"answers": [1, null, 1]}',
    "a list": "[1, 0, 1]",
    "deep": "[" * 5000,
}


@pytest.mark.parametrize("content", BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_a_reply_that_does_not_fit_is_asked_for_again_with_another_seed(content, server, root):
    server.script = lambda body, nth: completion(content) if body["seed"] == 42 else None
    assert detect(server, root, questions(1)) == right_answers(1)
    assert [body["seed"] for body in server.bodies] == [42, 43]


@pytest.mark.parametrize("content", BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_a_reply_that_never_fits_is_invalid_and_no_no(content, server, root):
    server.script = lambda body, nth: completion(content)
    (answer,) = detect(server, root, questions(1))
    assert isinstance(answer, Unanswered)
    assert answer.status == "invalid"
    assert "\n" not in answer.reason
    assert [body["seed"] for body in server.bodies] == [42, 43, 44]


@pytest.mark.parametrize(
    ("asked", "content"),
    [
        ("explain", '{"explanations": []}'),
        ("explain", '{"explanations": [" "]}'),
        ("explain", '{"explanations": ["a", "b", "c"]}'),
        ("explain", '{"explanations": "a"}'),
        ("rate", '{"score": 6, "reason": "x"}'),
        ("rate", '{"score": 0, "reason": "x"}'),
        ("rate", '{"score": 3.5, "reason": "x"}'),
        ("rate", '{"score": "4", "reason": "x"}'),
        ("rate", '{"score": 4}'),
        ("rate", "[[4]]"),
    ],
)
def test_names_and_ratings_are_checked_too(asked, content, server, root):
    server.script = lambda body, nth: completion(content)
    with open_backend(settings_for(server.url, max_retries=0), root / "replies.jsonl") as backend:
        found = backend.explain([showing()], 2) if asked == "explain" else backend.rate([(PEARLS, [])])
    assert [answer.status for answer in found] == ["invalid"]


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"answers": [0, 1, 1]}\n```',  # shuffled, the three are asked about as 1, 0, 2
        '```\n{"answers": [0, 1, 1]}\n```\n',
        '<think>Is [0, 0, 0] right? {"answers": [0, 0, 0]}</think>\n\n{"answers": [0, 1, 1]}',
        ' {"answers":\n[0,1,1]}',
        '{"answers": [false, true, true]}',
    ],
)
def test_what_models_put_around_their_json_is_taken_off(content, server, root):
    server.script = lambda body, nth: completion(content)
    assert detect(server, root, questions(1)) == right_answers(1)


def test_names_are_tidied_and_said_once(server, root):
    server.script = lambda body, nth: completion('{"explanations": [" a\\n b ", "a b", "c"]}')
    with open_backend(settings_for(server.url), root / "replies.jsonl") as backend:
        assert backend.explain([showing()], 3) == [(Explanation("a b"), Explanation("c"))]


@pytest.mark.parametrize(
    ("act", "status", "reason"),
    [
        (completion(None, refusal="I cannot\nhelp"), "refused", "I cannot help"),
        (completion('{"answers": [1, 0, 1]}', refusal="no"), "refused", "no"),
        (completion("", "content_filter"), "refused", "content filter"),
        (error(400, "filtered by policy", "content_filter"), "refused", "filtered by policy"),
        (completion('{"answers": [1,', "length"), "invalid", "max_output_tokens, which is 50"),
        (completion('{"answers": [1, 0, 1]}', "length"), "invalid", "max_output_tokens, which is 50"),
        (error(400, "maximum context length is 128 tokens"), "failed", "maximum context length"),
        (error(413), "failed", "HTTP 413"),
    ],
)
def test_what_asking_again_would_not_mend_is_asked_once(act, status, reason, server, root):
    server.script = lambda body, nth: act if "stone 1" in body["messages"][1]["content"] else None
    answers = detect(server, root, questions(3))
    assert isinstance(answers[1], Unanswered)
    assert answers[1].status == status
    assert reason in answers[1].reason
    assert [answers[0], answers[2]] == [right_answers(3)[0], right_answers(3)[2]]
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (error(401, "bad key"), "HTTP 401.*OPENAI_KEY_SAE"),
        (error(403, "not yours"), "not yours.*interpret.model"),
        (error(404, "no such model"), "no such model.*interpret.model"),
        (Act(307, b"", {"Location": "http://127.0.0.1:1/"}), "HTTP 307.*interpret.base_url"),
        (error(429, "pay first", "insufficient_quota"), "no credit"),
    ],
)
def test_what_would_fail_for_every_question_ends_the_run_at_once_in_one_line(act, said, server, root):
    server.script = lambda body, nth: act
    with pytest.raises(UserError, match=said) as caught:
        detect(server, root, questions(50))
    assert "\n" not in str(caught.value)
    assert len(server.bodies) <= 4  # those under way at once


def test_a_server_that_is_down_ends_the_run_instead_of_failing_every_question(root):
    settings = settings_for("http://127.0.0.1:1/v1", max_retries=0)
    match = "answered none of 10 questions: no connection"
    with pytest.raises(UserError, match=match), open_backend(settings, root / "replies.jsonl") as backend:
        backend.detect(questions(50))


def test_a_server_that_fails_at_everything_ends_the_run_too(server, root):
    server.script = lambda body, nth: error(500)
    with pytest.raises(UserError, match="answered none of 10 questions: HTTP 500"):
        detect(server, root, questions(50), max_retries=0)


@pytest.mark.parametrize("act", [error(500), error(429), Act(cut=True, body={"x": 1})], ids=["500", "429", "cut"])
def test_what_the_server_left_open_fails_the_run_that_has_written_what_it_had(act, server, root):
    server.script = lambda body, nth: act if "stone 1" in str(body) else None
    answers = []
    with (
        pytest.raises(UserError, match="left 1 of 3 questions unanswered; .* running again asks these") as caught,
        open_backend(settings_for(server.url, accept_failed=False), root / "replies.jsonl") as backend,
    ):
        answers += backend.detect(questions(3))
    assert "\n" not in str(caught.value)
    assert [isinstance(answer, Unanswered) and answer.status for answer in answers] == [False, "failed", False]
    assert len((root / "replies.jsonl").read_text().splitlines()) == 2
    server.script = lambda body, nth: None
    before = len(server.bodies)
    assert detect(server, root, questions(3), accept_failed=False) == right_answers(3)
    assert len(server.bodies) == before + 1


@pytest.mark.parametrize(
    "act", [error(400, "too long"), completion(None, refusal="no"), completion("never fits")], ids=str
)
def test_what_asking_again_would_not_mend_fails_no_run(act, server, root):
    server.script = lambda body, nth: act if "stone 1" in str(body) else None
    assert isinstance(detect(server, root, questions(3), accept_failed=False)[1], Unanswered)


@pytest.mark.parametrize("accept_failed", [True, False])
def test_a_run_in_which_nothing_was_answered_is_no_success(accept_failed, server, root):
    server.script = lambda body, nth: error(400, "too long")
    with pytest.raises(UserError, match="left 3 of 3 questions unanswered"):
        detect(server, root, questions(3), accept_failed=accept_failed)


def test_bad_questions_however_many_do_not_pass_for_a_server_that_is_down(server, root):
    server.script = lambda body, nth: error(413) if "pearl 0" not in str(body) else None
    answers = detect(server, root, questions(26), max_retries=0)[1:]
    assert [answer.status for answer in answers] == ["failed"] * 25


@pytest.mark.parametrize("status", [400, 422])
def test_a_response_format_that_is_refused_is_given_up_for_the_run(status, server, root, capsys):
    def picky(body, nth):
        form = body.get("response_format", {}).get("type")
        return error(status, f"response_format {form} is not supported") if form else None

    server.script = picky
    with open_backend(settings_for(server.url, concurrency=1), root / "replies.jsonl") as backend:
        assert backend.detect(questions(3)) == right_answers(3)
        assert backend.rate([(PEARLS, [])]) == [Rating(4, "one deviates")]
    sent = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert sent == ["json_schema", "json_object", None, None, None, None]
    assert "refuses how it is asked" in capsys.readouterr().err


def test_max_completion_tokens_is_sent_to_a_model_that_insists_on_it(server, root):
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.script = lambda body, nth: error(400, said) if "max_tokens" in body else None
    assert detect(server, root, questions(3), concurrency=1) == right_answers(3)
    assert ["max_completion_tokens" in body for body in server.bodies] == [False, True, True, True]


def test_a_change_of_form_under_concurrency_is_made_once(server, root):
    server.script = lambda body, nth: (
        error(400, "no json_schema here") if body["response_format"]["type"] == "json_schema" else None
    )
    assert detect(server, root, questions(12)) == right_answers(12)
    assert {body["response_format"]["type"] for body in server.bodies} == {"json_schema", "json_object"}

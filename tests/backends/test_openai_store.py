"""Replies are bought once: whatever kills a run, and whoever runs it again; and a key tells every request apart."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backend_samples import PEARLS, questions, right_answers, settings_for, showing
from chat_server import Act, completion, error, honest

from fast_sae.backends.base import Unanswered
from fast_sae.backends.openai.asking import Asker, Question
from fast_sae.backends.openai.prompts import explain_prompt
from fast_sae.backends.openai.replies import answers_form, explanations_form
from fast_sae.backends.openai.store import Reply, ReplyStore, canonical, key_of
from fast_sae.backends.opening import open_backend
from fast_sae.errors import UserError

NOWHERE = "http://127.0.0.1:1/v1"
REQUEST = {
    "model": "m",
    "temperature": 0.0,
    "max_output_tokens": 10,
    "seed": 1,
    "prompt_version": 1,
    "messages": [{"role": "user", "content": "x" * 5000}],
    "schema": {"type": "object"},
    "attempt": 0,
}
REPLY = Reply("text", None, "stop", 3, 4)


def ask_everything(url: str, file: Path, **changed):
    """Ask one question of each kind, three to judge."""
    with open_backend(settings_for(url, **changed), file) as backend:
        return backend.explain([showing()], 2), backend.detect(questions(3)), backend.rate([(PEARLS, [])])


@pytest.fixture
def file(root) -> Path:
    return root / "data/interpretations/replies.jsonl"


def test_a_second_run_sends_nothing_and_needs_neither_key_nor_server(server, file, monkeypatch):
    first = ask_everything(server.url, file)
    before, sent = file.read_bytes(), len(server.bodies)
    monkeypatch.delenv("OPENAI_KEY_SAE")
    assert ask_everything("https://example.invalid/v1", file) == first
    assert len(server.bodies) == sent
    assert file.read_bytes() == before


@pytest.mark.parametrize("lost", ["folder", "file"])
def test_either_store_is_enough(lost, server, root, file):
    first = ask_everything(server.url, file)
    before = file.read_bytes()
    shutil.rmtree(root / "data/replies") if lost == "folder" else file.unlink()
    assert ask_everything(NOWHERE, file) == first
    assert file.read_bytes() == before


def test_a_replay_of_refused_invalid_and_mended_replies_is_the_same(server, root, file):
    def script(body, nth):
        if "stone 1" in str(body):
            return completion(None, refusal="no")
        if "pearl 2" in str(body):
            return completion("never fits")
        return completion("not at first") if body["seed"] == 42 else None

    server.script = script
    first = ask_everything(server.url, file)
    assert [isinstance(answer, Unanswered) and answer.status for answer in first[1]] == [False, "refused", "invalid"]
    shutil.rmtree(root / "data/replies")
    assert ask_everything(NOWHERE, file) == first


def test_what_failed_is_asked_again_in_the_next_run_and_only_that(server, file):
    server.script = lambda body, nth: error(500) if "stone 1" in str(body) else None
    assert ask_everything(server.url, file)[1][1] == Unanswered("failed", "HTTP 500: no")
    sent = len(server.bodies)
    server.script = lambda body, nth: None
    assert ask_everything(server.url, file)[1] == right_answers(3)
    assert len(server.bodies) == sent + 1


def test_the_file_of_replies_holds_what_was_asked_and_answered_sorted_and_without_a_clock(server, root, file):
    ask_everything(server.url, file)
    lines = file.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["key"] for record in records] == sorted(record["key"] for record in records)
    assert len(records) == len(server.bodies)
    assert set(records[0]) == {"key", "request", "reply"}
    assert set(records[0]["request"]) == set(REQUEST)
    assert set(records[0]["reply"]) == {"text", "refusal", "finish_reason", "prompt_tokens", "completion_tokens"}
    stored = {path.stem: path.read_text().strip() for path in (root / "data/replies").rglob("*.json")}
    assert stored == {record["key"]: line for record, line in zip(records, lines, strict=True)}
    assert all(path.parent.name == path.stem[:2] for path in (root / "data/replies").rglob("*.json"))


def test_a_run_that_uses_no_reply_leaves_an_empty_file(root, file):
    with open_backend(settings_for(NOWHERE), file):
        pass
    assert file.read_bytes() == b""


def test_a_run_that_ends_by_an_error_leaves_the_file_as_it_was(server, root, file):
    ask_everything(server.url, file)
    before = file.read_bytes()
    server.script = lambda body, nth: error(401)
    with pytest.raises(UserError):
        ask_everything(server.url, file, seed=1)
    assert file.read_bytes() == before


def test_what_a_run_no_longer_uses_of_the_file_is_not_lost(server, root, file):
    first = ask_everything(server.url, file)
    shutil.rmtree(root / "data/replies")
    with open_backend(settings_for(NOWHERE), file) as backend:
        backend.detect(questions(1))
    assert len(file.read_text().splitlines()) == 1
    assert ask_everything(NOWHERE, file) == first


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[: len(line) // 2],
        lambda line: b"",
        lambda line: b"null",
        lambda line: b"[1, 2]",
        lambda line: b'{"key": "x"}',
        lambda line: b"\xff\xfe" + line,
        lambda line: b"[" * 5000,
        lambda line: line.replace(b"pearl", b"peril"),
        lambda line: line.replace(b'"completion_tokens":10', b'"completion_tokens":"10"'),
        lambda line: line.replace(b'"completion_tokens"', b'"tokens"'),
    ],
    ids=["half", "empty", "null", "list", "fields", "bytes", "deep", "another request", "type", "name"],
)
@pytest.mark.parametrize("store", ["folder", "file"])
def test_a_damaged_reply_is_said_in_one_line_and_asked_for_again(store, damage, server, root, file, capsys):
    with open_backend(settings_for(server.url), file) as backend:
        backend.detect(questions(3))
    place = next((root / "data/replies").rglob("*.json"))
    if store == "folder":
        place.write_bytes(damage(place.read_bytes()))
        file.unlink()
    else:
        lines = file.read_bytes().splitlines()
        (root / "data/replies" / json.loads(lines[1])["key"][:2] / f"{json.loads(lines[1])['key']}.json").unlink()
        file.write_bytes(b"\n".join([lines[0], damage(lines[1]), lines[2], b""]))
    capsys.readouterr()
    with open_backend(settings_for(server.url), file) as backend:
        assert backend.detect(questions(3)) == right_answers(3)
    assert len(server.bodies) == 4
    said = [line for line in capsys.readouterr().err.splitlines() if "is damaged" in line]
    assert len(said) == (0 if store == "file" and damage(b"xx") == b"" else 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "m2"),
        ("temperature", 0.1),
        ("temperature", None),
        ("max_output_tokens", 11),
        ("seed", 2),
        ("prompt_version", 2),
        ("schema", {"type": "array"}),
        ("attempt", 1),
        ("messages", [{"role": "user", "content": "x" * 2500 + "y" + "x" * 2499}]),
        ("messages", [{"role": "user", "content": "x" * 4999}]),
        ("messages", [{"role": "system", "content": "x" * 5000}]),
        ("messages", [{"role": "user", "content": "x" * 2500}, {"role": "user", "content": "x" * 2500}]),
    ],
)
def test_requests_that_differ_in_one_thing_have_different_keys(name, value):
    assert key_of(REQUEST | {name: value}) != key_of(REQUEST)


def test_a_key_hangs_on_no_order_and_not_on_the_server():
    assert key_of(dict(reversed(REQUEST.items()))) == key_of(REQUEST)
    question = Question(explain_prompt("t", showing().firing, [], 1, frozenset()), explanations_form(1), 1)
    one, two = (
        Asker(settings_for(url, **prices), ReplyStore(Path("x"), Path("y")))
        for url, prices in [("http://a/v1", {}), ("https://b/v1", {"usd_per_million_input": 0.0, "budget_usd": 1.0})]
    )
    assert one._request(question, 0) == two._request(question, 0)


@pytest.mark.parametrize(
    "changed", [{"model": "b"}, {"temperature": 0.5}, {"max_output_tokens": 9}, {"seed": 1}, {"task": "other"}]
)
def test_a_changed_setting_is_asked_anew(changed, server, file):
    for settings in ({}, changed):
        with open_backend(settings_for(server.url, **settings), file) as backend:
            backend.detect(questions(1))
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "changed",
    [{"concurrency": 1}, {"max_retries": 7}, {"timeout_seconds": 9.0}, {"budget_tokens": 0}, {"shown_silent": 0}],
)
def test_a_setting_that_decides_no_reply_buys_nothing_again(changed, server, file):
    for settings in ({}, changed):
        with open_backend(settings_for(server.url, **settings), file) as backend:
            backend.detect(questions(1))
    assert len(server.bodies) == 1


def test_two_processes_may_store_the_same_reply_at_once(root, monkeypatch):
    """The second one stores it while the first has written and not yet put it in place."""
    one, two = (ReplyStore(root / "replies", root / name) for name in ("a", "b"))
    processes, write = iter([1, 2]), Path.write_text

    def interrupted(path: Path, text: str, **given) -> int:
        written = write(path, text, **given)
        if ".1." in path.name:
            two.put(REQUEST, REPLY)
        return written

    monkeypatch.setattr(os, "getpid", lambda: next(processes))
    monkeypatch.setattr(Path, "write_text", interrupted)
    one.put(REQUEST, REPLY)
    assert ReplyStore(root / "replies", root / "c").get(REQUEST) == REPLY
    assert [path.suffix for path in (root / "replies").rglob("*.*")] == [".json"]


def test_separators_of_lines_within_a_text_do_not_part_the_file(root):
    store = ReplyStore(root / "replies", root / "used.jsonl")
    odd = Reply("a\u2028b\x85c\n\x00\x1c🦪", None, "stop", None, None)
    store.put(REQUEST, odd)
    store.write_used()
    shutil.rmtree(root / "replies")
    assert ReplyStore(root / "replies", root / "used.jsonl").get(REQUEST) == odd


def test_canonical_json_is_one_text():
    assert canonical({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'


def test_forms_of_other_counts_are_other_schemas():
    assert answers_form(2).schema != answers_form(3).schema


CHILD = """
import sys
from pathlib import Path
from backend_samples import questions, right_answers, settings_for
from fast_sae.backends.opening import open_backend
with open_backend(settings_for(sys.argv[1], concurrency=2), Path(sys.argv[2])) as backend:
    assert backend.detect(questions(12)) == right_answers(12)
"""


def test_a_killed_run_buys_nothing_again(server, root, file):
    server.script = lambda body, nth: Act(200, honest(body).body, delay=0.03)
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tests.parent / 'src'}:{tests}"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url, str(file)], env=environment, stderr=subprocess.PIPE
    )
    while len(server.bodies) < 6 and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    stored = len(list((root / "data/replies").rglob("*.json")))
    sent = len(server.bodies)
    assert 4 <= stored < 12
    assert sent - stored <= 2  # those under way when it was killed
    assert not file.exists()
    with open_backend(settings_for(server.url), file) as backend:
        assert backend.detect(questions(12)) == right_answers(12)
    assert len(server.bodies) == sent + 12 - stored

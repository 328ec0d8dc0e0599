"""The key comes from the environment and goes into one header, and nowhere else."""

import logging
import traceback

import pytest
from backend_samples import questions, right_answers, settings_for, showing
from chat_server import Act, completion, error

from fast_sae.backends.openai.connection import Connection
from fast_sae.backends.opening import open_backend
from fast_sae.errors import ParamsError, UserError
from fast_sae.params import parse_section


def detect(server, root, **changed):
    with open_backend(settings_for(server.url, **changed), root / "replies.jsonl") as backend:
        return backend.detect(questions(2))


def sent_keys(server) -> set[str]:
    return {headers["authorization"] for headers in server.headers}


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({"OPENAI_KEY_SAE": "first-key", "OPENAI_API_KEY": "second-key"}, "first-key"),
        ({"OPENAI_KEY_SAE": "", "OPENAI_API_KEY": " second-key\n"}, "second-key"),
        ({"OPENAI_KEY_SAE": ""}, "no-key"),
    ],
)
def test_where_the_key_comes_from(environment, sent, server, root, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    detect(server, root)
    assert sent_keys(server) == {f"Bearer {sent}"}


def test_without_a_key_a_server_elsewhere_is_not_asked_and_both_names_are_said(root, monkeypatch):
    monkeypatch.delenv("OPENAI_KEY_SAE")
    settings = settings_for("https://example.invalid/v1")
    with open_backend(settings, root / "replies.jsonl") as backend:
        assert backend.detect([]) == []  # nothing to send, no key needed
    match = "set OPENAI_KEY_SAE or OPENAI_API_KEY"
    with pytest.raises(UserError, match=match), open_backend(settings, root / "replies.jsonl") as backend:
        backend.detect(questions(1))


@pytest.mark.parametrize("bad", ["sk-ab\x00cdefgh", "sk-abc\ndefgh", "schlüssel-0123", "two words-0123"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(bad, server, root, monkeypatch):
    if "\x00" not in bad:
        monkeypatch.setenv("OPENAI_KEY_SAE", bad)
    else:
        monkeypatch.setattr("os.environ", {"OPENAI_KEY_SAE": bad, "DVC_ROOT": str(root)})
    with pytest.raises(UserError, match="OPENAI_KEY_SAE in the environment is no key") as caught:
        detect(server, root)
    assert bad[:5] not in str(caught.value)


def test_the_environment_of_the_package_sends_nobody_elsewhere(server, root, monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "of-another-server")
    assert detect(server, root) == right_answers(2)
    assert "of-another-server" not in str(server.headers)


ECHOES = {
    "all is well": lambda key: None,
    "reply": lambda key: completion(f'{{"answers": ["{key}"]}}', finish_reason=key),
    "name": lambda key: completion(f'{{"explanations": ["{key}"]}}'),
    "refusal": lambda key: completion(None, refusal=f"not with {key}"),
    "400": lambda key: error(400, f"bad {key}"),
    "400 policy": lambda key: error(400, f"bad {key}", "content_filter"),
    "400 without JSON": lambda key: Act(400, f"bad Bearer {key}".encode()),
    "401": lambda key: error(401, f"Incorrect API key: {key[:12]}"),
    "403": lambda key: error(403, f"no rights: {key}"),
    "404": lambda key: error(404, f"{key} knows no such model"),
    "429": lambda key: error(429, key, "insufficient_quota"),
    "500": lambda key: error(500, f"trace: Bearer {key}"),
    "no JSON": lambda key: Act(200, key.encode()),
    "cut": lambda key: Act(200, {"key": key}, cut=True),
    "slow": lambda key: Act(200, {"key": key}, delay=0.2),
    "redirect": lambda key: Act(302, b"", {"Location": f"http://127.0.0.1:1/{key}"}),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_the_key_is_in_no_log_file_output_or_exception_even_if_the_server_echoes_it(
    echo, server, root, key, caplog, capfd, monkeypatch
):
    monkeypatch.setenv("OPENAI_LOG", "debug")
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    server.script = lambda body, nth: echo(key)
    told, context = "", None
    try:
        with open_backend(settings_for(server.url, timeout_seconds=0.1, max_retries=1), root / "r.jsonl") as backend:
            told = str([repr(backend), backend.explain([showing()], 1), backend.detect(questions(2))])
    except UserError as raised:
        told = "".join(traceback.format_exception(raised)) + repr(raised)
        context = raised.__context__
    assert context is None  # it would hold the request, and that the key
    out = capfd.readouterr()
    files = [path.read_text() for path in root.rglob("*") if path.is_file()]
    for text in (told, caplog.text, str([record.__dict__ for record in caplog.records]), out.out, out.err, *files):
        assert key[:12] not in text
    assert sent_keys(server) == {f"Bearer {key}"}


def test_redirects_are_not_followed(server, root):
    server.script = lambda body, nth: Act(307, b"", {"Location": f"{server.url}/elsewhere"})
    with pytest.raises(UserError, match="HTTP 307"):
        detect(server, root, concurrency=1)
    assert len(server.bodies) == 1


def test_the_connection_shows_no_key(server, key):
    connection = Connection(settings_for(server.url))
    assert key not in repr(connection)
    connection.close()


def test_an_unencrypted_connection_to_another_machine_is_said(capsys):
    Connection(settings_for("http://box.invalid:8000/v1")).close()
    assert "travel unencrypted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@api.example/v1",
        "https://hunter2@api.example/v1",
        "https://api.example/v1?key=hunter2",
        "https://api.example/v1#hunter2",
        "ftp://api.example/hunter2",
        "hunter2",
        "",
        "https://api.example /hunter2",
    ],
)
def test_an_address_with_more_than_an_address_in_it_is_refused_and_not_shown(url):
    section = settings_for("http://localhost/v1").model_dump() | {"base_url": url}
    from fast_sae.backends.settings import BackendSettings

    with pytest.raises(ParamsError, match=r"interpret.base_url must be http\(s\)://host/path") as caught:
        parse_section({"interpret": section}, "interpret", BackendSettings)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:11434/v1", "http://[::1]:8000/v1", "https://api.openai.com/v1/"])
def test_addresses_that_are_fine(url):
    assert settings_for(url).base_url == url

"""The dashboard with a model behind it, over a real socket: its answers are those of a file, and strangers get none."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from annotation_samples import lines, save_origin
from chat_samples import data_settings
from samples import ROOT, runtime
from serving_samples import Asker, dashboard, serving

import fast_sae.annotation.serving as module
from fast_sae.annotation.annotate import Options, annotate_file
from fast_sae.annotation.incoming import DataFile
from fast_sae.annotation.origin import read_origin
from fast_sae.annotation.sentence import LATENTS, Sentences
from fast_sae.annotation.serving import LARGEST_BODY, Site, open_server
from fast_sae.chat.kinds import Kind
from fast_sae.errors import ArtifactError, UserError
from fast_sae.page.page import MODEL, NO_MODEL, chunk_script
from fast_sae.sae.checkpoint import sae_sha256

PLAIN = "The wind came first."
HOSTILE = (
    'He said: "wind, map",\nand left\x00\x1b[31m\u202e.\r\n🎉 naïve <|eot_id|></script><img src=x onerror=alert(1)>'
)


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> Path:
    return save_origin(tmp_path_factory.mktemp("origin") / "sae", sections={"extract.max_length": 120}, M=96, K=12)


@pytest.fixture(scope="module")
def sentences(sae) -> Sentences:
    return Sentences.open(read_origin(sae), data_settings(text_field="body"), runtime())


@pytest.fixture(scope="module")
def site(sae, tmp_path_factory) -> Site:
    return Site.open(dashboard(tmp_path_factory.mktemp("page"), sae, chunks=2), sae_sha256(sae))


@pytest.fixture(scope="module")
def ask(site, sentences):
    with serving(site, sentences.answer) as asker:
        yield asker


def fired(answer: dict) -> dict[tuple[int, int], float]:
    """Activation by position and latent."""
    return {
        (position, latent): activation
        for latent, flat, _ in answer["latents"]
        for position, activation in zip(flat[::2], flat[1::2], strict=True)
    }


@pytest.mark.parametrize(
    "record",
    [
        {"text": PLAIN},
        {"text": HOSTILE},
        {"text": "<|eot_id|>"},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my map?"}]},
    ],
)
def test_the_answer_is_what_annotate_writes_of_the_same_text(ask, sae, record, tmp_path):
    file = DataFile(lines(tmp_path / "one.jsonl", record), "one.jsonl", data_settings())
    annotate_file(file, read_origin(sae), Options(tmp_path / "out", "parquet"), runtime())
    tokens = pq.read_table(tmp_path / "out/tokens.parquet").to_pandas()
    examples = pq.read_table(tmp_path / "out/examples.parquet").to_pandas()
    reply = ask.annotate(record)
    assert reply.status == 200
    answer = reply.json
    wanted = dict(zip(zip(tokens["position"], tokens["latent"], strict=True), tokens["activation"], strict=True))
    told = [latent for latent, _, _ in answer["latents"]]
    assert len(told) == min(LATENTS, tokens["latent"].nunique())
    assert fired(answer) == {at: value for at, value in wanted.items() if at[1] in told}
    said = [(latent, largest) for latent, _, largest in answer["latents"]][: len(examples)]
    assert said == [*zip(examples["latent"], examples["max_activation"], strict=True)][:LATENTS]
    assert {position: answer["tokens"][position] for position in tokens["position"]}.keys() == set(tokens["position"])
    assert answer["truncated"] is False


def test_latents_that_fire_on_the_template_alone_come_last(ask):
    """Their largest activations are larger than all of content, and are the same in every text."""
    answer = ask.annotate({"text": "map"}).json
    content = {i for i, kind in enumerate(answer["kinds"]) if kind == Kind.CONTENT}
    own = [
        max((a for (at, k), a in fired(answer).items() if k == latent and at in content), default=0)
        for latent, *_ in answer["latents"]
    ]
    said = [(value, largest) for value, (*_, largest) in zip(own, answer["latents"], strict=True) if value]
    others = [largest for value, (*_, largest) in zip(own, answer["latents"], strict=True) if not value]
    assert said
    assert others
    assert own[: len(said)] == [largest for _, largest in said] == sorted((v for v, _ in said), reverse=True)
    assert others == sorted(others, reverse=True)
    assert others[0] > said[-1][0]


@pytest.mark.parametrize(
    "text", [PLAIN, HOSTILE, "🎉👩‍👩‍👧 ß naïve 漢字", "\u202eright to left\u202c \x07\x7f", "<|begin_of_text|>"]
)
def test_the_texts_of_the_tokens_put_together_are_the_chat(ask, text):
    answer = ask.annotate({"text": text}).json
    assert len(answer["tokens"]) == len(answer["kinds"])
    content = [i for i, kind in enumerate(answer["kinds"]) if kind == Kind.CONTENT]
    assert "".join(answer["tokens"][content[0] : content[-1] + 1]) == text
    assert [answer["tokens"][0], answer["tokens"][-1]] == ["<|begin_of_text|>", "<|eot_id|>"]
    assert [answer["kinds"][0], answer["kinds"][-1]] == [Kind.BEGIN_OF_TEXT, Kind.END_OF_TURN]


@pytest.mark.parametrize("text", ["a map " * 17_000, "x" * 20_000, "<|eot_id|>" * 1_000, "🎉" * 2_000])
def test_a_long_text_is_cut_off_and_that_is_told(ask, text):
    reply = ask.annotate({"text": text})
    assert reply.status == 200
    assert reply.json["truncated"] is True
    assert len(reply.json["tokens"]) == 120


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"text": ""}, "empty: field 'text' holds nothing but space"),
        ({"text": " \n"}, "empty: field 'text' holds nothing but space"),
        ({"text": None}, "no text"),
        ({"text": 7}, "no text: field 'text' holds int, not text"),
        ({"text": "\ud800"}, "not UTF-8"),
        ({"messages": []}, "empty chat"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, "wrong roles: turn 1 is 'assistant'"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "no text: the content of turn 1 holds dict"),
        *(
            (wrong, 'give {"text": "..."} or {"messages": ')
            for wrong in ({}, {"text": "a", "messages": []}, {"conversations": []}, {"body": "a"}, [], "text", 7, None)
        ),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(ask, asked, told):
    reply = ask.annotate(asked)
    assert reply.status == 400
    assert reply.json.keys() == {"error"}
    assert reply.json["error"].startswith(told)
    assert "\n" not in reply.json["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{", b'{"text": "\xff"}', b"[" * 50_000, b"NaN{", b"1" * 5_000])
def test_what_is_no_json_is_refused(ask, body):
    reply = ask("POST", "/annotate", body, Content_Type="application/json")
    assert reply.status == 400
    assert reply.json["error"].startswith("not JSON (")


def test_the_page_is_the_dashboards_and_knows_that_it_can_ask(ask, site):
    reply = ask("GET", "/")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    page = (site.chunks.parent / "index.html").read_text()
    assert reply.body.decode() == page.replace(NO_MODEL, MODEL)
    assert MODEL not in page
    assert ask("GET", "/chunks/1.js").body == chunk_script(1, {"me": 1}).encode()


@pytest.mark.parametrize(
    "path",
    [
        *("/index.html", "/chunks", "/chunks/", "/chunks/2.js", "/chunks/01.js", "/chunks/-1.js", "/chunks/0.js/"),
        *("/chunks/0.js?x", "/chunks/0.JS", "/chunks/../index.html", "/chunks/%2e%2e/index.html", "/../../etc/passwd"),
        *("/chunks/..%2f0.js", "/chunks/\u0661.js", "/chunks/0.js%00", "/chunks/" + "9" * 200 + ".js", "/annotate/"),
        *("http://127.0.0.1/", "//evil", "*", "/?", "/favicon.ico", "/chunks/0.js\\..\\..", "/%"),
    ],
)
def test_there_is_nothing_else(ask, path):
    reply = ask("GET", path)
    assert (reply.status, reply.json) == (404, {"error": "there is nothing here"})


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        *(("GET", "/annotate", "POST"), ("POST", "/", "GET"), ("POST", "/chunks/0.js", "GET")),
        *((method, "/", "GET, POST") for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT")),
    ],
)
def test_other_methods_are_not_allowed(ask, method, path, allow):
    reply = ask(method, path, b"{}" if method == "POST" else None)
    assert (reply.status, reply.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/", "/chunks/0.js", "/annotate", "/nothing"])
def test_every_answer_is_kept_from_caches_guesses_and_other_pages(ask, path):
    for headers in (ask("GET", path).headers, ask("PUT", path).headers, ask("GET", path, Host="evil").headers):
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "host", [None, "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/chunks/0.js"), ("POST", "/annotate")])
def test_a_name_that_somebody_has_pointed_here_is_refused(ask, method, path, host):
    body = b'{"text": "map"}' if method == "POST" else None
    reply = ask(method, path, body, Host=host and host.format(port=ask.port), Content_Type="application/json")
    assert reply.status == 403
    assert reply.json["error"].startswith(f"Host must be 127.0.0.1:{ask.port} or localhost:{ask.port}")


def test_two_hosts_are_one_too_many(ask):
    ours = f"Host: 127.0.0.1:{ask.port}\r\n"
    assert b" 403 " in ask.send(f"GET / HTTP/1.1\r\n{ours}{ours}\r\n".encode()).split(b"\r\n")[0]


def test_our_own_page_may_ask_under_either_name(ask):
    for name in ("127.0.0.1", "localhost", "LocalHost"):
        at = f"{name}:{ask.port}"
        reply = ask(
            "POST",
            "/annotate",
            b'{"text": "map"}',
            Host=at,
            Origin=f"http://{at}",
            Content_Type="application/json; charset=utf-8",
        )
        assert reply.status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost", "file://"],
)
def test_another_page_is_refused(ask, origin):
    reply = ask(
        "POST", "/annotate", b'{"text": "map"}', Origin=origin.format(port=ask.port), Content_Type="application/json"
    )
    assert (reply.status, reply.json) == (403, {"error": "another page cannot ask here"})


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
def test_what_a_form_can_send_is_refused(ask, kind):
    assert ask("POST", "/annotate", b'{"text": "map"}', Content_Type=kind).status == 415


@pytest.mark.parametrize("length", [None, "-1", "x", "+5", "5 5", "9" * 30])
def test_a_body_of_no_known_length_is_refused(ask, length):
    assert (
        ask("POST", "/annotate", b'{"text": "map"}', Content_Length=length, Content_Type="application/json").status
        == 411
    )


def test_a_body_too_large_is_refused_before_it_is_read(ask):
    for size in (LARGEST_BODY + 1, 3_000_000):
        reply = ask("POST", "/annotate", b" " * size, Content_Type="application/json")
        assert reply.status == 413
        assert f"{size:,} bytes" in reply.json["error"]
    head = f"POST /annotate HTTP/1.1\r\nHost: localhost:{ask.port}\r\nContent-Type: application/json\r\n"
    assert b" 413 " in ask.send(f"{head}Content-Length: 99999999999\r\n\r\n".encode()).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "raw",
    [b"", b"\r\n", b"GET\r\n\r\n", b"\x00\xff\x16\x03\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /" + b"a" * 70_000],
)
def test_what_is_no_http_breaks_nothing(ask, raw, capfd):
    assert b"200 OK" not in ask.send(raw)
    assert ask("GET", "/").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_connection_that_breaks_is_not_worth_a_word(ask, capfd):
    with socket.create_connection(("127.0.0.1", ask.port)) as connection:
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )  # closes by a reset
        connection.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{ask.port}\r\nContent-Length: 9\r\n\r\n".encode())
    with socket.create_connection(("127.0.0.1", ask.port)) as connection:
        connection.sendall(b"POST /annotate HTTP/1.1\r\nContent-Le")
    assert ask("GET", "/").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_connection_that_says_nothing_holds_up_no_other(site, monkeypatch):
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    with (
        serving(site, lambda asked: {}) as ask,
        socket.create_connection(("127.0.0.1", ask.port), timeout=20) as silent,
    ):
        assert ask("GET", "/").status == 200
        assert silent.recv(1) == b""


def test_two_at_once_are_answered_one_after_the_other_each_with_its_own(site):
    inside, together = threading.Semaphore(1), []

    def answer(asked):
        together.append(not inside.acquire(blocking=False))
        time.sleep(0.05)
        inside.release()
        return asked

    with serving(site, answer) as ask, ThreadPoolExecutor(4) as pool:
        replies = [*pool.map(lambda n: ask.annotate({"text": n}).json, range(8))]
    assert replies == [{"text": n} for n in range(8)]
    assert together == [False] * 8


def test_two_real_questions_at_once(ask):
    alone = [ask.annotate({"text": text}).json for text in (PLAIN, HOSTILE)]
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(lambda text: ask.annotate({"text": text}).json, (PLAIN, HOSTILE) * 3)] == alone * 3


def test_a_bug_is_told_as_one_and_the_server_goes_on(site, capfd):
    def fails(asked):
        raise ZeroDivisionError("of ours")

    with serving(site, fails) as ask:
        reply = ask.annotate({"text": "map"})
        assert (reply.status, reply.json) == (500, {"error": "a bug; the server's terminal tells more"})
        assert ask("GET", "/").status == 200
    assert "ZeroDivisionError: of ours" in capfd.readouterr().err


def test_a_dashboard_that_is_missing_or_of_another_sae_is_told(sae, tmp_path):
    with pytest.raises(ArtifactError, match=r"index.html does not exist; run: dvc pull, or: dvc repro build_dashboard"):
        Site.open(tmp_path / "none", sae_sha256(sae))
    folder = dashboard(tmp_path / "page", sae)
    with pytest.raises(
        ArtifactError, match="was made of another SAE; give that as --sae, or run: dvc repro build_dashboard"
    ):
        Site.open(folder, "0" * 64)
    for content in ("", f"<title></title>{NO_MODEL}", "\udcff"):
        (folder / "index.html").write_text(content, errors="surrogateescape")
        with pytest.raises(ArtifactError, match="dvc repro build_dashboard"):
            Site.open(folder, sae_sha256(sae))


def test_it_listens_on_loopback_alone_and_a_port_in_use_is_told(site):
    with open_server(0, site) as server:
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(
            UserError, match=rf"^port {server.server_port} cannot be had \(.*\); choose another with --port$"
        ):
            open_server(server.server_port, site)
    open_server(server.server_port, site).server_close()


def annotate(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "src/annotate.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_serves_until_it_is_interrupted(sae, site):
    command = [sys.executable, "src/annotate.py", "--serve", "--port", "0", "--sae", sae]
    process = subprocess.Popen(
        [*command, "--dashboard", site.chunks.parent],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        told = re.fullmatch(r"http://127.0.0.1:(\d+)/ \(Ctrl-C ends it\)\n", line)
        ask = Asker(int(told[1]))
        assert ask.annotate({"text": PLAIN}).json["tokens"][0] == "<|begin_of_text|>"
        assert MODEL in ask("GET", "/").body.decode()
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert not [word for word in ("Traceback", "interrupted", "/annotate", PLAIN) if word in err]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a FILE, or --serve"),
        (["a.jsonl", "--serve"], "--serve takes no FILE: texts are typed into the page"),
        (["--serve", "--out", "x"], "--out cannot be given with --serve"),
        (["--serve", "--format", "csv"], "--format cannot be given with --serve"),
        (["--serve", "--force"], "--force cannot be given with --serve"),
        (["--serve", "--top", "3"], "--top cannot be given with --serve"),
        (["--serve", "--latents", "3"], "--latents cannot be given with --serve"),
        (["--serve", "--text-field", "body"], "--text-field cannot be given with --serve"),
        (["a.jsonl", "--port", "0"], "--port is only for --serve"),
        (["a.jsonl", "--dashboard", "x"], "--dashboard is only for --serve"),
        (["--serve", "--port", "65536"], "argument --port: must be a whole number from 0 to 65535, found '65536'"),
        (["--serve", "--port", "-1"], "argument --port: must be a whole number from 0 to 65535, found '-1'"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(arguments, told, monkeypatch, capsys):
    script = load_script()
    monkeypatch.setattr(sys, "argv", ["annotate.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"annotate.py: error: {told}"


def test_what_the_server_lacks_is_told_before_the_model_is_loaded(sae, site, tmp_path, monkeypatch, capsys):
    script = load_script()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Sentences, "open", lambda *_: pytest.fail("too early"))
    with open_server(0, site) as taken:
        for given, told in (
            (["--sae", tmp_path], "manifest.json does not exist; run: dvc pull, or: dvc repro train_sae"),
            (
                ["--sae", sae, "--dashboard", tmp_path],
                "index.html does not exist; run: dvc pull, or: dvc repro build_dashboard",
            ),
            (
                ["--sae", sae, "--dashboard", site.chunks.parent, "--port", taken.server_port],
                "choose another with --port",
            ),
        ):
            monkeypatch.setattr(sys, "argv", ["annotate.py", "--serve", *map(str, given)])
            with pytest.raises(UserError, match=re.escape(told)):
                script.main()
    assert capsys.readouterr().out == ""


def load_script():
    import importlib.util

    spec = importlib.util.spec_from_file_location("annotate_script", ROOT / "src/annotate.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script

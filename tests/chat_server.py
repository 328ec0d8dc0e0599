"""A server of chat completions on loopback, which misbehaves on cue and keeps count of all that it is sent.

It answers honestly, unless its script has something else for a request: windows with the word "pearl" are a yes, a name
is a number, a rating is 4.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


@dataclass(frozen=True)
class Act:
    """What the server does with one request."""

    status: int = 200
    body: object = None
    """Sent as JSON; bytes as they are."""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the reply."""
    cut: bool = False
    """Break the connection in the middle of the body."""
    trickle: float = 0.0
    """Seconds between two bytes of the body."""


def completion(content: str | None, finish_reason: str = "stop", usage: object = USAGE, refusal: str | None = None):
    """Return a reply in OpenAI's form."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return Act(body={"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> Act:
    """Return an error in OpenAI's form."""
    return Act(
        status, {"error": {"message": message, "code": code}}, {k.replace("_", "-"): v for k, v in headers.items()}
    )


def windows_in(body: dict) -> list[dict]:
    """Read back the windows that a request shows."""
    lines = [json.loads(line) for line in body["messages"][1]["content"].split("\n") if line.startswith("{")]
    return [line for line in lines if "window" in line]


def honest(body: dict) -> Act:
    """Answer what is asked."""
    asked = body["messages"][0]["content"]
    if '"answers"' in asked:
        content = {"answers": [int("pearl" in window["text"]) for window in windows_in(body)]}
    elif '"explanations"' in asked:
        content = {"explanations": [f"name {i}" for i in range(int(asked.split(" Give ")[1].split()[0]))]}
    else:
        content = {"score": 4, "reason": "one deviates"}
    return completion(json.dumps(content))


class ChatServer:
    """What was sent, what was answered, and the script."""

    def __init__(self) -> None:
        self.script: Callable[[dict, int], Act | None] = lambda body, nth: None
        """Takes a request's body and how often that body had been sent before."""
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.sent_again_after_success = 0
        self.billed = Counter()
        self.most_at_once = 0
        self._counts: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._now = 0
        self._lock = threading.Lock()
        self.url = ""

    def play(self, *acts: Act | None) -> None:
        """Meet the first tries of every request with these, and answer honestly from then on."""
        self.script = lambda body, nth: acts[nth] if nth < len(acts) else None

    def take(self, raw: bytes, headers: dict[str, str]) -> Act:
        """Count a request, and say what to do with it."""
        body, name = json.loads(raw), raw.decode()
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.sent_again_after_success += name in self._answered
            nth, self._counts[name] = self._counts[name], self._counts[name] + 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        act = self.script(body, nth) or honest(body)
        if act.status == 200 and isinstance(act.body, dict) and act.body.get("choices") and not act.cut:
            with self._lock:
                self._answered.add(name)
                self.billed.update(act.body.get("usage") or {})
        return act

    def leave(self) -> None:
        """Count a request as done."""
        with self._lock:
            self._now -= 1


@contextmanager
def serving() -> Iterator[ChatServer]:
    """Run a server in threads of this process."""
    chat = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else 40 ms pass between headers and body

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            act = chat.take(raw, {name.lower(): value for name, value in self.headers.items()})
            try:
                time.sleep(act.delay)
            finally:
                chat.leave()
            try:
                self._reply(act)
            except OSError:
                self.close_connection = True  # the client has given up

        def _reply(self, act: Act) -> None:
            body = act.body if isinstance(act.body, bytes) else json.dumps(act.body).encode()
            self.send_response(act.status)
            for name, value in act.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if act.cut:
                body, self.close_connection = body[: len(body) // 2], True
            for piece in [body[i : i + 1] for i in range(len(body))] if act.trickle else [body]:
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(act.trickle)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

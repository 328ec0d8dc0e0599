"""A server of annotations on loopback, and raw requests to it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fast_sae.annotation.serving import AnnotationServer, Answer, Site, open_server
from fast_sae.page.page import Page, chunk_script
from fast_sae.sae.checkpoint import sae_sha256

ASK = {"Content-Type": "application/json"}


def dashboard(folder: Path, sae: Path, chunks: int = 0) -> Path:
    """A page that shows nothing of an SAE, and chunks that say their number."""
    Page("An SAE", [], [], {"overview": {}}, marks={"sae": sae_sha256(sae)}).write(folder)
    for number in range(chunks):
        (folder / "chunks").mkdir(exist_ok=True)
        (folder / f"chunks/{number}.js").write_text(chunk_script(number, {"me": number}))
    return folder


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass(frozen=True)
class Asker:
    """Speaks HTTP to a server by hand, so that nothing is mended on the way."""

    port: int

    def send(self, raw: bytes) -> bytes:
        """Send bytes, say that no more come, and read all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> Reply:
        """Ask as a browser does; a header given as None is left out, `_` in a name stands for `-`."""
        sent = {"Host": f"127.0.0.1:{self.port}"} | ({} if body is None else {"Content-Length": str(len(body))})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in sent.items() if value is not None),
        ]
        head, _, content = self.send("\r\n".join([*lines, "", ""]).encode() + (body or b"")).partition(b"\r\n\r\n")
        first, *told = head.decode().split("\r\n")
        return Reply(int(first.split()[1]), dict(line.split(": ", 1) for line in told), content)

    def annotate(self, asked: object) -> Reply:
        """Ask what fires."""
        return self("POST", "/annotate", json.dumps(asked).encode(), Content_Type="application/json")


@contextmanager
def serving(site: Site, answer: Answer) -> Iterator[Asker]:
    """Run a server on a free port."""
    with open_server(0, site) as server:
        server.answer = answer
        yield from _running(server)


def _running(server: AnnotationServer) -> Iterator[Asker]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Asker(server.server_port)
    finally:
        server.shutdown()
        thread.join()

"""A chat server on loopback, a repository's root of its own, and a key that must show up nowhere."""

import ssl

import pytest
from chat_server import serving

from fast_sae.backends.openai import trouble
from fast_sae.backends.openai.connection import KEY_NAMES

KEY = "sk-secret-0123456789abcdef"


@pytest.fixture
def server():
    with serving() as chat:
        yield chat


@pytest.fixture(scope="session")
def tls():
    return ssl.create_default_context()


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch, tls):
    """The repository's root, below which replies are stored; waits are short and the key is set."""
    for name in KEY_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_KEY_SAE", KEY)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(trouble, "_FIRST_WAIT", 0.002)
    # the certificates that no test needs take 50 ms to read
    monkeypatch.setattr("httpx2._transports.default.create_ssl_context", lambda **given: tls)
    return tmp_path


@pytest.fixture
def key() -> str:
    return KEY

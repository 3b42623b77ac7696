"""HTTPS from the settings, in every way the server can be started."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.canary import register
from tests.e2e.rig import ROOT, Gateway, at_once, free_port, read_all, until

START = {
    "workers": ["sanic", "app", "--workers=2"],
    "single": ["sanic", "app", "--single-process"],
    "vai": ["vai", "serve"],
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of the plainest kind: a common name, no subjectAltName."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("how", START)
def test_https_and_nothing_else(how, certificate, tmp_path):
    port = free_port()
    config = tmp_path / "settings.json"
    tls = {"enabled": True}
    tls |= {f"{name}_file": str(certificate / f"{name}.pem") for name in ("cert", "key")}
    config.write_text(json.dumps({"auth": {"mode": "none"}, "port": port, "tls": tls}))
    name, *rest = START[how]
    address = [] if name == "vai" else ["--host=127.0.0.1", f"--port={port}"]
    log = register(tmp_path / "output.log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            [Path(sys.executable).parent / name, *rest, *address],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "VAI_CONFIG": str(config)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    trusting = ssl.create_default_context(cafile=certificate / "cert.pem")
    trusting.check_hostname = False

    def answers() -> bool:
        try:
            with urllib.request.urlopen(
                f"https://127.0.0.1:{port}/health", timeout=2, context=trusting
            ) as answer:
                return answer.status == 200
        except OSError:
            assert server.poll() is None, log.read_text()
            return False

    try:
        until(answers, 20)
        with pytest.raises((OSError, urllib.error.URLError)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
    finally:
        server.terminate()
        assert server.wait(20) == 0, log.read_text()


@pytest.fixture(scope="module")
def served(certificate, simulator, tmp_path_factory):
    """A gateway behind TLS, in which a request's head must come soon."""
    tls = {"enabled": True}
    tls |= {f"{name}_file": str(certificate / f"{name}.pem") for name in ("cert", "key")}
    settings = {
        "auth": {"mode": "none"},
        "tls": tls,
        "head_timeout": 1,
        "providers": {"anthropic": {"api_key": "k", "base_url": simulator.base_url("anthropic")}},
    }
    folder = tmp_path_factory.mktemp("tls-served")
    gateway = Gateway(settings, folder, "--single-process", environ={})
    trusting = ssl.create_default_context(cafile=certificate / "cert.pem")
    trusting.check_hostname = False

    def answers() -> bool:
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as plain:
            trusting.wrap_socket(plain).close()
        return True

    until(answers, 20)
    yield gateway, trusting
    assert gateway.end() == 0
    assert "raceback" not in gateway.log.read_text()


@pytest.mark.timing
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_does_not_go_on_is_cut_with_the_time_of_a_head(served, said):
    gateway, _ = served
    with gateway.raw(10) as sock:
        sock.sendall(said)
        began = time.monotonic()
        assert read_all(sock) == b""
        assert 0.8 <= time.monotonic() - began <= 2.5


def test_many_connections_at_once(served):
    gateway, trusting = served

    def head(_: int) -> bytes:
        with trusting.wrap_socket(gateway.raw(10)) as sock:
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n")
            return sock.recv(15)

    assert set(at_once(head, range(60))) == {b"HTTP/1.1 200 OK"}


def test_a_client_that_sends_all_first_reads_that_its_body_is_too_large(served):
    gateway, trusting = served
    size = 40 * 1024 * 1024
    with trusting.wrap_socket(gateway.raw(20)) as sock:
        head = f"POST /v1/messages HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n"
        sock.sendall(head.encode() + bytes(size))
        time.sleep(0.2)
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")

"""HTTPS from the settings, in every way the server can be started."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.canary import register
from tests.e2e.rig import ROOT, free_port, until

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

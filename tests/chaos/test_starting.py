"""A start that cannot succeed ends, and its last words name the setting and not its value.

What is seen here is what a service manager's restart loop would see, again and again.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import certifi
import pytest

from tests.canary import PROVIDER_KEY, register
from tests.chaos.rig import (
    ROOT,
    Simulated,
    environment,
    free_port,
    log_defects,
    providers,
    serving,
    settings,
    until,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

BIN = Path(sys.executable).parent
COMMANDS = {
    "vai": [sys.executable, "-m", "vai.cli", "serve"],
    "sanic": [str(BIN / "sanic"), "app", "--workers=2"],
}
BAD = {
    "range": ("VAI_PORT", "70000", "port"),
    "unknown": ("VAI_COLOUR_OF_THE_SKY", "azure-9", "colour_of_the_sky"),
    "choice": ("VAI_AUTH__MODE", "foo-77", "auth.mode"),
    "type": ("VAI_WORKERS", "many-5", "workers"),
    "secret": ("VAI_PROVIDERS__OPENAI__MAX_CONNECTIONS", PROVIDER_KEY, "max_connections"),
}


@pytest.mark.parametrize("problem", BAD)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_setting_is_named_and_that_is_all(tmp_path: Path, command: str, problem: str) -> None:
    variable, value, key = BAD[problem]
    words = COMMANDS[command]
    port = free_port()
    said = {"VAI_AUTH__MODE": "none"} | {variable: value}
    if command == "sanic":
        words = [*words, f"--port={port}"]
    elif problem != "range":
        said["VAI_PORT"] = str(port)
    for attempt in range(2):
        output = register(tmp_path / f"{attempt}.log")
        began = time.monotonic()
        with output.open("wb") as file:
            ended = subprocess.run(
                words,
                cwd=ROOT,
                env=environment(**said),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=20,
                start_new_session=True,
                check=False,
            )
        text = output.read_text()
        print(f"{command} {problem}: exit {ended.returncode} after "
              f"{time.monotonic() - began:.1f} s: {text!r}")  # fmt: skip
        assert ended.returncode == 2
        assert value not in text
        # A section that is half readable may contradict itself as well: one line more.
        assert text.startswith("vai: "), text
        assert [line for line in text.splitlines() if key in line.lower()], text
        assert len(text.splitlines()) <= 3, text


def _write_pair(folder: Path, name: str) -> None:
    """A self-signed certificate and its key."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subprocess.run(words, check=True, capture_output=True)


def _break_typo(folder: Path) -> None:
    config = folder / "group" / "settings.json"
    config.write_text(config.read_text().replace('"auth"', '"auht"', 1))


def _break_syntax(folder: Path) -> None:
    (folder / "group" / "settings.json").write_text("{")


def _remove_settings(folder: Path) -> None:
    (folder / "group" / "settings.json").unlink()


def _renew_by_half(folder: Path) -> None:
    (folder / "old.pem").write_bytes((folder / "new.pem").read_bytes())


def _remove_trusted(folder: Path) -> None:
    (folder / "ca.pem").unlink()


BREAK = {
    "typo": (_break_typo, "auht"),
    "syntax": (_break_syntax, "not valid JSON"),
    "removed": (_remove_settings, "cannot be read"),
    "certificate": (_renew_by_half, "tls.cert_file"),
    "trust": (_remove_trusted, "openai.ca_file"),
}


@pytest.mark.parametrize("fault", BREAK)
def test_a_replacement_works_with_the_settings_of_the_others(
    simulator: Simulated, tmp_path: Path, fault: str
) -> None:
    """Whatever became of the files: a killed worker comes back, and a reload is refused."""
    for name in ("old", "new"):
        _write_pair(tmp_path, name)
    (tmp_path / "ca.pem").write_bytes(Path(certifi.where()).read_bytes())
    rows = providers(simulator)
    rows["openai"]["ca_file"] = str(tmp_path / "ca.pem")
    pair = {"cert_file": str(tmp_path / "old.pem"), "key_file": str(tmp_path / "old.key")}
    said = settings(simulator, providers=rows, tls={"enabled": True, **pair})
    with serving(said, tmp_path / "group", "--workers=2") as group:
        before = set(group.workers())
        spoil, named = BREAK[fault]
        spoil(tmp_path)
        victim = min(before)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(set(group.workers()) - {victim}) == 2, 20)
        print(f"back after {time.monotonic() - began:.1f} s")
        os.kill(max(before), signal.SIGKILL)
        until(lambda: len(set(group.workers()) - before) == 2, 20)
        trusting = ssl.create_default_context(cafile=str(tmp_path / "old.pem"))
        if fault == "certificate":  # what lies there now is the new one, and is not served
            assert _served_certificate(group.port) not in (tmp_path / "new.pem").read_text()
        else:
            trusting.check_hostname = False
            with socket.create_connection(("127.0.0.1", group.port), 5) as plain:
                trusting.wrap_socket(plain).close()
        group.signal(signal.SIGHUP)
        until(lambda: "not reloaded, the workers go on as they are" in group.log(), 10)
        assert named in group.log()
        assert "gave up" not in group.log()
        assert not log_defects(group.log())
        assert group.process.poll() is None


def _served_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))

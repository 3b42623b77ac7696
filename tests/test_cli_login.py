"""`vai login gemini` as its user meets it: what is asked, what is said, what is kept."""

from __future__ import annotations

import os
import pty
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tests.canary import PROVIDER_KEY
from tests.io.google.fake import APP, CLIENT, CLIENT_SECRET, CODE, REFRESH, Google
from vai.cli import login as command
from vai.cli.commands import app
from vai.config.login import read_login
from vai.config.schema import Provider

ROOT = Path(__file__).parents[1]
SECRET = {"VAI_PROVIDERS__GEMINI_OAUTH__CLIENT_SECRET": CLIENT_SECRET}


@pytest.fixture
def google() -> Iterator[Google]:
    fake = Google()
    yield fake
    fake.close()


@pytest.fixture
def vai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command, without a terminal and with nothing but the given variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("VAI_")]:
        monkeypatch.delenv(name)

    def vai(*words: str, **variables: str) -> Result:
        return CliRunner().invoke(app, words, env=environ(tmp_path, **variables))

    return vai


def environ(folder: Path, **variables: str) -> dict[str, str]:
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return {**known, "XDG_CONFIG_HOME": str(folder / "xdg"), **variables}


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ((), SECRET, "give --accept-terms"),
        (("--accept-terms",), SECRET, "give --client-id"),
        (("--accept-terms", "--client-id=x"), {}, "no client secret"),
        (("--accept-terms", "--port=70000"), SECRET, "--port"),
        ((), {"VAI_PROVIDERS__GEMINI_OAUTH__MAX_CONNECTIONS": "many"}, "max_connections"),
        (("--config=none.toml",), {}, "none.toml"),
    ],
)
def test_what_is_missing_is_said(
    vai: Callable[..., Result], words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = vai("login", "gemini", *words, **variables)
    assert done.exit_code == 2
    assert said in done.stderr
    assert isinstance(done.exception, SystemExit)
    assert PROVIDER_KEY not in done.stdout + done.stderr


def test_the_terms_come_before_anything_else(vai: Callable[..., Result]) -> None:
    done = vai("login", "gemini", "--client-id=x", **SECRET)
    assert "against its terms" in done.stdout
    assert "suspended" in done.stdout
    assert "http" not in done.stdout


def test_help_says_what_there_is(vai: Callable[..., Result]) -> None:
    assert "gemini" in vai("login", "--help").stdout
    said = vai("login", "gemini", "--help").stdout
    for option in ("--client-id", "--project", "--port", "--accept-terms", "--no-browser"):
        assert option in said


def test_serving_without_a_login_ends_with_the_command(vai: Callable[..., Result]) -> None:
    variables = {"VAI_AUTH__MODE": "none", "VAI_PROVIDERS__GEMINI_OAUTH__ENABLED": "true"}
    for command_of in ("check", "serve"):
        done = vai(command_of, **variables)
        assert done.exit_code == 2
        assert "run: vai login gemini" in done.stderr


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, folder: Path, *words: str, **variables: str) -> None:
        self._mine, theirs = pty.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vai.cli", "login", "gemini", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environ(folder, **variables),
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._mine, 4096):
                self.said += piece.decode(errors="replace")
        except OSError:  # the other side has gone
            pass

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)

    def type(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def end(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self._reader.join(10)
            os.close(self._mine)


def test_who_does_not_accept_is_not_signed_in(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--client-id=x", **SECRET)
    terminal.until("Go on?")
    terminal.type("n\n")
    assert terminal.end() == 2
    assert "accounts.google.com" not in terminal.said


def test_a_terminal_is_asked_and_can_be_left(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, f"--client-id={CLIENT}", "--no-browser")
    terminal.until("Go on?")
    terminal.type("y\n")
    terminal.until("Client secret")
    terminal.type(f"{CLIENT_SECRET}\n")
    terminal.until("redirect_uri=http%3A%2F%2F127.0.0.1%3A")
    assert "https://accounts.google.com/o/oauth2/v2/auth?client_id=1234" in terminal.said
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "not signed in" in terminal.said
    assert "Traceback" not in terminal.said
    assert CLIENT_SECRET not in terminal.said
    assert not (tmp_path / "xdg").exists()


def agree(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that is opened signs in at once."""

    def visit(address: str) -> None:
        query = google.visit(address)
        answer = {"state": query["state"], "code": CODE}
        httpx.get(query["redirect_uri"], params=answer, timeout=20, trust_env=False, verify=False)

    monkeypatch.setattr("webbrowser.open", visit)


def sign_in(google: Google, own: Provider, **more: Any) -> None:
    known = {"project": None, "port": 0, "browser": True, "poll": 0.01}
    command._run_login(APP, own, endpoints=google.endpoints, **{**known, **more})


def test_a_login_is_kept_for_its_owner(
    google: Google,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agree(google, monkeypatch)
    file = tmp_path / "deep" / "login.json"
    sign_in(google, Provider(credentials_file=str(file)))
    kept = read_login(file)
    assert (kept.refresh_token.reveal(), kept.project) == (REFRESH, "heron-1")
    assert kept.expiry > time.time() + 3000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    said = capsys.readouterr()
    assert f"Signed in, with project heron-1. The login is kept in {file}." in said.out
    assert "enabled = true" in said.out
    assert PROVIDER_KEY not in said.out + said.err


def test_a_refusal_is_told_in_one_line(
    google: Google,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agree(google, monkeypatch)
    tier = {"reasonCode": "UNSUPPORTED_LOCATION", "reasonMessage": "Not where you are."}
    google.said["/v1internal:loadCodeAssist"] = [(200, {"ineligibleTiers": [tier]})]
    file = tmp_path / "login.json"
    with pytest.raises(typer.Exit) as ended:
        sign_in(google, Provider(credentials_file=str(file)))
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert said.startswith("vai: Code Assist does not serve this account: UNSUPPORTED_LOCATION")
    assert said.count("\n") == 1
    assert not file.exists()

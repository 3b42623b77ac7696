"""The command as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tests import canary
from vai import __version__, install_command
from vai.cli.check import example_commands, gateway_url
from vai.cli.commands import app
from vai.config import Settings
from vai.config.schema import Auth, Model, Provider, Tls
from vai.config.states import provider_states
from vai.providers.registry import PROVIDER_SPECS
from vai.secret import Secret
from vai.simulator.process import start_simulator

ROOT = Path(__file__).parents[1]
MINE = Provider(kind="openai", base_url="http://127.0.0.1:9/v1")


@pytest.fixture
def vai(tmp_path):
    """Run the command in a foreign directory, with nothing but the given variables."""

    def vai(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables}
        return subprocess.run(
            [sys.executable, "-m", "vai.cli", *words],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
            env=env,
            check=False,
        )

    return vai


def test_version(vai):
    done = vai("--version")
    assert (done.returncode, done.stdout) == (0, f"vai {__version__}\n")


def test_help_names_every_command(vai):
    done = vai("--help")
    assert done.returncode == 0
    for command in ("serve", "check", "simulator", "reload"):
        assert command in done.stdout
        assert vai(command, "--help").returncode == 0


def test_check_shows_what_would_be_served_and_no_key(vai):
    done = vai(
        "check",
        VAI_AUTH__API_KEYS__A__KEY=canary.KEY,
        OPENAI_API_KEY=canary.PROVIDER_KEY,
        VAI_SIMULATE="true",
        VAI_ALIASES__FAST="groq/x",
    )
    assert done.returncode == 0
    rows = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    rows = {name: state.strip() for name, state in rows.items()}
    assert rows["auth"] == "clients present one of 1 key"
    assert rows["provider openai"] == "real, https://api.openai.com/v1"
    assert rows["provider anthropic"].startswith("simulated; ")
    assert rows["alias fast"] == "groq/x"


def test_mistakes_end_in_one_text_and_exit_code_2(vai):
    done = vai("check", VAI_PORT="x", VAI_PROT="1")
    assert done.returncode == 2
    assert "3 problems" in done.stderr
    assert "Traceback" not in done.stderr
    assert vai("check", "--config", "/nowhere.toml").returncode == 2
    assert vai("serve", "--port", "70000", VAI_AUTH__MODE="none").returncode == 2
    assert vai("unknown").returncode == 2


def test_an_open_door_is_warned_of(vai):
    done = vai("check", VAI_AUTH__MODE="none", VAI_HOST="0.0.0.0")
    assert done.returncode == 0
    assert "1 warning:\n  host (environment variable VAI_HOST): " in done.stdout
    assert "reachable from other machines" in done.stdout


TEAM = """
[auth.api_keys]
alice = {key = "%(key)s-alice", tier = "gold"}
bob = {key = "%(key)s-bob", tier = "gold", rate_limit = 3}
carol = {key = "%(key)s-carol"}
[limits.tiers]
gold = {tokens_per_minute = 1000}
lead = {requests_per_minute = 7}
[providers.mine]
kind = "openai"
base_url = "http://10.0.0.5:8000"
api_key = "%(provider)s"
[aliases]
fast = ["mine/x", "groq/x"]
"""


def test_check_tells_the_limits_in_force_and_what_is_doubtful(vai, tmp_path):
    file = tmp_path / "team.toml"
    file.write_text(TEAM % {"key": canary.KEY, "provider": canary.PROVIDER_KEY})
    done = vai("check", "--config", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.sub(r" {2,}", "  ", line) for line in done.stdout.splitlines()]
    assert "provider mine  real, http://10.0.0.5:8000" in lines
    limits = [line.removeprefix("limits  ") for line in lines if line.startswith("limits  ")]
    assert limits == [
        "sliding, counted over the workers of this gateway",
        "all clients together: 1,000,000 requests/min, 1,000 live sessions",
        "each user: 100,000 requests/min",
        "tier gold: 100,000 requests/min, 1,000 tokens/min (keys: alice, bob)",
        "tier lead: 7 requests/min (keys: none)",
        "key bob: 3 requests/min, 1,000 tokens/min",
    ]
    warned = lines[lines.index("2 warnings:") + 1 :]
    assert warned[0].startswith("  providers.mine.base_url (")
    assert f"{file}, line 11)" in warned[0]
    assert warned[1].startswith("  aliases.fast (")
    assert "groq is off" in warned[1]
    assert vai("check", "--config", str(file)).stdout == done.stdout
    assert vai("check", "--strict", "--config", str(file)).returncode == 1


def test_check_for_programs(vai, tmp_path, unused_port):
    file = tmp_path / "team.toml"
    text = TEAM % {"key": canary.KEY, "provider": canary.PROVIDER_KEY}
    file.write_text(text.replace("10.0.0.5:8000", f"127.0.0.1:{unused_port}/v1"))
    done = vai("check", "--json", "--probe", "--config", str(file))
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (1, False)
    assert [warning["key"] for warning in found["warnings"]] == ["aliases.fast"]
    assert found["auth"] == {"mode": "api_key", "keys": 3}
    urls = {row["id"]: row["base_url"] for row in found["providers"]}
    assert urls["gemini"] == "https://generativelanguage.googleapis.com/v1beta"
    in_force = {row["whom"]: row for row in found["limits"]["in_force"]}
    assert in_force["tier gold"]["keys"] == ["alice", "bob"]
    assert in_force["key bob"]["requests"] == 3
    (asked,) = [row for row in found["probes"] if row["outcome"] != "skipped"]
    assert (asked["provider"], asked["outcome"], asked["status"]) == ("mine", "failed", None)
    assert asked["url"] == f"http://127.0.0.1:{unused_port}/v1/models"
    refused = vai("check", "--json", VAI_PORT="x", VAI_AUTH__MODE="none")
    assert (refused.returncode, refused.stderr) == (2, "")
    (error,) = json.loads(refused.stdout)["errors"]
    assert (error["key"], error["where"]) == ("port", "environment variable VAI_PORT")


def test_check_asks_what_the_gateway_would_ask(vai):
    with start_simulator() as process:
        at = f"{process.url}/groq/openai/v1"
        own = {
            "VAI_AUTH__MODE": "none",
            "VAI_PROVIDERS__GROQ__BASE_URL": at,
            "VAI_PROVIDERS__GROQ__API_KEY": canary.PROVIDER_KEY,
        }
        done = vai("check", "--probe", **own)
        assert done.returncode == 0, done.stdout
        assert re.search(
            rf"provider groq +reachable, \d+ models? \({at}/models, 200\)", done.stdout
        )
        wrong = vai("check", "--probe", **own | {"VAI_PROVIDERS__GROQ__BASE_URL": at[:-3]})
        assert wrong.returncode == 1
        assert "FAILED, there is nothing at this URL; check providers.groq.base_url" in wrong.stdout


class _Unversioned(BaseHTTPRequestHandler):
    """A server as LiteLLM is: its paths are there without /v1 too."""

    def do_GET(self) -> None:
        self._answer(200, b'{"data": [{"id": "m"}]}')

    def do_POST(self) -> None:
        self._answer(400, b'{"error": {"message": "model: required"}}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_an_answer_takes_back_the_doubt_about_an_address(vai):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Unversioned) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = {
            "VAI_AUTH__MODE": "none",
            "VAI_PROVIDERS__OWN_ROW__KIND": "openai",
            "VAI_PROVIDERS__OWN_ROW__BASE_URL": f"HTTP://127.0.0.1:{server.server_port}",
        }
        doubted = vai("check", "--strict", **own)
        asked = vai("check", "--strict", "--probe", **own)
        server.shutdown()
    assert (doubted.returncode, "most servers want a version" in doubted.stdout) == (1, True)
    assert (asked.returncode, "warning" in asked.stdout) == (0, False), asked.stdout


def test_without_the_server_part_the_command_says_what_to_install():
    hide = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'sanic' else find(name, *a);"
        "sys.argv = ['vai', 'check']; from vai.cli import main; main()"
    )
    command = [sys.executable, "-c", hide]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == f"vai: not installed: sanic. Run: {install_command('server')}"


def test_the_simulator_takes_its_own_options(vai):
    assert "--ttft" in vai("simulator", "--help").stdout


def test_provider_states():
    settings = Settings(
        auth=Auth(mode="none"),
        providers={
            "mine": Provider(kind="openai", base_url="http://h"),
            "groq": Provider(base_url="http://h"),
        },
    )
    assert provider_states(settings) == dict.fromkeys(PROVIDER_SPECS, "off (no key)") | {
        "groq": "real, without a key",
        "gemini-oauth": "off",
        "mine": "real, without a key",
    }


@pytest.mark.parametrize(
    ("host", "tls", "expected"),
    [
        ("127.0.0.1", Tls(), "http://127.0.0.1:8080"),
        ("0.0.0.0", Tls(enabled=True), "https://127.0.0.1:8080"),
        ("::", Tls(), "http://[::1]:8080"),
    ],
)
def test_the_address_is_one_a_client_can_use(host, tls, expected):
    assert gateway_url(Settings(host=host, tls=tls)) == expected


@pytest.mark.e2e
@pytest.mark.parametrize("option", ["--single-process", "--workers=2"])
def test_serve_runs_from_anywhere_until_it_is_told_to_stop(tmp_path, unused_port, option):
    log = canary.register(tmp_path / "log")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "VAI_AUTH__MODE": "none"}
    env["VAI_ALIASES__FAST"] = "groq/x"
    command = [sys.executable, "-m", "vai.cli", "serve", f"--port={unused_port}", option]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 40
        while not _is_healthy(unused_port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0, log.read_text()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    text = log.read_text()
    assert f"http://127.0.0.1:{unused_port}" in text
    assert text.count("aliases.fast (environment") == 1, "a warning is written once, by main"


def _is_healthy(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=1)
    except httpx.TransportError:
        return False
    return answer.json()["status"] == "healthy"


def test_models_are_shown_without_a_server(vai):
    shown = vai("models", "--provider", "groq")
    assert shown.returncode == 0
    line = next(line for line in shown.stdout.splitlines() if "groq/openai/gpt-oss-20b" in line)
    assert line.split()[1:7] == ["131,072", "131,072", "65,536", "0.075", "0.3", "0.0375"]
    assert "anthropic/" not in shown.stdout
    found = json.loads(vai("models", "--capability", "video", "--json").stdout)
    assert {row["id"] for row in found["providers"]} <= {"gemini", "gemini-oauth"}
    assert all(model["capabilities"]["video"] for model in found["providers"][0]["models"])


@pytest.mark.parametrize("words", [("--provider", "nobody"), ("--capability", "telepathy")])
def test_models_of_nobody(vai, words):
    asked = vai("models", *words)
    assert asked.returncode == 2
    assert "expected one of" in asked.stderr


@pytest.mark.parametrize(
    ("providers", "models", "simulate", "named"),
    [
        ({}, {}, True, "anthropic/claude-haiku-4-5"),
        ({}, {}, False, None),
        ({"openai": Provider(api_key=Secret("k"))}, {}, True, "openai/gpt-5.4-mini"),
        ({"groq": Provider(api_key=Secret("k"))}, {}, True, "groq/openai/gpt-oss-120b"),
        ({"gemini": Provider(api_key=Secret("k"))}, {}, True, "gemini/gemini-3.5-flash"),
        ({"mine": MINE}, {"mine/llama-70b": Model()}, True, "mine/llama-70b"),
        ({"mine": MINE}, {}, True, "anthropic/claude-haiku-4-5"),
        ({"mine": MINE}, {'mine/it\'s "one"': Model()}, False, None),
    ],
)
def test_the_lines_to_try_name_a_real_provider_if_there_is_one(providers, models, simulate, named):
    auth = Auth(mode="none")
    settings = Settings(auth=auth, providers=providers, models=models, simulate=simulate)
    lines = example_commands(settings)
    assert len(lines) == (1 if named is None else 3)
    for line in lines[1:]:
        assert json.loads(line.split(" -d ")[1].strip("'"))["model"] == named


def test_port_0_is_a_free_one(monkeypatch):
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    for name, value in {"VAI_PORT": "0", "VAI_HOST": "::1", "VAI_AUTH__MODE": "none"}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["serve"])
    (port,) = (word for word in started[0] if word.startswith("--port="))
    assert int(port.removeprefix("--port=")) >= 1024
    assert port != "--port=8000"
    assert f"http://[::1]:{port.removeprefix('--port=')}" in done.stdout
    monkeypatch.setenv("VAI_HOST", "no.such.host.invalid")
    done = CliRunner().invoke(app, ["serve"])
    assert (done.exit_code, "cannot listen on no.such.host.invalid" in done.stderr) == (2, True)

"""Claude Code, headless: what a user does with it, on every provider."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.canary import KEY, PROVIDER_KEY
from tests.clients.rig import (
    PROVIDERS,
    SILENT,
    Desk,
    Done,
    block,
    closed_early,
    exported,
    named,
    program,
)
from tests.e2e.rig import Gateway, Simulated, digest, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
ALLOWED = ["--allowedTools", "Bash(cat:*)", "Read"]
STREAM = ["--output-format", "stream-json", "--verbose"]
OVERFLOWS = {
    "anthropic": {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "prompt is too long: 210000 tokens > 200000 maximum",
        },
    },
    "openai": {
        "error": {
            "message": "This model's maximum context length is 128000 tokens. However, your "
            "messages resulted in 150000 tokens. Please reduce the length of the messages.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    },
    "oai-resp": {
        "error": {
            "message": "Your input exceeds the context window of this model. Please adjust your "
            "input and try again.",
            "type": "invalid_request_error",
            "param": "input",
            "code": "context_length_exceeded",
        }
    },
    "groq": {
        "error": {
            "message": "Please reduce the length of the messages or completion.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    },
    "cerebras": {
        "message": "Please reduce the length of the messages or completion. Current length is "
        "150000 while limit is 131072",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
    "gemini": {
        "error": {
            "code": 400,
            "message": "The input token count (1200000) exceeds the maximum number of tokens "
            "allowed (1048576).",
            "status": "INVALID_ARGUMENT",
        }
    },
}
OVERFLOWS["gemini-oauth"] = OVERFLOWS["gemini"]
"""What each provider answers to a prompt that is too long."""


class Claude:
    """Claude Code as the page sets it up, with another model."""

    def __init__(self, desk: Desk, gateway: Gateway) -> None:
        self.desk = desk
        self.environ = exported(block("claude-code", gateway)) | QUIET
        self.path = program("@anthropic-ai/claude-code-linux-*/claude")

    def command(self, model: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        return [self.path, "-p", *arguments], self.environ | {"ANTHROPIC_MODEL": model}

    def ask(self, model: str, *arguments: str, at: Path | None = None, **environ: str) -> Done:
        command, own = self.command(model, *arguments)
        return self.desk.run(command, own | environ, at=at)


def furnished(folder: Path, picture: bytes) -> Path:
    """A folder of its own with a note and a picture."""
    folder.mkdir()
    (folder / "note.txt").write_text("heron-7731\n")
    (folder / "picture.png").write_bytes(picture)
    return folder


def looking(folder: Path) -> list[dict[str, Any]]:
    """A thought, and calls that look at what is in the folder."""
    return [
        {"type": "thinking", "text": "I should look."},
        {"type": "tool", "name": "Bash", "input": {"command": "cat note.txt", "description": "x"}},
        {"type": "tool", "name": "Read", "input": {"file_path": str(folder / "picture.png")}},
    ]


def answered(gateway: Gateway, model: str) -> list[int]:
    """The statuses of the responses for `model`, by the gateway's own log."""
    written = gateway.log.read_text().splitlines()
    lines = [json.loads(line) for line in written if not line.startswith("vai: ")]
    return [line["status"] for line in lines if line.get("model") == model]


@pytest.fixture
def claude(desk: Desk, gateway: Gateway) -> Claude:
    return Claude(desk, gateway)


@pytest.fixture(params=PROVIDERS)
def provider(request) -> str:
    return request.param


def test_the_lines_of_the_page(claude, gateway):
    """They are run as they are: in a shell that finds `claude`."""
    path = f"{Path(claude.path).parent}:{claude.desk.environ['PATH']}"
    lines = block("claude-code", gateway)
    model = re.search(r"ANTHROPIC_MODEL=\w+/(\S+)", lines)[1]
    done = claude.desk.run(["sh", "-c", lines], QUIET | {"PATH": path})
    assert done.status == 0, done.errors
    assert f"I am {model}" in done.output


def test_an_agent_s_turns(claude, gateway, simulator, provider, picture):
    """It thinks, runs a command, looks at a picture and says what it found; then the window
    is full, and it goes on after a summary."""
    model = named(provider)
    own = model.partition("/")[2]
    at = furnished(claude.desk.work / provider, picture)
    simulator.script(own, times=1, answer={"parts": looking(at)})
    first = claude.ask(model, "What does the note say?", *STREAM, *ALLOWED, at=at)
    simulator.script(own, times=1, status=400, body=json.dumps(OVERFLOWS[provider]))
    before = simulator.last
    second = claude.ask(model, "-c", "And now?", at=at)
    result = first.lines[-1]
    assert (result["subtype"], result["is_error"], result["num_turns"]) == ("success", False, 3)
    assert "heron-7731" in result["result"]
    assert "I see an image (40x30 PNG)" in result["result"]
    blocks = [
        part
        for line in first.lines
        if line["type"] in {"assistant", "user"}
        for part in line["message"]["content"]
    ]
    kinds = [part["type"] for part in blocks]
    assert ("thinking" in kinds) is (provider not in SILENT)
    assert kinds.count("tool_use") == kinds.count("tool_result") == 2
    assert (second.status, second.errors.count("rror")) == (0, 0), second.errors
    assert 'You said: "And now?"' in second.output
    entries = simulator.journal(own, before)
    assert [entry["status"] for entry in entries[:2]] == [400, 200]
    assert {entry["status"] for entry in entries[1:]} == {200}
    assert "This session is being continued" in entries[-1]["body"]
    everything = len(simulator.journal(own))
    statuses = until(lambda: len(found := answered(gateway, model)) >= everything and found)
    assert statuses.count(400) == 1, "the gateway itself refuses nothing that Claude Code sends"


def test_a_picture_for_a_model_that_cannot_see(claude, simulator, picture):
    """A note stands in for the picture, and the session goes on."""
    model = "groq/openai/gpt-oss-120b"
    own = model.partition("/")[2]
    at = furnished(claude.desk.work / "blind", picture)
    simulator.script(own, times=1, answer={"parts": looking(at)})
    done = claude.ask(model, "What does the note say?", *ALLOWED, at=at)
    assert done.status == 0, done.errors
    assert "heron-7731" in done.output
    [_, entry] = simulator.journal(own)
    assert '"image_url"' not in entry["body"]


def test_an_error_of_the_provider_is_shown_at_once(claude, provider):
    done = claude.ask(named(provider, ";status=400"), "Hello", "--output-format", "json")
    [result] = done.lines
    assert done.status == 1
    assert result["is_error"] is True
    assert result["api_error_status"] == 400
    assert re.search(r"not valid|invalid argument", result["result"])


def test_a_wrong_key_fails_at_once(claude, simulator):
    """Claude Code repeats a 401 for minutes, unless the answer tells it not to: longer than
    `ask` waits for its end."""
    before = simulator.last
    done = claude.ask(named("openai"), "Hello", ANTHROPIC_AUTH_TOKEN="sk-wrong")
    assert done.status == 1
    assert "401" in done.output + done.errors
    assert simulator.last == before


def test_a_plan_login_goes_to_anthropic_beside_the_gateway_s_key(claude, simulator):
    """With a Claude plan, the login is Claude Code's own; the key has a header of its own."""
    model = "claude-sonnet-4-6"
    login = f"sk-ant-oat01-{PROVIDER_KEY}"
    environ = {name: claude.environ[name] for name in ("ANTHROPIC_BASE_URL",)} | QUIET
    environ |= {
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_CUSTOM_HEADERS": f"X-VAI-Key: {KEY}",
        "CLAUDE_CODE_OAUTH_TOKEN": login,
    }
    done = claude.desk.run([claude.path, "-p", "Hello"], environ)
    assert done.status == 0, done.errors
    assert f"I am {model}" in done.output
    entry = simulator.journal(model)[-1]
    assert entry["credentials"] == [{"header": "authorization", "sha256": digest(login)}]
    assert KEY not in entry["head"]


def test_an_interrupt_stops_the_provider(claude, simulator, provider):
    model = named(provider, ";tps=40;tokens=4002")
    own = model.partition("/")[2]
    command, environ = claude.command(model, "Hello")
    process = claude.desk.start(command, environ)
    try:
        until(lambda: streaming(simulator, own), 20)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    finally:
        process.kill()
    closed_early(simulator, own)


def streaming(simulator: Simulated, model: str) -> bool:
    return any(entry["first_byte"] for entry in simulator.journal(model))

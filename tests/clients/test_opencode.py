"""opencode: its own server does the work, and `opencode run` is the command of its users."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients.rig import MODULES, PROVIDERS, SILENT, Desk, block, closed_early, named, program
from tests.e2e.rig import Answer, Gateway, Http, free_port, until

# The server's start is counted with the first test; on a busy machine it takes a minute.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

QUIET = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    # It looks for the package of its plugins, has no switch for that, and goes on without.
    "npm_config_registry": "http://127.0.0.1:9",
}
"""It would ask for newer versions of itself and of its list of models."""
SLOW = ";tps=40;tokens=4003"
BAD = ";status=400"
ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]


class OpenCode(NamedTuple):
    desk: Desk
    path: str
    port: int

    def post(self, path: str, **body: Any) -> Answer:
        with Http(self.port, 60) as http:
            fields = {"content-type": "application/json"}
            answer = http.ask("POST", path, fields, json.dumps(body).encode())
        assert answer.status in {200, 204}, answer.body
        return answer

    def history(self, session: str) -> list[dict[str, Any]]:
        """The parts of all messages."""
        with Http(self.port, 60) as http:
            messages = http.ask("GET", f"/session/{session}/message").json
        return [part for message in messages for part in message["parts"]]

    def session(self) -> str:
        return str(self.post("/session", title="A test", permission=ALL).json["id"])

    def send(self, session: str, how: str, model: str, *parts: dict[str, Any]) -> Answer:
        chosen = {"providerID": "vai", "modelID": model}
        return self.post(f"/session/{session}/{how}", model=chosen, parts=list(parts))

    def ask(self, session: str, model: str, *parts: dict[str, Any]) -> dict[str, Any]:
        """Send a message, and wait for the last one of the turn."""
        return dict(self.send(session, "message", model, *parts).json)


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


def settings(gateway: Gateway) -> dict[str, Any]:
    """The file of the page, with every provider's model beside the one that it shows."""
    shown = json.loads(block("opencode", gateway))
    models = shown["provider"]["vai"]["models"]
    entry = models["openai/gpt-5.4"]
    for provider in PROVIDERS:
        for knobs in ("", SLOW, BAD):
            models[named(provider, knobs)] = entry
    return shown


@pytest.fixture(scope="module")
def opencode(desk: Desk, gateway: Gateway, picture: bytes) -> Iterator[OpenCode]:
    (desk.work / "opencode.json").write_text(json.dumps(settings(gateway)))
    (desk.work / "note.txt").write_text("heron-7731\n")
    (desk.work / "picture.png").write_bytes(picture)
    if not list(MODULES.glob("opencode-linux-*")):
        pytest.skip("opencode: its program was not installed (x64 only)")
    path = program("opencode-linux-*/bin/opencode")
    port = free_port()
    command = [path, "serve", "--hostname", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command,
        cwd=desk.work,
        env=desk.environ | QUIET,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def up() -> bool:
            with Http(port) as probe:
                return probe.ask("GET", "/session").status == 200

        until(up, 90)
        yield OpenCode(desk, path, port)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


@pytest.fixture(params=PROVIDERS)
def provider(request) -> str:
    return request.param


def turn(note: Path, picture: Path) -> list[dict[str, Any]]:
    """A thought and two calls."""
    return [
        {"type": "thinking", "text": "I should look."},
        {"type": "tool", "name": "bash", "input": {"command": f"cat {note}", "description": "x"}},
        {"type": "tool", "name": "read", "input": {"filePath": str(picture)}},
    ]


def test_an_agent_s_turns(opencode, simulator, provider):
    model = named(provider)
    work = opencode.desk.work
    answer = {"parts": turn(work / "note.txt", work / "picture.png")}
    simulator.script(model.partition("/")[2], times=1, answer=answer)
    session = opencode.session()
    last = opencode.ask(session, model, text("What does the note say?"))
    assert last["info"].get("error") is None
    assert last["info"]["finish"] == "stop"
    found = opencode.history(session)
    calls = [part for part in found if part["type"] == "tool"]
    assert [call["state"]["status"] for call in calls] == ["completed", "completed"]
    assert "heron-7731" in texts(last)[-1]
    assert "I see an image (40x30 PNG)" in texts(last)[-1]
    thoughts = [part["text"] for part in found if part["type"] == "reasoning" and part["text"]]
    assert bool(thoughts) is (provider not in SILENT)
    assert last["info"]["tokens"]["output"] > 0
    again = opencode.ask(session, model, text("And now?"))
    assert 'You said: "And now?"' in texts(again)[-1]


def test_a_picture_of_the_user_s(opencode, provider):
    url = (opencode.desk.work / "picture.png").as_uri()
    picture = {"type": "file", "mime": "image/png", "filename": "picture.png", "url": url}
    last = opencode.ask(opencode.session(), named(provider), picture, text("What is this?"))
    assert "I see an image (40x30 PNG)" in texts(last)[-1]


def test_an_error_of_the_provider_is_shown(opencode, provider):
    last = opencode.ask(opencode.session(), named(provider, BAD), text("Hello"))
    error = last["info"]["error"]
    assert error["name"] == "APIError"
    assert error["data"]["statusCode"] == 400
    assert error["data"]["isRetryable"] is False
    assert error["data"]["message"]


def test_an_abort_stops_the_provider(opencode, simulator, provider):
    model = named(provider, SLOW)
    own = model.partition("/")[2]
    session = opencode.session()
    opencode.send(session, "prompt_async", model, text("Hello"))
    until(lambda: any(entry["first_byte"] for entry in simulator.journal(own)), 30)
    opencode.post(f"/session/{session}/abort")
    closed_early(simulator, own)


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_the_command(opencode, simulator, provider):
    model = named(provider)
    work = opencode.desk.work
    answer = {"parts": turn(work / "note.txt", work / "picture.png")}
    simulator.script(model.partition("/")[2], times=1, answer=answer)
    command = [opencode.path, "run", "--format", "json", "--thinking", "--auto"]
    command += ["--title", "A test", "-m", f"vai/{model}", "What does the note say?"]
    done = opencode.desk.run(command, QUIET, timeout=120)
    assert done.status == 0, done.errors
    said = [line["part"]["text"] for line in done.lines if line["type"] == "text"]
    assert "heron-7731" in said[-1]
    assert [line["type"] for line in done.lines].count("tool_use") == 2
    assert "reasoning" in [line["type"] for line in done.lines]

"""Unmodified clients as processes of their own, against a real gateway.

Invariants: a client knows the gateway's address and key and nothing else. It
has a home of its own, and a proxy that lets nothing out, so that what a test sees is what
the client does on a user's machine without other networks.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.canary import KEY
from tests.e2e.rig import ROOT, Gateway, Simulated, until

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"
PAGE = ROOT / "docs/clients.md"
OLDEST_NODE = 20

MODELS = {
    "anthropic": "claude-haiku-4-5",
    "openai": "gpt-5.4",
    "oai-resp": "gpt-5.5",
    "groq": "qwen/qwen3.8-27b",
    "cerebras": "qwen-3.8-27b",
    "gemini": "gemini-2.5-flash",
    "gemini-oauth": "gemini-2.5-pro",
}
"""Provider -> a model of its own that thinks, sees and calls tools."""
PROVIDERS = list(MODELS)
SILENT = {"openai"}
"""Providers that reason without showing it: Chat Completions has no place for it."""


def named(provider: str, knobs: str = "") -> str:
    """What a client calls the model of `provider`."""
    return f"{provider}/{MODELS[provider]}{knobs}"


def missing() -> str | None:
    """Why the clients of npm cannot run here, or None."""
    node = shutil.which("node")
    if node is None:
        return "node is missing"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.lstrip("v").split(".")[0]) < OLDEST_NODE:
        return f"node is older than {OLDEST_NODE}"
    if not (MODULES / ".done").exists():
        return "the clients are not installed: make clients"
    return None


def program(*patterns: str) -> str:
    """The first program that is installed under one of these names."""
    found = [path for pattern in patterns for path in sorted(MODULES.glob(pattern))]
    assert found, patterns
    return str(found[0])


class Outside:
    """The only way out of a client: a proxy that refuses, and notes what was asked for."""

    def __init__(self) -> None:
        asked = self.asked = list[str]()

        class Refusal(BaseHTTPRequestHandler):
            def refuse(self) -> None:
                asked.append(self.path)
                self.send_error(403)

            do_CONNECT = do_GET = do_POST = do_HEAD = refuse  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Done(NamedTuple):
    """What a client process left behind."""

    status: int
    output: str
    errors: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The output as JSON lines; lines of other kinds are left out."""
        found = [line for line in self.output.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in found]


class Desk:
    """A user's machine: a home, a folder to work in, and the network that ends here."""

    def __init__(self, folder: Path, outside: Outside) -> None:
        self.home = folder / "home"
        self.work = folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "HTTP_PROXY": outside.url,
            "HTTPS_PROXY": outside.url,
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def start(
        self,
        command: list[str],
        environ: dict[str, str] | None = None,
        at: Path | None = None,
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=at or self.work,
            env=self.environ | (environ or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        command: list[str],
        environ: dict[str, str] | None = None,
        given: str = "",
        timeout: float = 40,
        at: Path | None = None,
    ) -> Done:
        """Run a command to its end, in the folder `at`."""
        process = self.start(command, environ, at)
        try:
            output, errors = process.communicate(given, timeout)
        finally:
            process.kill()
        return Done(process.returncode, output, errors)


def run_node(desk: Desk, script: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run a script of this folder; it reads `given` and writes its results, both JSON."""
    done = desk.run(["node", str(FOLDER / script)], given=json.dumps(given))
    assert done.status == 0, done.errors[-3000:]
    return dict(json.loads(done.output))


def task(gateway: Gateway, simulator: Simulated, picture: bytes) -> dict[str, Any]:
    """What the scripts of this folder read."""
    return {
        "url": gateway.url,
        "simulator": simulator.url,
        "key": KEY,
        "models": {provider: named(provider) for provider in PROVIDERS},
        "picture": base64.b64encode(picture).decode(),
    }


def block(name: str, gateway: Gateway) -> str:
    """The lines of the page that follow ``<!-- client: name -->``, aimed at `gateway`."""
    found = re.search(rf"<!-- client: {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"docs/clients.md has no block {name}"
    aimed = found[1].replace("http://127.0.0.1:8080", gateway.url)
    return aimed.replace("key-of-yours", KEY)


def exported(lines: str) -> dict[str, str]:
    """The variables that lines of a shell export."""
    return dict(re.findall(r"^export (\w+)=(.*)$", lines, re.MULTILINE))


def closed_early(simulator: Simulated, model: str) -> None:
    """The only request for `model` must have lost its client before it was answered."""
    until(lambda: simulator.one(model)["outcome"] == "client_closed", 5)

"""The page on setting up a gateway for a team, followed block by block as a reader would.

Only what differs between two machines is put in: the directory, the port, and where the
providers are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.canary import register
from tests.e2e.rig import Http, Simulated, at_once, digest, free_port, until
from vai.simulator.process import start_simulator

PAGE = (Path(__file__).parents[1] / "docs/team.md").read_text()
RUNNING = (Path(__file__).parents[1] / "docs/running.md").read_text()
BLOCKS = re.findall(r"<!-- team: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
MOVED = {"anthropic": "anthropic", "openai": "openai", "oai_resp": "oai-resp", "workshop": "openai"}
"""Provider, as a variable spells it -> the face of the simulator that stands for it."""


class Reader:
    """Somebody who does what the page says, in its order, with files below `folder`."""

    def __init__(self, folder: Path, simulator: Simulated) -> None:
        self.port = free_port()
        self.etc = folder / "etc/vai"
        self.folder = folder
        self.simulator = simulator
        self.left = list(BLOCKS)
        self.log, self.events = (
            register(folder / f"{name}.log") for name in ("requests", "events")
        )
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VAI_", "ANTHROPIC_")) and not name.endswith("_API_KEY")
        }
        moved = {
            f"VAI_PROVIDERS__{name.upper()}__BASE_URL": simulator.base_url(face)
            for name, face in MOVED.items()
        }
        # Responses take openai's key by themselves where neither was moved.
        moved["VAI_PROVIDERS__OAI_RESP__API_KEY"] = "${file:%s}" % (self.etc / "secrets/openai")
        path = f"{Path(sys.executable).parent}:{folder}:{clean['PATH']}"
        journal = folder / "journalctl"  # systemd keeps both streams; this one shows them
        journal.write_text(f"#!/bin/sh\ncat {self.events} {self.log}\n")
        journal.chmod(0o755)
        self.environ = {**clean, **moved, "PATH": path, "VAI_HOST": "127.0.0.1"}

    def next(self, kind: str) -> str:
        """The block that comes next, with this machine's places."""
        found, text = self.left.pop(0)
        assert found == kind
        text = text.replace("/etc/vai", str(self.etc)).replace(":8080", f":{self.port}")
        return text.replace("port = 8080", f"port = {self.port}")

    def shell(self, lines: str, **variables: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", lines],
            env=self.environ | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def do(self) -> str:
        """What the next block prints."""
        return self.shell(self.next("sh"))

    def keys(self) -> dict[str, str]:
        tables = tomllib.loads((self.etc / ".secrets.toml").read_text())["auth"]["api_keys"]
        return {name: table["key"] for name, table in tables.items()}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    if missing := [tool for tool in ("curl", "jq", "openssl") if shutil.which(tool) is None]:
        pytest.skip(f"missing: {', '.join(missing)}")
    with start_simulator() as process, contextlib.closing(Simulated(process.url)) as simulator:
        yield Reader(tmp_path, simulator)


@contextlib.contextmanager
def started(reader: Reader) -> Iterator[None]:
    """What the block on starting starts; it serves, and ends well."""
    with reader.log.open("wb") as requests, reader.events.open("wb") as events:
        server = subprocess.Popen(
            ["sh", "-c", f"exec {reader.next('start')}"],
            env=reader.environ,
            cwd=reader.folder,
            stdout=requests,
            stderr=events,
            start_new_session=True,
        )
    try:
        until(lambda: server.poll() is not None or "vai: ready" in reader.events.read_text(), 20)
        assert server.poll() is None, reader.events.read_text()
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0, reader.events.read_text()[-2000:]
    assert "raceback" not in reader.events.read_text()


TEAMMATES = """\
import json, os, sys
program = compile(sys.argv[1], "docs/team.md", "exec")
for key in json.load(sys.stdin):
    os.environ["ANTHROPIC_API_KEY"] = key
    exec(program, {})
"""
"""Runs a program once for each key; a process for each would take a minute to import the SDK."""


def test_a_team_of_thirty_is_set_up_by_the_page(reader: Reader) -> None:
    reader.do()
    reader.do()
    keys = reader.keys()
    assert len(keys) == len(set(keys.values())) == 31
    (reader.etc / "config.toml").write_text(reader.next("/etc/vai/config.toml"))
    for file in (".secrets.toml", "secrets/openai"):
        assert (reader.etc / file).stat().st_mode & 0o77 == 0

    shown = reader.do()
    assert "31 keys" in shown
    assert re.findall(r"^provider (\S+) +real\b", shown, re.MULTILINE)[:2] == [
        "anthropic",
        "openai",
    ]
    assert re.search(r"^provider workshop +real", shown, re.MULTILINE)
    assert re.search(r"tier lead: 120 requests/min.* 8 at once \(keys: alice\)", shown)
    probed = reader.do()
    asked = re.findall(r"^  provider (\S+) +reachable", probed, re.MULTILINE)
    assert asked == ["anthropic", "openai", "oai-resp", "workshop"]
    assert not [key for key in keys.values() if key in shown + probed]

    with started(reader):
        settings = reader.next("sh").replace("key-of-bob", keys["bob"])
        curl, program = reader.next("curl"), reader.next("python")
        assert '"type":"message"' in reader.shell(settings + curl)

        base = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{reader.port}"}

        def asks(key: str) -> str:
            return reader.shell(curl, **base, ANTHROPIC_API_KEY=key)

        by_curl = at_once(asks, list(keys.values()))
        assert [answer for answer in by_curl if "simulated OpenAI model" not in answer] == []
        by_sdk = subprocess.run(
            [sys.executable, "-c", TEAMMATES, program],
            env=reader.environ | base,
            input=json.dumps(list(keys.values())),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert by_sdk.stdout.count("simulated Anthropic model") == 31, by_sdk.stderr
        paid_with = {
            (entry["provider"], credential["sha256"])
            for entry in reader.simulator.journal()
            for credential in entry["credentials"]
        }
        assert paid_with == {
            (face, digest(f"{name}-key-of-yours"))
            for face, name in (
                ("anthropic", "anthropic"),
                ("openai", "openai"),
                ("oai-resp", "openai"),
                ("openai", "workshop"),
            )
        }

        assert "Invalid API key" in asks("vai-wrong")

        used = reader.do()
        assert re.search(r"\bbob\b", used)

        carol = {"x-api-key": keys["carol"]}
        with Http(reader.port) as kept_alive:
            assert kept_alive.ask("GET", "/v1/models", carol).status == 200
            reader.do()
            now = reader.keys()
            assert set(now) == set(keys) - {"carol"} | {"nora"}
            # The old workers stop accepting within a second of the result.
            until(lambda: '"type":"message"' in asks(now["nora"]), 2)
            until(lambda: "Invalid API key" in asks(keys["carol"]), 2)
            with contextlib.suppress(OSError, HTTPException):  # the connection ended meanwhile
                kept_alive.ask("GET", "/v1/models", carol)  # the last one that it may serve
                assert kept_alive.ask("GET", "/v1/models", carol).status == 401
        assert "Invalid API key" in asks(keys["carol"])
        assert '"type":"message"' in asks(keys["bob"])
    assert reader.left == []
    failed, spent = (
        reader.shell(lines)
        for lines in re.findall(r"<!-- log -->\n```sh\n(.*?)```", RUNNING, re.DOTALL)
    )
    assert {(line["status"], line["user_id"]) for line in map(json.loads, failed.splitlines())} == {
        (401, None)
    }
    rows = [row.split("\t") for row in spent.splitlines()]
    assert {user for user, _, _ in rows} == set(keys) | {"nora"}
    assert all(int(count) >= 1 and 0 < float(cost) < 0.01 for _, count, cost in rows)


def test_each_block_of_the_page_is_run() -> None:
    assert len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) == len(BLOCKS) == 11

"""The page on running VAI: its unit, its container and its lines for the log."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vai.cli.commands import app
from vai.config import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/running.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ROOM_TO_STOP = Settings().drain_grace + 10
"""Seconds: what running streams have, and what the processes need after it."""


def blocks(heading: str, language: str = "sh") -> list[str]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


def is_understood(command: list[str]) -> bool:
    """Whether `vai` knows these words, without doing what they say."""
    assert Path(command[0]).name == "vai"
    words = [word.replace("$MAINPID", "4711") for word in command[1:]]
    return CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


def unit() -> RawConfigParser:
    parser = RawConfigParser()
    parser.optionxform = str
    parser.read_string(blocks("With systemd", "ini")[0])
    return parser


def test_the_unit_starts_reloads_and_stops_as_the_page_says():
    service = dict(unit()["Service"])
    team = (ROOT / "docs/team.md").read_text()
    begin = re.search(r"<!-- team: start -->\n```sh\n(.*)\n```", team)[1]
    assert service["ExecStart"] == f"/opt/vai/bin/{begin}"
    reload = shlex.split(service["ExecReload"])
    assert reload[1:3] == ["reload", "--pid"]
    assert is_understood(reload)
    assert int(service["TimeoutStopSec"]) >= ROOM_TO_STOP
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert "KillSignal" not in service  # SIGTERM, which is what a gateway ends by


def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing")
    text = blocks("With systemd", "ini")[0]
    file = tmp_path / "vai.service"
    file.write_text(text.replace("/opt/vai/bin/", f"{Path(sys.executable).parent}/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    faults = [line for line in done.stderr.splitlines() if "vai.service" in line]
    assert (done.returncode, faults) == (0, [])


def test_the_container_is_run_as_its_image_is_made():
    lines = blocks("With Docker")[0].splitlines()
    run = shlex.split(next(line for line in lines if line.startswith("docker run")))
    after = {word: run[at + 1] for at, word in enumerate(run[:-1]) if word.startswith("-")}
    port = re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)[1]
    assert f"VAI_HOST=0.0.0.0 VAI_PORT={port}" in DOCKERFILE
    assert after["-p"].endswith(f":{port}")
    assert int(after["--stop-timeout"]) >= ROOM_TO_STOP
    mounted = after["-v"].split(":")[1]
    assert after["-e"].startswith(f"VAI_CONFIG={mounted}/")
    user = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert f"chown -R {user} {mounted}" in lines
    inside = [shlex.split(line)[3:] for line in lines if line.startswith("docker exec vai ")]
    assert [words[1] for words in inside] == ["check", "reload", "limits"]
    assert all(map(is_understood, inside))


def test_it_is_installed_as_the_image_installs_it():
    shown = [
        line for line in blocks("Installing it")[0].splitlines() if "venv" in line or "pip" in line
    ]
    assert [
        line for line in shown if f"RUN {line.replace('python3', 'python')}\n" not in DOCKERFILE
    ] == []
    assert len(shown) == 3

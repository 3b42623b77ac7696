"""A start that cannot succeed ends, and its last words name the setting and not its value.

What is seen here is what a service manager's restart loop would see, again and again.
"""

from __future__ import annotations

import os
import signal
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


def test_a_worker_that_cannot_be_born_again(simulator: Simulated, tmp_path: Path) -> None:
    """The certificates vanish while it runs: the living serve, a reborn worker cannot."""
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(Path(certifi.where()).read_bytes())
    rows = providers(simulator)
    rows["openai"]["ca_file"] = str(trusted)
    said = settings(simulator, providers=rows)
    with serving(said, tmp_path / "group", "--workers=2") as group:
        time.sleep(0.5)  # main learns a moment later than the board that all have come up
        trusted.unlink()
        os.kill(group.workers()[0], signal.SIGKILL)
        began = time.monotonic()
        code = group.process.wait(40)
        text = group.log()
        print(f"gave up after {time.monotonic() - began:.1f} s\n{text[-3000:]}")
        assert code == 3
        assert text.count("gave up") == 1
        assert text.rstrip().splitlines()[-1].startswith("vai: gave up: 5 workers failed"), text
        assert "no such file" in text
        assert "openai.ca_file" in text
        assert not log_defects(text)

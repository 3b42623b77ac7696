"""The simulator as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from vai.simulator.process import SimulatorFailed, start


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone(pid: int, within: float = 2.0) -> bool:
    until = time.monotonic() + within
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


@pytest.mark.timing
def test_it_starts_fast_serves_and_stops():
    began = time.monotonic()
    with start(tps=1000) as handle:
        assert time.monotonic() - began < 2
        assert httpx.get(f"{handle.url}/_sim/health", trust_env=False).json() == {"ok": True}
        assert handle.running
    assert not handle.running
    assert gone(handle.pid)


def test_it_dies_with_a_killed_parent():
    code = "import time; from vai.simulator.process import start; print(start().pid, flush=True); "
    parent = subprocess.Popen(
        [sys.executable, "-c", code + "time.sleep(60)"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_port_that_is_taken_is_told():
    with start() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(SimulatorFailed):
            start(port=port)


def test_the_port_file_is_whole(tmp_path):
    file = tmp_path / "port"
    child = subprocess.Popen(
        [sys.executable, "-m", "vai.simulator", "--port-file", str(file)], start_new_session=True
    )
    try:
        until = time.monotonic() + 5
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{file.read_text()}/_sim/health"
        assert httpx.get(url, trust_env=False).status_code == 200
    finally:
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(5) == 0


def test_little_is_imported():
    """The start stays fast: none of the gateway, no HTTP library."""
    code = "import sys, vai.simulator.__main__; print(*sorted(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"httpx", "sanic", "pydantic", "anthropic", "openai", "ssl_"} & set(found)
    ours = {name for name in found if name.startswith("vai.")}
    assert all(name.startswith("vai.simulator") for name in ours)

"""A start that the machine does not allow is one line and exit code 2, at once."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rig import environment
from tests.gateway.group import ROOT, free_port

pytestmark = pytest.mark.e2e

_SANIC = str(Path(sys.executable).parent / "sanic")
_SERVE = [sys.executable, "-m", "vai.cli", "serve"]
COMMANDS = {
    "vai": _SERVE,
    "vai single": [*_SERVE, "--single-process"],
    "sanic": [_SANIC, "app", "--workers=2"],
    "sanic single": [_SANIC, "app", "--single-process"],
}


def _mounting_works() -> bool:
    words = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /dev/shm"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_mounts = pytest.mark.skipif(not _mounting_works(), reason="mounting is refused here")


def _run(words: list[str], before: str = "", **variables: str) -> tuple[int, list[str]]:
    """Exit code and the lines of standard error, without the request for a shell's job control."""
    if before:
        words = ["unshare", "--mount", "sh", "-c", f"{before} && exec {shlex.join(words)}"]
    ended = subprocess.run(
        words,
        cwd=ROOT,
        env=environment(VAI_AUTH__MODE="none", **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        start_new_session=True,
        check=False,
    )
    return ended.returncode, ended.stderr.splitlines()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_port_in_use_is_one_line(taken: int, command: str) -> None:
    began = time.monotonic()
    code, lines = _run([*COMMANDS[command], f"--port={taken}"])
    print(f"{time.monotonic() - began:.1f} s")
    assert code == 2, lines
    assert lines == [f"vai: cannot listen on 127.0.0.1:{taken}: Address already in use"]


@pytest.mark.parametrize(
    ("host", "why"),
    [("192.0.2.1", "Cannot assign requested address"), ("nowhere.invalid", "")],
)
def test_an_address_of_another_machine_is_one_line(host: str, why: str) -> None:
    code, lines = _run([*COMMANDS["sanic"], f"--host={host}", f"--port={free_port()}"])
    assert code == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"vai: cannot listen on {host}:")
    assert why in lines[0]


@needs_mounts
@pytest.mark.parametrize("command", ["vai", "sanic single"])
@pytest.mark.parametrize("size", ["64k", "3m"])
def test_a_small_shared_memory_is_one_line(command: str, size: str) -> None:
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    code, lines = _run([*COMMANDS[command], f"--port={free_port()}"], before=mount)
    assert code == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("vai: no shared memory: /dev/shm has "), lines
    assert "No space left on device" in lines[0]


@needs_mounts
def test_a_full_shared_memory_is_one_line_and_leaves_no_file() -> None:
    full = "mount -t tmpfs -o size=8m tmpfs /dev/shm && head -c 7m /dev/zero > /dev/shm/full"
    listing = f"{shlex.join([*COMMANDS['vai'], f'--port={free_port()}'])}; c=$?; ls /dev/shm >&2"
    code, lines = _run(["sh", "-c", f"{listing}; exit $c"], before=full)
    assert code == 2, lines
    assert len(lines) == 2, lines
    assert lines[0].startswith("vai: no shared memory: /dev/shm has 10"), lines
    assert lines[1] == "full"


@needs_mounts
@pytest.mark.parametrize("command", ["vai", "sanic single"])
def test_a_read_only_root_without_a_temporary_directory_is_one_line(command: str) -> None:
    # Python takes the working directory for want of a better one, so that is read-only too.
    folders = ["/tmp", "/var/tmp", "/usr/tmp", "/dev/shm", str(ROOT)]
    mounts = [
        f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
        for folder in folders
        if Path(folder).is_dir()
    ]
    code, lines = _run(
        [*COMMANDS[command], f"--port={free_port()}"],
        before=" && ".join(mounts),
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert code == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("vai: no directory for shared memory: "), lines

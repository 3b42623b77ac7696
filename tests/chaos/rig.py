"""Groups that are about to be hurt, and what can be seen of them from outside.

Invariants: a verdict rests on the system's own books (the control block, `/proc`, the
simulator's journal), never on a guess about which process did what.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from tests.canary import KEY, PROVIDER_KEY, register
from vai.io.control_block import ControlBlock, ControlBlockError, State, control_block_directory

__all__ = [
    "FULL",
    "ROOT",
    "Group",
    "Simulated",
    "cpu_seconds",
    "deaf_port",
    "environment",
    "get",
    "log_defects",
    "percentile",
    "providers",
    "serving",
    "settings",
    "until",
]

ROOT = Path(__file__).parents[2]

FULL = os.environ.get("VAI_CHAOS_FULL") == "1"
"""Whether to run at the length of a night and not of a coffee."""


class Simulated:
    """The upstream's own books."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def base_url(self, provider: str) -> str:
        return self.url + {"anthropic": "/anthropic", "openai": "/openai/v1"}[provider]

    def script(self, model: str, pieces: list[str]) -> None:
        """Have `model` answer with these pieces of an event stream."""
        said = {
            "headers": {"content-type": "text/event-stream"},
            "framing": "chunked",
            "chunks": pieces,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("PUT", f"/_sim/scripts/{model}", orjson.dumps(said))
            assert connection.getresponse().status == 200
        finally:
            connection.close()

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        """What has arrived since request number `after`, the oldest first."""
        return list(orjson.loads(get(self.port, f"/_sim/journal?after={after}")[1])["entries"])

    @property
    def last(self) -> int:
        """The number of the newest request that arrived."""
        return int(orjson.loads(get(self.port, "/_sim/journal?after=999999999")[1])["last"])

    def taken(self, after: int) -> list[float]:
        """Bytes of each answer that is under way which the other end has taken, about.

        What waits in the kernel between the two is no merit or fault of the gateway. Which
        of the sockets carries which answer is not known, so it is spread evenly.
        """
        under_way = [e["sent"] for e in self.journal(after) if e["outcome"] == "in_flight"]
        waiting = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == self.port and fields[3] == "01":
                waiting += int(fields[4].partition(":")[0], 16)
        return [sent - waiting / max(1, len(under_way)) for sent in under_way]

    def stats(self) -> dict[str, Any]:
        return dict(orjson.loads(get(self.port, "/_sim/stats")[1]))


def get(port: int, path: str, timeout: float = 5) -> tuple[int, bytes]:
    """Status and body of one GET on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"connection": "close"})
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


def until(probe: Callable[[], Any], seconds: float = 5) -> Any:
    """Repeat until the probe gives something true."""
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def free_port() -> int:
    """A free port outside the range from which outgoing connections get theirs."""
    while True:
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", random.randint(10000, 30000)))
            return int(sock.getsockname()[1])


def providers(simulator: Simulated, **more: dict[str, Any]) -> dict[str, Any]:
    """A verbatim and a translated provider, both the simulator."""
    return {
        "anthropic": {
            "api_key": PROVIDER_KEY,
            "base_url": simulator.base_url("anthropic"),
        },
        "openai": {"api_key": PROVIDER_KEY, "base_url": simulator.base_url("openai")},
        **more,
    }


def settings(simulator: Simulated, **more: Any) -> dict[str, Any]:
    """Settings with canaries for keys; `more` on top."""
    return {
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY, "name": "alice"}}},
        "providers": providers(simulator),
        **more,
    }


class Group:
    """A running `sanic` group of the gateway, and its processes' books."""

    def __init__(
        self, said: dict[str, Any], folder: Path, *flags: str, descriptors: int | None = None
    ) -> None:
        self.port = free_port()
        self.alone = "--single-process" in flags
        self.flags = flags or ("--workers=2",)
        config = folder / "settings.json"
        config.write_text(json.dumps(said))
        self.log_path = register(folder / "output.log")
        with self.log_path.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "sanic"),
                    "tests.chaos.probed:app",
                    "--host=127.0.0.1",
                    f"--port={self.port}",
                    *self.flags,
                ],
                cwd=ROOT,
                env=environment(VAI_CONFIG=str(config)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if descriptors is not None:  # the hard limit too; workers start later and inherit it
            limits = (descriptors, descriptors)
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, limits)
        self.control_block: ControlBlock | None = None

    # -- life --------------------------------------------------------------------------

    def ready(self) -> Group:
        """Wait until every worker serves and the manager watches."""
        until(self._is_whole, 30)
        return self

    def _is_whole(self) -> bool:
        assert self.process.poll() is None, self.log()
        if self.control_block is None:
            pattern = f"vai-{os.getuid()}-{self.process.pid}-*.control-block"
            for path in control_block_directory().glob(pattern):
                with suppress(ControlBlockError):  # being made this very moment
                    self.control_block = ControlBlock.open(path)
        if self.control_block is None or len(self.workers()) != self._wanted:
            return False
        return self.alone or self.control_block.manager.pid != 0

    @property
    def _wanted(self) -> int:
        return next((int(f.removeprefix("--workers=")) for f in self.flags if "workers" in f), 1)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @contextmanager
    def only(self, pid: int) -> Iterator[None]:
        """New connections meanwhile go to the worker `pid`: the others stand still."""
        others = [other for other in self.workers() if other != pid]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            yield
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # its children follow
        self.process.wait(5)

    # -- books -------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """The pids that serve."""
        if self.control_block is None:
            return []
        return [
            row.owner.pid for row in self.control_block.taken_slots() if row.state is State.SERVING
        ]

    def inflight(self) -> dict[int, int]:
        """pid -> exchanges under way."""
        assert self.control_block is not None
        return {row.owner.pid: row.inflight for row in self.control_block.taken_slots()}

    def silence(self, pid: int) -> float:
        """Seconds since the last sign of life of a worker; the manager kills who is too silent."""
        assert self.control_block is not None
        beats = [row.heartbeat for row in self.control_block.taken_slots() if row.owner.pid == pid]
        return (time.monotonic_ns() - max(beats)) / 1e9

    @property
    def running(self) -> int:
        """Exchanges under way in the group."""
        return sum(self.inflight().values())

    def probe(self) -> dict[int, dict[str, Any]]:
        """pid -> what its process holds, for every worker."""
        found = {}
        for pid in self.workers():
            with self.only(pid):
                found[pid] = orjson.loads(get(self.port, "/_probe")[1])
            assert found[pid]["pid"] == pid
        return found

    def memory(self) -> int:
        """Resident bytes of all workers."""
        return sum(_resident(pid) for pid in self.workers())

    def upstream_sockets(self, port: int, pids: list[int] | None = None) -> Counter[str]:
        """State -> the number of the workers' sockets to `port`."""
        rows = _tcp_rows()
        ours = set().union(*(_inodes(pid) for pid in pids or self.workers()))
        return Counter(state for _, there, state, inode in rows if there == port and inode in ours)

    def callers_of(self, pid: int) -> set[int]:
        """The client ports of the connections that `pid` has accepted."""
        rows, own = _tcp_rows(), _inodes(pid)
        return {
            there for here, there, _, inode in rows if here == self.port and there and inode in own
        }

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def request_lines(self) -> dict[str, list[dict[str, Any]]]:
        """Request id -> its lines in the log."""
        lines: dict[str, list[dict[str, Any]]] = {}
        for text in self.log().splitlines():
            if '"request_complete"' in text:
                line = json.loads(text)
                lines.setdefault(line["request_id"], []).append(line)
        return lines


@contextmanager
def serving(
    said: dict[str, Any], folder: Path, *flags: str, descriptors: int | None = None
) -> Iterator[Group]:
    """A group that is ready; it is gone afterwards, whatever happened."""
    folder.mkdir(parents=True, exist_ok=True)
    group = Group(said, folder, *flags, descriptors=descriptors)
    try:
        yield group.ready()
    finally:
        group.end()


def environment(**more: str) -> dict[str, str]:
    """The test's environment without settings and keys, and `more`."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VAI_") and not name.endswith("_API_KEY")
    }
    return mine | more


def log_defects(text: str) -> list[str]:
    """Lines that no misfortune excuses."""
    signs = ("Traceback", "was never retrieved", "was destroyed but", "Unclosed", "not json ser")
    return [line[:600] for line in text.splitlines() if any(sign in line for sign in signs)]


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _inodes(pid: int) -> set[str]:
    """The sockets that a process holds."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return inodes


def _tcp_rows() -> list[tuple[int, int, str, str]]:
    """Own port, other port, state and inode of every IPv4 TCP socket of the system."""
    rows = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        here, there = (int(field.rpartition(":")[2], 16) for field in fields[1:3])
        rows.append((here, there, fields[3], fields[9]))
    return rows


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port on which connecting hangs: its queue is full and nobody accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()

"""Connections are accepted in bursts by a busy worker, and refused in words by a full one."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.gateway.group import Group, group, read_all, until
from vai.gateway.process import workers
from vai.gateway.process.workers import WorkerRegistration
from vai.gateway.sanic_patches.takeover import Acceptor
from vai.io.control_block import ControlBlock, State

pytestmark = pytest.mark.e2e

_GET = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
_TURN = 0.05


def _queued(port: int) -> int:
    """Connections that wait to be accepted at a listening socket."""
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, _, state, queues, *_ = line.split()
        if local.endswith(f":{port:04X}") and state == "0A":
            return int(queues.partition(":")[2], 16)
    return 0


@pytest.mark.timing
@pytest.mark.parametrize("flag", ["--workers=2", "--single-process"])
def test_a_busy_worker_empties_the_queue_within_two_turns(flag: str) -> None:
    workers = 2 if flag == "--workers=2" else 1
    with group(flag) as running, ExitStack() as stack:
        running.ready(workers=workers)
        for _ in range(4 * workers):  # each worker gets some
            busy = stack.enter_context(running.connect())
            busy.sendall(b"GET /turns/40 HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        socks = [stack.enter_context(running.connect()) for _ in range(100)]
        for sock in socks:
            sock.sendall(_GET)
        # Four busy requests make a turn of four times 50 ms.
        time.sleep(2 * 4 * _TURN)
        assert _queued(running.port) == 0, f"{time.monotonic() - began:.2f} s"
        assert all(b" 200 OK" in read_all(sock) for sock in socks)
        took = time.monotonic() - began
        # One connection a turn would be 100 turns, while 40 are busy ones.
        assert took < 3.0, took


_ALIVE = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"


def _workers_of(socks: list[socket.socket]) -> list[int]:
    """The process of the worker that has each connection."""
    for sock in socks:
        sock.sendall(_ALIVE)
    return [int(sock.recv(1 << 16).rpartition(b"\r\n\r\n")[2]) for sock in socks]


@pytest.mark.timing
def test_a_busy_worker_has_its_share_of_each_burst_of_connections() -> None:
    with group("--workers=2") as running, ExitStack() as stack:
        pids = running.ready(workers=2)
        busy = stack.enter_context(running.connect())
        busy.sendall(b"GET /turns/200 HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.2)
        # Without shares one burst in three comes out alike by chance.
        for _ in range(4):
            with ExitStack() as burst:
                socks = [burst.enter_context(running.connect(10)) for _ in range(100)]
                taken_by = _workers_of(socks)
            assert {pid for pid in pids if 36 <= taken_by.count(pid) <= 64} == set(pids), taken_by
            time.sleep(0.2)


def test_new_connections_go_to_the_worker_that_has_fewer() -> None:
    with group("--workers=2") as running, ExitStack() as stack:
        pids = running.ready(workers=2)
        socks = [stack.enter_context(running.connect(10)) for _ in range(60)]
        left, *_ = pids
        taken_by = _workers_of(socks)
        for sock, pid in zip(socks, taken_by, strict=True):
            if pid == left:
                sock.close()
        kept = len(socks) - taken_by.count(left)
        time.sleep(0.2)
        new = [stack.enter_context(running.connect(10)) for _ in range(20)]
        assert _workers_of(new).count(left) >= min(20, (kept + 20) // 2) - 2


@pytest.mark.timing
def test_connections_that_a_stopped_worker_leaves_are_accepted_by_the_other() -> None:
    with group("--workers=2") as running, ExitStack() as stack:
        stopped, other = running.ready(workers=2)
        os.kill(stopped, signal.SIGSTOP)
        try:
            began = time.monotonic()
            socks = [stack.enter_context(running.connect(10)) for _ in range(60)]
            assert set(_workers_of(socks)) == {other}
            # Before the other is without a heartbeat for so long that it no longer counts.
            assert time.monotonic() - began < 1.2
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_workers_share_with_those_that_serve_and_have_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LOOK_AGAIN", 0.0)
    control_block = ControlBlock.create(tmp_path / "test.control-block")
    app: Any = None
    one, other = (
        WorkerRegistration(app, control_block, number, beat=1, hung_after=1) for number in (0, 1)
    )
    assert one.share_connections(3) == []
    other.set_state(State.SERVING)
    other.share_connections(7)
    assert one.share_connections(3) == [7]
    one.set_state(State.SERVING)
    assert other.share_connections(8) == [3]
    other.set_state(State.DRAINING)
    assert one.share_connections(3) == []
    other.set_state(State.SERVING)
    monkeypatch.setattr(workers, "_SILENT_AFTER", 0.05)
    time.sleep(0.1)
    assert one.share_connections(3) == []
    other.row.write_heartbeat()
    assert one.share_connections(3) == [8]
    control_block.close()


def _limit(pid: int) -> tuple[int, int]:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


@pytest.fixture
def low_limits():
    """Children of this test have a low soft limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("flag", ["--workers=2", "--single-process"])
def test_the_soft_limit_of_open_files_is_raised(low_limits: int, flag: str) -> None:
    workers = 2 if flag == "--workers=2" else 1
    with group(flag) as running:
        pids = running.ready(workers=workers)
        assert {_limit(pid) for pid in pids} == {(low_limits, low_limits)}


def _ask(running: Group) -> bytes:
    with running.connect(10) as sock:
        sock.sendall(_GET)
        return read_all(sock)


def test_a_worker_without_descriptors_refuses_and_warns_once() -> None:
    with group("--single-process") as running, ExitStack() as stack:
        (pid,) = running.ready(workers=1)
        used = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        _, hard = _limit(pid)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 20, hard))
        idle = [stack.enter_context(running.connect(10)) for _ in range(60)]
        for _ in range(5):
            refused = _ask(running)
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"worker_full" in refused
        assert running.log().count("connections are refused") == 1
        for sock in idle:
            sock.close()
        until(lambda: _ask(running).startswith(b"HTTP/1.1 200 "), 5)


class _Open(asyncio.Protocol):
    """A connection that stays until the client leaves."""

    def __init__(self, connections: set[asyncio.Protocol]) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)


def test_connections_beyond_the_room_are_answered_when_nobody_else_takes_them() -> None:
    async def main(listener: socket.socket) -> None:
        connections: set[asyncio.Protocol] = set()
        acceptor = Acceptor(
            asyncio.get_running_loop(),
            listener,
            lambda: _Open(connections),
            tls=None,
            handshake=1,
            connections=connections,
            most=3,
        )
        acceptor.start()
        address = listener.getsockname()
        opened = [await asyncio.open_connection(*address) for _ in range(5)]
        answers = [await asyncio.wait_for(reader.read(), 5) for reader, _ in opened[3:]]
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        assert len(connections) == 3
        opened[0][1].close()
        reader, writer = await asyncio.open_connection(*address)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.3)
        assert len(connections) == 3
        acceptor.stop()
        for _, end in [*opened, (reader, writer)]:
            end.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        uvloop.run(main(listener))

"""Streams finish, late work is refused at once, and the end has a time."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress

import pytest

from tests.gateway.group import Group, gone, group, read_all, split


def _streams(running: Group, count: int, events: int) -> list[socket.socket]:
    socks = []
    for _ in range(count):
        sock = running.connect(20)
        running.opened.append(sock)
        sock.sendall(f"GET /stream/{events} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        assert sock.recv(64)
        socks.append(sock)
    return socks


@pytest.mark.e2e
@pytest.mark.parametrize("flag", ["--workers=2", "--single-process"])
def test_forty_streams_finish_and_late_work_is_refused_at_once(flag: str) -> None:
    with group(flag, grace=10) as running:
        running.ready(workers=2 if flag == "--workers=2" else 1)
        socks = _streams(running, 40, events=40)  # two seconds
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        slowest = 0.0
        for _ in range(10):
            asked = time.monotonic()
            status, head, body = running.get("/")
            slowest = max(slowest, time.monotonic() - asked)
            assert status == 503
            assert "connection: close" in head
            assert "retry-after: " in head
            assert b'"draining"' in body
        assert sum(read_all(sock).count(b"data: end") for sock in socks) == 40
        # The group stays up a moment; nobody may hang in a queue that no one reads.
        while running.process.poll() is None:
            asked = time.monotonic()
            with suppress(ConnectionError, IndexError):
                running.get("/", timeout=2)
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.01)
        assert running.wait(5) == 0
        print(f"ended {time.monotonic() - began:.2f} s after SIGTERM; slowest {slowest:.3f} s")
        assert slowest < 0.5  # 0.1 on a quiet machine


@pytest.mark.timing
@pytest.mark.e2e
def test_what_is_left_after_the_grace_is_told() -> None:
    with group("--workers=2", grace=1) as running:
        running.ready()
        socks = _streams(running, 6, events=1000)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        answers = [read_all(sock) for sock in socks]
        assert running.wait(5) == 0
        took = time.monotonic() - began
        assert all(answer.endswith(b"data: expired\n\n\r\n0\r\n\r\n") for answer in answers)
        assert 1 <= took <= 3.5, took


@pytest.mark.e2e
def test_a_second_sigterm_ends_at_once() -> None:
    with group("--workers=2", grace=30) as running:
        pids = running.ready()
        _streams(running, 4, events=1000)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        running.wait(2)
        assert all(gone(pid) for pid in pids)


@pytest.mark.e2e
def test_keep_alive_connections_do_not_hold_up_the_end() -> None:
    with group("--workers=2", grace=10) as running:
        running.ready()
        idle = running.connect()
        running.opened.append(idle)
        idle.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert split(idle.recv(4096))[0] == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(3) == 0


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_drains_like_one_to_main(number: signal.Signals) -> None:
    # A terminal sends SIGINT so, a service manager SIGTERM; main then signals the workers too.
    with group("--workers=2", grace=5) as running:
        running.ready()
        socks = _streams(running, 10, events=20)
        os.killpg(running.process.pid, number)
        time.sleep(0.3)
        assert running.get("/")[0] == 503
        assert sum(read_all(sock).count(b"data: end") for sock in socks) == 10
        assert running.wait(5) == 0

"""Instructions per request and per event: what a change costs, on any machine and under any load.

CPU time on a shared machine moves by a third between runs; the instructions that a single
process executes for the same bytes move by less than a hundredth. They say nothing about the
kernel, caches or waiting, so they compare versions and not ways: use them to see whether a
change helped, and the suite to see what it is worth.

Run as ``python -m bench.instructions [WAY-LOAD ...]``; needs valgrind (``apt install valgrind``).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import ways
from bench.callgrind import HASH_SEED, run_command, set_counting, under_callgrind
from bench.ways import Way
from bench.wire import MARK, http_request, message_request

__all__ = ["LOADS", "WAYS", "count", "read_answer"]

WAYS = ("floor", "verbatim", "translated")
LOADS = ("json", "sse")

_CLIENTS = 8
_ROUNDS = 25
_EVENTS = 60
_TIMEOUT = 120.0
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def count(way: str, load: str, profile: Path) -> float:
    """Instructions per request or event; what callgrind saw is left at `profile`."""
    cores = ways.all_cores()
    with (
        ways.mock(cores) as mock,
        _standing(way, mock.port, under_callgrind(profile)) as standing,
    ):
        body = message_request(
            f"{standing.prefix}mock-{'json' if load == 'json' else 'paced'}",
            stream=load == "sse",
            max_tokens=_EVENTS,
        )
        request = http_request(standing.port, body, standing.headers)
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", standing.port)))
                for _ in range(_CLIENTS)
            ]
            rounds = _ROUNDS if load == "json" else 1
            _play(clients, request, max(1, rounds // 3))
            set_counting(standing.root, "on")
            units = _play(clients, request, rounds)
            set_counting(standing.root, "off")
    found = _TOTALS.search(profile.read_text())
    if found is None:
        raise ways.WayError("callgrind wrote no total")
    return int(found[1]) / units


@contextlib.contextmanager
def _standing(way: str, upstream: int, under: list[str]) -> Iterator[Way]:
    cores = ways.all_cores()
    if way == "floor":
        with ways.floor(upstream, cores, under=under) as floor:
            yield floor
        return
    with ways.gateway(upstream, cores, single_process=True, under=under) as gateway:
        yield gateway if way == "verbatim" else gateway.mode("vai-translated", "openai/")


def _play(clients: list[socket.socket], request: bytes, rounds: int) -> int:
    """All clients ask, then all answers are read, and so on; requests, or events if streamed."""
    answers = events = 0
    for _ in range(rounds):
        for client in clients:
            client.sendall(request)
        for client in clients:
            answers += 1
            events += read_answer(client).count(MARK)
    return events or answers


def read_answer(client: socket.socket) -> bytes:
    """One whole answer with status 200, JSON or a stream."""
    client.settimeout(_TIMEOUT)
    data = b""
    while not _is_whole(data):
        piece = client.recv(1 << 16)
        if not piece:
            raise ways.WayError("the connection ended in the middle of an answer")
        data += piece
    if not data.startswith(b"HTTP/1.1 200"):
        raise ways.WayError(f"answered with {data[:12]!r}")
    return data


def _is_whole(data: bytes) -> bool:
    head, blank, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length is not None:
        return len(body) >= int(length[1])
    return bool(blank) and data.endswith(_LAST_CHUNK)


def main(chosen: list[str]) -> int:
    """Print a line for each way and load, or only for those that are named."""
    return run_command("instructions", partial(_print_counts, chosen))


def _print_counts(chosen: list[str]) -> int:
    os.environ.update(HASH_SEED)
    with tempfile.TemporaryDirectory(prefix="vai-bench-callgrind-") as folder:
        for way in WAYS:
            for load in LOADS:
                name = f"{way}-{load}"
                if not chosen or name in chosen:
                    figure = count(way, load, Path(folder, name))
                    unit = "request" if load == "json" else "event"
                    print(f"{name}: {figure:,.0f} instructions per {unit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

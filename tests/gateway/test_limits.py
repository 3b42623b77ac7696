"""A single process keeps its limits by itself, and a worker gives back what it could not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.e2e.books import Books
from tests.gateway.group import ROOT, until
from tests.gateway.served import OPEN, Served, ask, serve
from vai.io.limits.layout import SESSION
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal
from vai.simulator.process import start_simulator

pytestmark = pytest.mark.e2e

LIMIT = 3
SESSIONS = (Principal(GATEWAY), Principal("user:voice", LimitSet(sessions=2)))
BODY = {
    "model": "anthropic/claude-x;tokens=1",
    "max_tokens": 8,
    "messages": [{"role": "user", "content": "Hello"}],
}


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[Served, Books]]:
    with start_simulator() as upstream:
        variables = {
            "VAI_PROVIDERS__ANTHROPIC__BASE_URL": f"{upstream.url}/anthropic",
            "VAI_PROVIDERS__ANTHROPIC__API_KEY": "k" * 20,
            "VAI_LIMITS__PER_USER__REQUESTS_PER_MINUTE": str(LIMIT),
            "VAI_LIMITS__SESSION_IDLE_TIMEOUT": "500ms",
        }
        with serve(tmp_path, "--single-process", **OPEN, **variables) as running:
            running.healthy()
            yield running, Books(running.process.pid)


def test_a_single_process_lets_in_exactly_so_many_and_tends_itself(
    alone: tuple[Served, Books],
) -> None:
    running, books = alone
    connection = running.connection()
    told = [ask(connection, "POST", "/v1/messages", BODY)[0] for _ in range(LIMIT + 2)]
    connection.close()
    assert told == [200] * LIMIT + [429] * 2

    # A session in the name of the only worker; nobody keeps it alive.
    [row] = books.control_block.taken_slots()
    store = SharedLimits(books.section, row.index, row.generation)
    assert store.take_lease(SESSIONS, 0, time.monotonic(), SESSION).is_admitted
    assert books.use("user:voice").sessions == 1
    until(lambda: books.use("user:voice").sessions == 0, 10)


_HOLDER = """
import os, signal, sys
from pathlib import Path
from vai.io.control_block import ControlBlock
from vai.io.limits import maintenance
section = maintenance.open_section(ControlBlock.open(Path(sys.argv[1])))
section.lock()
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
section.unlock()
"""


def test_a_place_that_could_not_be_given_back_is_given_back_later(
    alone: tuple[Served, Books],
) -> None:
    """Somebody stands still inside of the mutex while an exchange ends; no other follows."""
    running, books = alone
    connection = running.connection()
    held = BODY | {"model": "anthropic/claude-x;tokens=4;tps=2", "stream": True}
    connection.request(
        "POST", "/v1/messages", orjson.dumps(held), {"content-type": "application/json"}
    )
    answer = connection.getresponse()
    assert answer.status == 200
    assert books.running == 1
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(books.control_block.path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert b"message_stop" in answer.read()
        connection.close()
        time.sleep(1)  # longer than anybody has patience with the holder
        assert books.running == 1
    finally:
        os.kill(holder.pid, signal.SIGCONT)
        holder.communicate(timeout=10)
    assert holder.returncode == 0
    until(books.at_rest, 10)

"""One line for each worker that ends without having been told to.

Main is the parent: it alone learns how a process ended. What the process was doing is read off
the board ten times a second, because the manager frees the row of a dead worker at once. A start
that fails is reported by the manager (`vai.gateway.process.manager`) or by the reload
(`vai.gateway.process.reload`), unless a signal ended it; a worker that the manager kills, by the
manager.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from vai.gateway.process.workers import server_number
from vai.gateway.sanic_patches.replacement import current_processes
from vai.io.clock import span_in_words
from vai.io.control_block import ControlBlock, WorkerSlot
from vai.io.group_record import KilledByManager

__all__ = ["WorkerExits", "how_it_ended"]


class _Known:
    """A process, and what it was last seen to do."""

    def __init__(self, name: str, process: BaseProcess) -> None:
        self.name = name
        self.process = process
        self.serving_since = 0
        self.inflight = 0

    def look(self, row: WorkerSlot) -> None:
        self.serving_since, self.inflight = row.serving_since, row.inflight


class WorkerExits:
    """Watches the processes of a group, in main.

    Args:
        board: of the group.
        sanic_manager: Sanic's, with all its processes made.
        say: writes a line for the operator.
    """

    def __init__(self, board: ControlBlock, sanic_manager: Any, say: Callable[[str], None]) -> None:
        self._board = board
        self._manager = sanic_manager
        self._say = say
        self._killed = KilledByManager(board)
        self._known: dict[int, _Known] = {}
        self._ended: set[BaseProcess] = set()

    def turn(self, told: set[int]) -> None:
        """Say which processes have ended since the last turn. Call it before any starts again.

        Args:
            told: the process ids whose end a reload tells.
        """
        places = [
            (name, process)
            for name, process in current_processes(self._manager)
            if process.pid is not None
        ]
        current = {process.pid for _, process in places}
        # A dead process keeps its place until Sanic starts another there.
        self._ended.intersection_update(process for _, process in places)
        for name, process in places:
            if process.pid is not None and process not in self._ended:
                self._known.setdefault(process.pid, _Known(name, process))
        rows = {row.owner.pid: row for row in self._board.taken()}
        for pid, known in list(self._known.items()):
            if known.process.is_alive():
                if (row := rows.get(pid)) is not None:
                    known.look(row)
                continue
            del self._known[pid]
            self._ended.add(known.process)
            if pid in told or self._board.draining:
                continue
            if line := self._line(pid, known, pid in current):
                self._say(line)

    def _line(self, pid: int, known: _Known, is_current: bool) -> str:
        """What to say of a dead process; empty if its end was asked for or another reports it."""
        code = known.process.exitcode or 0
        number = server_number(known.name)
        if number < 0:
            line = f"the manager (pid {pid}) {how_it_ended(code)}; a new one starts"
            return line if is_current else ""
        if pid in self._killed:
            return ""
        if not known.serving_since:
            is_told_of = code >= 0 or not is_current
            while_starting = f"worker {number} (pid {pid}) {how_it_ended(code)} while it started"
            return "" if is_told_of else while_starting
        if not is_current and code >= 0:
            return ""  # replaced by a reload, and told to end
        served = span_in_words((time.monotonic_ns() - known.serving_since) / 1e9)
        held = f", with {_count(known.inflight, 'request')} running" if known.inflight else ""
        then = "a new one starts" if is_current else "a reload had replaced it"
        return (
            f"worker {number} (pid {pid}) {how_it_ended(code)} after {served} of serving{held}; "
            f"{then}"
        )


def how_it_ended(code: int) -> str:
    """An exit code as `multiprocessing` gives it, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""One line for each worker that ends unrequested.

Only main, as the parent, gets the exit code of a process. Main reads the process's activity from
the control block ten times a second, because the manager frees the slot of a dead worker at once.
The manager (`vai.gateway.process.manager`) or the reload (`vai.gateway.process.reload`) reports a
failed start, unless a signal ended it; the manager reports the workers that it kills.
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

__all__ = ["WorkerExits", "describe_exit"]


class _SeenProcess:
    """A process, and its last known activity."""

    def __init__(self, name: str, process: BaseProcess) -> None:
        self.name = name
        self.process = process
        self.serving_since = 0
        self.inflight = 0

    def update_from(self, slot: WorkerSlot) -> None:
        self.serving_since, self.inflight = slot.serving_since, slot.inflight


class WorkerExits:
    """Watches the processes of a group, in main.

    Args:
        control_block: of the group.
        sanic_manager: Sanic's manager, with all its processes made.
        say: writes a line for the operator.
    """

    def __init__(
        self, control_block: ControlBlock, sanic_manager: Any, say: Callable[[str], None]
    ) -> None:
        self._control_block = control_block
        self._manager = sanic_manager
        self._say = say
        self._killed = KilledByManager(control_block)
        self._known: dict[int, _SeenProcess] = {}
        self._ended: set[BaseProcess] = set()

    def report_exits(self, reported: set[int]) -> None:
        """Report the processes that ended since the last turn. Call it before any restarts.

        Args:
            reported: the process ids whose end a reload reports.
        """
        processes = [
            (name, process)
            for name, process in current_processes(self._manager)
            if process.pid is not None
        ]
        current = {process.pid for _, process in processes}
        # A dead process stays in Sanic's list until Sanic starts another in its slot.
        self._ended.intersection_update(process for _, process in processes)
        for name, process in processes:
            if process.pid is not None and process not in self._ended:
                self._known.setdefault(process.pid, _SeenProcess(name, process))
        slots = {slot.owner.pid: slot for slot in self._control_block.taken_slots()}
        for pid, seen in list(self._known.items()):
            if seen.process.is_alive():
                if (slot := slots.get(pid)) is not None:
                    seen.update_from(slot)
                continue
            del self._known[pid]
            self._ended.add(seen.process)
            if pid in reported or self._control_block.draining:
                continue
            if line := self._exit_line(pid, seen, pid in current):
                self._say(line)

    def _exit_line(self, pid: int, seen: _SeenProcess, is_current: bool) -> str:
        """The line about a dead process; empty if its end was requested or another reports it."""
        code = seen.process.exitcode or 0
        number = server_number(seen.name)
        if number < 0:
            line = f"the manager (pid {pid}) {describe_exit(code)}; a new one starts"
            return line if is_current else ""
        if pid in self._killed:
            return ""
        if not seen.serving_since:
            is_reported = code >= 0 or not is_current
            while_starting = f"worker {number} (pid {pid}) {describe_exit(code)} while it started"
            return "" if is_reported else while_starting
        if not is_current and code >= 0:
            return ""  # replaced by a reload, which stopped it
        served = span_in_words((time.monotonic_ns() - seen.serving_since) / 1e9)
        held = f", with {_count_of(seen.inflight, 'request')} running" if seen.inflight else ""
        then = "a new one starts" if is_current else "a reload had replaced it"
        return (
            f"worker {number} (pid {pid}) {describe_exit(code)} after {served} of serving{held}; "
            f"{then}"
        )


def describe_exit(code: int) -> str:
    """An exit code of `multiprocessing` in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _count_of(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

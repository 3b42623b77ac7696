"""The replacement of one worker by another, which main can undo.

Sanic starts the new worker and forgets the old one as soon as it has stopped it. Here main keeps
the old one until the new one serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from sanic.worker.constants import ProcessState, RestartOrder

__all__ = [
    "WorkerReplacement",
    "change_arguments",
    "change_loader",
    "current_processes",
    "terminate_process",
]


class WorkerReplacement:
    """Starts a new process in `process_slot`, Sanic's object for a worker; the old one runs on."""

    def __init__(self, process_slot: Any) -> None:
        self._process_slot = process_slot
        self.old: BaseProcess = process_slot._current_process
        process_slot.restart(restart_order=RestartOrder.STARTUP_FIRST)
        self.new: BaseProcess = process_slot._current_process

    @property
    def name(self) -> str:
        """The worker's name."""
        return str(self._process_slot.name)

    def roll_back(self) -> bool:
        """End the new process and put the old one back, dead or alive.

        False: the process slot holds neither of them any more, and stays as it is.
        """
        terminate_process(self.new)
        process_slot = self._process_slot
        if process_slot._current_process is not self.new:
            return False
        process_slot._current_process = self.old
        process_slot.set_state(ProcessState.STARTED, True)
        process_slot.worker_state[process_slot.name] |= {"pid": self.old.pid}
        return True


def terminate_process(process: BaseProcess) -> None:
    """End a process; does nothing if it has ended."""
    with suppress(ProcessLookupError):
        process.terminate()


def change_loader(process_slot: Any, change: Callable[[Any], Any]) -> None:
    """Have workers that start in `process_slot` from now on make the app with another loader.

    Args:
        process_slot: Sanic's object for a worker.
        change: makes the new loader from the present one.
    """
    process_slot.kwargs["app_loader"] = change(process_slot.kwargs["app_loader"])
    if process_slot.state is ProcessState.IDLE:
        process_slot.spawn()  # made with the previous loader, and not started yet


def current_processes(manager: Any) -> Iterator[tuple[str, BaseProcess]]:
    """Name and process of each process slot of Sanic's `manager`; the new one where replaced."""
    for process_slot in (*manager.transient_processes, *manager.durable_processes):
        yield process_slot.name, process_slot._current_process


def change_arguments(process_slot: Any, arguments: Mapping[str, Any]) -> None:
    """Have processes that start in `process_slot` from now on get these arguments.

    Args:
        process_slot: Sanic's object for a process that is not a worker.
        arguments: the changed ones, by name.
    """
    process_slot.kwargs.update(arguments)

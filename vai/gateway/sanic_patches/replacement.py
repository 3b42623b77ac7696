"""One worker in the place of another, which can be taken back.

Sanic starts the new worker and forgets the old one as soon as it has told it to end. Here the
old one is kept until the new one has proved itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from sanic.worker.constants import ProcessState, RestartOrder

__all__ = ["Replacement", "change_arguments", "change_loader", "current_processes", "end"]


class Replacement:
    """Starts a new process in `place`, Sanic's object for a worker; the old one runs on."""

    def __init__(self, place: Any) -> None:
        self._place = place
        self.old: BaseProcess = place._current_process
        place.restart(restart_order=RestartOrder.STARTUP_FIRST)
        self.new: BaseProcess = place._current_process

    @property
    def name(self) -> str:
        """Of the place."""
        return str(self._place.name)

    def take_back(self) -> bool:
        """End the new process and put the old one back, dead or alive.

        False: the place holds neither of them any more, and stays as it is.
        """
        end(self.new)
        place = self._place
        if place._current_process is not self.new:
            return False
        place._current_process = self.old
        place.set_state(ProcessState.STARTED, True)
        place.worker_state[place.name] |= {"pid": self.old.pid}
        return True


def end(process: BaseProcess) -> None:
    """Tell a process to end; nothing if it has ended."""
    with suppress(ProcessLookupError):
        process.terminate()


def change_loader(place: Any, change: Callable[[Any], Any]) -> None:
    """Have workers that start in `place` from now on make the app with another loader.

    Args:
        place: Sanic's object for a worker.
        change: makes it from the loader of now.
    """
    place.kwargs["app_loader"] = change(place.kwargs["app_loader"])
    if place.state is ProcessState.IDLE:
        place.spawn()  # made with the loader of before, and not started yet


def current_processes(manager: Any) -> Iterator[tuple[str, BaseProcess]]:
    """Name and process of each place of Sanic's `manager`; of a replacement the new one."""
    for place in (*manager.transient_processes, *manager.durable_processes):
        yield place.name, place._current_process


def change_arguments(place: Any, arguments: Mapping[str, Any]) -> None:
    """Have processes that start in `place` from now on called with these arguments.

    Args:
        place: Sanic's object for a process that is not a worker.
        arguments: those that change, by name.
    """
    place.kwargs.update(arguments)

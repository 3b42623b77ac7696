"""A reload: new workers with new settings take the place of all workers, or none does.

Invariants: at most one reload runs and one waits, however many were asked for, so there are
never more than two workers of one number. Main ends the old workers when all new ones serve.
When a new one ends before that, the other new ones are ended, and the old ones and their
settings stay the ones to replace dead workers with.

Runs in main, in the turns of Sanic's monitor loop; only `ask` may run in a signal handler.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from vai.config import ConfigError
from vai.config.snapshot import Snapshot
from vai.gateway.handover import SnapshotLoader
from vai.gateway.repairs.replacement import Replacement, change_loader, end
from vai.gateway.workers import server_number
from vai.io.board import Board, State
from vai.io.process import identify

__all__ = ["Reloads"]


class Reloads:
    """Replaces the workers of a group on demand.

    Args:
        board: of the group.
        sanic_manager: Sanic's, with all its workers made and none started yet.
        snapshot: the settings that the first workers get; None when they need none.
        say: writes a line for the operator.
    """

    def __init__(
        self,
        board: Board,
        sanic_manager: Any,
        snapshot: Snapshot | None,
        say: Callable[[str], None],
    ) -> None:
        self._board = board
        self._manager = sanic_manager
        self._snapshot = snapshot
        self._say = say
        self._asked = False
        self._renewed: Snapshot | None = None
        self._starting: list[Replacement] = []
        self._ending: list[BaseProcess] = []
        self._hand_over(snapshot)

    def ask(self, *_: object) -> None:
        """Have the workers replaced, when those of the reload before have ended."""
        self._asked = True

    def turn(self) -> None:
        """Go on with the reload that runs, or begin the one that was asked for."""
        if self._board.draining:
            return
        self._ending = [process for process in self._ending if process.is_alive()]
        if self._starting:
            self._look_at_replacements()
        elif self._asked and not self._ending and self._is_at_rest():
            self._asked = False
            self._begin()

    def _is_at_rest(self) -> bool:
        """Whether each worker serves or is dead: none starts."""
        serving = self._serving()
        return all(
            process.pid in serving or not process.is_alive()
            for process in self._manager.transient_processes
        )

    def _serving(self) -> set[int]:
        return {row.owner.pid for row in self._board.taken() if row.state is State.SERVING}

    def _begin(self) -> None:
        if self._snapshot is not None:
            self._renewed = Snapshot()
            try:
                self._renewed.settings()
            except ConfigError as error:
                # Said once here: each new worker would find out by itself, and say so.
                self._say(f"not reloaded, the workers go on as they are: {error}")
                return
            finally:
                self._renewed.close()
        self._hand_over(self._renewed)
        self._starting = [Replacement(place) for place in self._manager.transient_processes]

    def _look_at_replacements(self) -> None:
        serving = self._serving()
        if any(not one.new.is_alive() for one in self._starting):
            self._take_back()
        elif all(one.new.pid in serving for one in self._starting):
            self._snapshot = self._renewed
            self._ending = [one.old for one in self._starting]
            self._starting = []
            for old in self._ending:
                end(old)
            self._say(f"reloaded: {len(self._ending)} new workers serve")

    def _take_back(self) -> None:
        """Return to the old workers and their settings."""
        self._hand_over(self._snapshot)
        for one in self._starting:
            if one.take_back() and one.old.pid is not None:
                self._board.show_server(server_number(one.name), identify(one.old.pid))
        self._ending = [one.new for one in self._starting]
        self._starting = []
        self._say(
            "not reloaded, the workers go on as they are: a new worker ended before it served"
        )

    def _hand_over(self, snapshot: Snapshot | None) -> None:
        """Have every worker that starts from now on get `snapshot`."""
        if snapshot is None:
            return

        def carry(loader: Any) -> SnapshotLoader:
            inner = loader.loader if isinstance(loader, SnapshotLoader) else loader
            return SnapshotLoader(inner, snapshot)

        for place in self._manager.transient_processes:
            change_loader(place, carry)

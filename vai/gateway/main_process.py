"""Main: the first process of a group, which makes the board and starts all others.

It serves nothing. It starts what the manager asks for, replaces the workers on SIGHUP, and
tells the children when the group ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vai.config.snapshot import Snapshot
from vai.gateway import manager
from vai.gateway.reload import Reloads
from vai.gateway.repairs.opening import CannotStart, exit_with
from vai.gateway.repairs.startup import watch_with
from vai.gateway.workers import BOARD_VARIABLE, MANAGER_NAME, server_number
from vai.io.board import Board, BoardError, State
from vai.io.process import identify, is_alive

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["attach"]


def attach(
    app: Sanic[Any, Any],
    *,
    hung_after: float = 10.0,
    make_board: Callable[[], Board] = Board.create,
    reclaim: manager.Reclaim | None = None,
    tend: manager.Tend | None = None,
    snapshot: Snapshot | None = None,
) -> None:
    """Have main make the board and start the manager; SIGHUP to main replaces all workers.

    Call it after `repairs.install`.

    Args:
        hung_after: seconds without a heartbeat after which a worker is killed.
        make_board: makes the board with its sections, in main, or in the one process there is.
        reclaim: frees what hung on a dead worker's row; a function of a module.
        tend: done on the board twice a second, by the manager.
        snapshot: what the settings of `app` were made of; workers get it. None: they read
            settings by themselves, or need none.
    """

    def prepare() -> None:
        try:
            app.ctx.board = make_board()
        except BoardError as error:
            raise CannotStart(str(error)) from error

    async def start_manager(app: Sanic[Any, Any]) -> None:
        sanic_manager: Any = app.manager
        board: Board = app.ctx.board
        os.environ[BOARD_VARIABLE] = str(board.path)
        arguments = {
            "path": str(board.path),
            "publisher": sanic_manager.monitor_publisher,
            "hung_after": hung_after,
            "reclaim": reclaim,
            "tend": tend,
            "snapshot": snapshot,
        }
        reloads = Reloads(board, sanic_manager, snapshot, _say)
        signal.signal(signal.SIGHUP, reloads.ask)
        watch_with(_MainWatch(board, reloads))
        sanic_manager.manage(MANAGER_NAME, manager.run, arguments, restartable=True)
        _drain_before_shutdown(sanic_manager, board)

    async def remove_board(app: Sanic[Any, Any]) -> None:
        board: Board = app.ctx.board
        if board.exit_code:
            exit_with(board.exit_code)
        board.close()

    app.ctx.preparations.append(prepare)
    app.main_process_ready(start_manager)
    app.main_process_stop(remove_board)


class _MainWatch:
    """What main reads off the board and writes on it while Sanic's monitor loop turns."""

    def __init__(self, board: Board, reloads: Reloads) -> None:
        self._board = board
        self._reloads = reloads

    def is_serving(self, pid: int) -> bool:
        return self._state(pid) is State.SERVING

    def is_up(self, pid: int) -> bool:
        return self._state(pid) not in (State.FREE, State.STARTING)

    def any_serving(self) -> bool:
        return any(
            row.state is State.SERVING and is_alive(row.owner) for row in self._board.taken()
        )

    def _state(self, pid: int) -> State:
        states = (row.state for row in self._board.taken() if row.owner.pid == pid)
        return next(states, State.FREE)

    def started(self, name: str, pid: int) -> None:
        self._board.show_server(server_number(name), identify(pid))

    def turn(self) -> None:
        self._reloads.turn()


def _drain_before_shutdown(sanic_manager: Any, board: Board) -> None:
    """Have the board say that the group is ending before main signals the first child."""
    tell_children = sanic_manager.shutdown

    def shutdown() -> None:
        board.start_draining()
        tell_children()

    sanic_manager.shutdown = shutdown


def _say(line: str) -> None:
    # Not the log: this must be seen when nothing else works.
    sys.stderr.write(f"vai: {line}\n")
    sys.stderr.flush()

"""The limits of a group of processes: their place on the board, and who does what for them.

Main makes the section before anybody serves, each worker opens it when it starts, and the
manager tends it. A single process is all three: it tends by itself.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vai.config import Settings
from vai.io.board import Board, Row
from vai.io.limits import duty
from vai.io.limits.local import LocalLimits
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import Section
from vai.io.limits.shared import SharedLimits

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["Tending", "catch_up", "make_board", "open_store", "tend_alone"]

_EVERY = 0.5


def make_board() -> Board:
    """The board of a single process, with its limits ready."""
    board = Board.create(sections=duty.SECTIONS)
    duty.prepare(board)
    return board


def open_store(board: Board, row: Row) -> LocalLimits:
    """A worker's way to the limits of its board."""
    return LocalLimits(SharedLimits(duty.open_section(board), row.index, row.claim))


def catch_up(app: Sanic[Any, Any]) -> None:
    """Have each worker give back what it could not when it tried: the next request, which would
    do it too, may never come."""

    async def keep(store: LocalLimits) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            with suppress(LockUnavailable):
                store.catch_up()

    async def begin(app: Sanic[Any, Any]) -> None:
        if isinstance(app.ctx.service.store, LocalLimits):
            app.ctx.catching_up = asyncio.create_task(keep(app.ctx.service.store))

    async def stop(app: Sanic[Any, Any]) -> None:
        task: asyncio.Task[None] | None = getattr(app.ctx, "catching_up", None)
        if task is not None:
            task.cancel()

    app.after_server_start(begin)
    app.after_server_stop(stop)


class Tending:
    """The manager's turn at the limits. Can be pickled until it is first called.

    Args:
        idle: seconds without a sign of life after which a live session is ended.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._section: Section | None = None

    def __call__(self, board: Board) -> None:
        """Free what nobody holds any more, end silent sessions, publish the totals."""
        if self._section is None:
            self._section = duty.open_section(board)
        totals = duty.tick(board, self._section, time.monotonic() - self._idle)
        board.publish(totals.running, totals.sessions)


def tend_alone(app: Sanic[Any, Any], settings: Settings) -> None:
    """Have a process without a manager tend its own limits."""

    async def tend(app: Sanic[Any, Any]) -> None:
        board: Board = app.ctx.membership.board
        tending = Tending(settings.limits.session_idle_timeout)
        while True:
            tending(board)
            await asyncio.sleep(_EVERY)

    async def begin(app: Sanic[Any, Any]) -> None:
        if app.ctx.membership.row.number < 0:
            app.ctx.tending = asyncio.create_task(tend(app))

    async def stop(app: Sanic[Any, Any]) -> None:
        task: asyncio.Task[None] | None = getattr(app.ctx, "tending", None)
        if task is not None:
            task.cancel()

    app.before_server_start(begin)
    app.after_server_stop(stop)

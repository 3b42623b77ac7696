"""The manager: the one process that looks after the others, and that nobody waits for.

The law: a worker that ends without having been told to comes back, what it held is freed
first, and a group in which none can start ends with one line and exit code 3. Everything
the manager knows is on the board, so one that was killed is replaced without loss.

Sanic itself never restarts a worker that was killed; it does so when asked through its
monitor pipe, by name.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vai.gateway.workers import BOARD_VARIABLE, MANAGER_NAME
from vai.io.board import Board, Row, State
from vai.io.process import Identity, die_with_parent, is_alive, myself

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["GIVE_UP_AFTER", "GIVE_UP_WITHIN", "Reclaim", "Supervisor", "attach", "run"]

GIVE_UP_AFTER, GIVE_UP_WITHIN = 5, 30.0
"""So many failed starts within so many seconds end the group."""

Reclaim = Callable[[Board, Row], None]
"""Frees what hung on the row of a dead worker; runs before the row is free. Importable."""

Tend = Callable[[Board], None]
"""What is to be done on the board twice a second. Can be pickled."""

_EXIT_GAVE_UP = 3
_TICK = 0.1
"""Seconds between two looks at the board for new workers. The death of a known one does not
wait for it: its pidfd wakes. At 50 ms the looking alone took 0.8 % of a core."""
_ROUND = 0.5
_FIRST_DELAY, _LAST_DELAY = 0.1, 10.0
_SETTLED_NS = 200_000_000  # one that served so long had started
_START_PATIENCE = 30.0  # seconds a worker may be deaf while it starts
_SUPERSEDED_NS = 2_000_000_000
_RELOAD = "__ALL_PROCESSES__::STARTUP_FIRST"


@dataclass(slots=True)
class _Watched:
    row: Row
    owner: Identity
    pidfd: int


class Supervisor:
    """Watches the workers of one board. `step` is one turn; `run` turns until told to stop."""

    def __init__(
        self,
        board: Board,
        workers: Mapping[str, Any],
        publisher: Connection,
        *,
        hung_after: float,
        reclaim: Reclaim | None = None,
        tend: Tend | None = None,
    ) -> None:
        self.board = board
        self._workers = workers
        self._publisher = publisher
        self._hung_after = hung_after
        self._reclaim = reclaim
        self._tend = tend
        self._watched: dict[int, _Watched] = {}  # by claim
        self._due: dict[str, float] = {}
        self._suspects: dict[str, int] = {}
        self._asked: dict[str, tuple[int, float]] = {}
        self._buried: deque[int] = deque(maxlen=256)
        self._told: deque[int] = deque(maxlen=256)
        self._poll = select.poll()
        self._last_turn = self._awake_since = time.monotonic()
        self._next_round = 0.0
        self.stopping = False

    def run(self) -> None:
        """Turn until `stopping` is set or main is gone."""
        while not self.stopping:
            self.step()

    def step(self) -> None:
        """One turn: notice deaths within milliseconds, do the slow rounds twice a second."""
        self.board.manager_beat()
        self._adopt()
        self._poll.poll(self._patience() * 1000)
        for watched in list(self._watched.values()):
            if not is_alive(watched.owner):
                self._bury(watched)
        now = time.monotonic()
        if now - self._last_turn > 1.0:
            # This process was stopped itself, perhaps with all others: nobody is to blame.
            self._awake_since = now
        self._last_turn = now
        is_round = now >= self._next_round
        if is_round:
            self._next_round = now + _ROUND
            if self._tend is not None:  # until the end: what drains is limited too
                self._tend(self.board)
        if self.board.draining:
            return
        self._bring_back(now)
        if is_round:
            self._kill_hung(now)
            self._end_superseded()
            self._find_missing(now)

    def _patience(self) -> float:
        """Seconds until there is something to do, if nobody dies."""
        if self.board.draining or not self._due:
            return _TICK
        return min(_TICK, max(0.0, min(self._due.values()) - time.monotonic()))

    # -- noticing ----------------------------------------------------------------------

    def _adopt(self) -> None:
        for row in self.board.taken():
            if row.claim in self._watched:
                continue
            owner = row.owner
            try:
                pidfd = os.pidfd_open(owner.pid)
            except ProcessLookupError:
                pidfd = -1
            else:
                self._poll.register(pidfd, select.POLLIN)
            self._watched[row.claim] = _Watched(row, owner, pidfd)

    def _forget(self, watched: _Watched) -> None:
        if watched.pidfd >= 0:
            self._poll.unregister(watched.pidfd)
            os.close(watched.pidfd)
        self._watched = {c: w for c, w in self._watched.items() if w is not watched}

    def _bury(self, watched: _Watched) -> None:
        """Free what a dead worker left, then have it back unless it was told to go."""
        self._forget(watched)
        row, owner = watched.row, watched.owner
        if row.owner != owner:
            return  # it signed off itself
        state, number, since = row.state, row.number, row.serving_since
        if self._reclaim is not None:
            self._reclaim(self.board, row)
        self.board.release(row, owner)
        self._buried.append(owner.pid)
        if self.board.draining or state not in (State.STARTING, State.SERVING):
            return
        settled = since and time.monotonic_ns() - since > _SETTLED_NS
        self._lost(number, started=bool(settled))

    def _lost(self, number: int, *, started: bool) -> None:
        if self._serving(number):
            _say(f"the replacement of worker {number} failed to start; the old one goes on")
            return
        delay = 0.0
        if not started:
            self.board.record_failed_start()
            window = time.monotonic_ns() - int(GIVE_UP_WITHIN * 1e9)
            failed = self.board.failed_starts(window)
            if failed >= GIVE_UP_AFTER:
                self._give_up(failed)
                return
            delay = min(_LAST_DELAY, _FIRST_DELAY * 2 ** (failed - 1))
        self._due[f"Sanic-Server-{number}-0"] = time.monotonic() + delay

    def _serving(self, number: int) -> list[Row]:
        return [
            row
            for row in self.board.taken()
            if row.number == number and row.state is State.SERVING and is_alive(row.owner)
        ]

    # -- acting ------------------------------------------------------------------------

    def _bring_back(self, now: float) -> None:
        for name, when in list(self._due.items()):
            if when > now:
                continue
            del self._due[name]
            pid = self._workers.get(name, {}).get("pid", 0)
            if pid and is_alive(Identity(pid, 0)):
                continue  # Sanic has replaced it already
            self._asked[name] = (pid, now)
            self._publisher.send(f"{name}:")

    def _find_missing(self, now: float) -> None:
        """Workers that died before they were on the board, or left it on their own."""
        for name, entry in dict(self._workers).items():
            pid = entry.get("pid", 0)
            number = _number(name)
            if not entry.get("server") or not pid or is_alive(Identity(pid, 0)):
                self._suspects.pop(name, None)
                continue
            asked_pid, asked_at = self._asked.get(name, (0, 0.0))
            if name in self._due or (asked_pid == pid and now - asked_at < 5.0):
                continue
            if self._suspects.get(name) != pid:
                self._suspects[name] = pid  # Sanic may be replacing it this very moment
            elif not self._serving(number):
                del self._suspects[name]
                self._lost(number, started=pid in self._buried or asked_pid == pid)
            elif pid not in self._buried:
                self._buried.append(pid)
                self._lost(number, started=False)

    def _kill_hung(self, now: float) -> None:
        for watched in self._watched.values():
            row = watched.row
            patience = _START_PATIENCE if row.state is State.STARTING else self._hung_after
            silent = (time.monotonic_ns() - row.heartbeat) / 1e9
            if min(silent, now - self._awake_since) > patience and watched.pidfd >= 0:
                _say(f"worker {row.number} showed no life for {silent:.1f} s and is killed")
                _signal(watched.pidfd, signal.SIGKILL)

    def _end_superseded(self) -> None:
        """Of two workers that serve under one name, the older was to have gone."""
        # Sanic forgets it when the first try at a replacement failed.
        for watched in self._watched.values():
            newer = [r for r in self._serving(watched.row.number) if r.claim > watched.row.claim]
            if (
                newer
                and watched.row.state is State.SERVING
                and watched.owner.pid not in self._told
                and time.monotonic_ns() - newer[0].serving_since > _SUPERSEDED_NS
            ):
                self._told.append(watched.owner.pid)
                _signal(watched.pidfd, signal.SIGTERM)

    def _give_up(self, failed: int) -> None:
        _say(f"gave up: {failed} workers failed to start within {GIVE_UP_WITHIN:.0f} s")
        self.board.exit_code = _EXIT_GAVE_UP
        self.board.start_draining()
        self._publisher.send("__TERMINATE__")


def run(
    path: str,
    workers: Mapping[str, Any],
    publisher: Connection,
    hung_after: float,
    reclaim: Reclaim | None,
    tend: Tend | None,
) -> None:
    """The manager process."""
    board = Board.open(Path(path))
    die_with_parent(board.owner.pid)
    board.manager = myself()
    supervisor = Supervisor(
        board, workers, publisher, hung_after=hung_after, reclaim=reclaim, tend=tend
    )

    def stop(*_: object) -> None:
        supervisor.stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    supervisor.run()


def _no_objection() -> str:
    return ""


def _nothing_more(board: Board) -> None:
    """A board without sections is ready as it is made."""


def attach(
    app: Sanic[Any, Any],
    *,
    hung_after: float = 10.0,
    sections: Mapping[int, int] | None = None,
    prepare: Callable[[Board], object] = _nothing_more,
    reclaim: Reclaim | None = None,
    tend: Tend | None = None,
    objection: Callable[[], str] = _no_objection,
) -> None:
    """Have main make the board and start the manager; SIGHUP to main replaces all workers.

    Args:
        hung_after: seconds without a heartbeat after which a worker is killed.
        sections: further sections of the board, id to length in bytes.
        prepare: makes them ready for use, in main.
        reclaim: frees what hung on a dead worker's row; a function of a module.
        tend: done on the board twice a second, by the manager.
        objection: asked before the workers are replaced; a text says why they are not.
    """
    boards: list[Board] = []

    async def make_board(_: Sanic[Any, Any]) -> None:
        board = Board.create(sections=sections)
        boards.append(board)
        prepare(board)
        os.environ[BOARD_VARIABLE] = str(board.path)

    async def start_manager(app: Sanic[Any, Any]) -> None:
        sanic_manager: Any = app.manager
        board = boards[0]
        arguments = {
            "path": str(board.path),
            "workers": sanic_manager.worker_state,
            "publisher": sanic_manager.monitor_publisher,
            "hung_after": hung_after,
            "reclaim": reclaim,
            "tend": tend,
        }
        sanic_manager.manage(MANAGER_NAME, run, arguments, restartable=True)
        _drain_before_shutdown(sanic_manager, board)
        _reload_on_hangup(sanic_manager, objection)

    async def remove_board(_: Sanic[Any, Any]) -> None:
        # Here, because the rest of the module must not load Sanic's repairs in the manager.
        from vai.gateway.repairs.startup import exit_with  # noqa: PLC0415

        for board in boards:
            if board.exit_code:
                exit_with(board.exit_code)
            board.close()

    app.main_process_start(make_board)
    app.main_process_ready(start_manager)
    app.main_process_stop(remove_board)


def _drain_before_shutdown(sanic_manager: Any, board: Board) -> None:
    """Have the board say that the group is ending before the first child is told."""
    tell_children = sanic_manager.shutdown

    def shutdown() -> None:
        board.start_draining()
        tell_children()

    sanic_manager.shutdown = shutdown


def _reload_on_hangup(sanic_manager: Any, objection: Callable[[], str]) -> None:
    """Replace all workers on SIGHUP, unless there is an objection."""

    def reload(*_: object) -> None:
        # Asked once here: each new worker would find out by itself, and say so.
        if text := objection():
            _say(f"not reloaded, the workers go on as they are: {text}")
        else:
            sanic_manager.monitor_publisher.send(_RELOAD)

    signal.signal(signal.SIGHUP, reload)


def _say(line: str) -> None:
    # Not the log: this must be seen when nothing else works.
    sys.stderr.write(f"vai: {line}\n")
    sys.stderr.flush()


def _signal(pidfd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it went by itself; the next turn buries it
        signal.pidfd_send_signal(pidfd, number)


def _number(name: str) -> int:
    middle = name.removeprefix("Sanic-Server-").removesuffix("-0")
    return int(middle) if middle.isdigit() else -1

"""The manager: the process that watches the workers. No other process waits for it.

Invariants: the manager frees what an unexpectedly ended worker held, then has it restarted. A
group in which no worker serves and none can start ends with one line and exit code 3; as long as
one serves, the manager goes on restarting the others. All that a new manager needs is in the
control block, so it replaces a killed one without loss.

Sanic, in main, never restarts a killed worker by itself; it does so on a request through its
monitor pipe, by name.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from vai.config.snapshot import SettingsSnapshot
from vai.gateway.process import handover
from vai.gateway.process.operator_line import write_line
from vai.gateway.process.workers import server_name
from vai.io.control_block import ControlBlock, State, WorkerSlot
from vai.io.group_record import KilledByManager
from vai.io.process import (
    NO_PROCESS,
    ProcessIdentity,
    StartWatch,
    current_process,
    die_with_parent,
    is_alive,
)

__all__ = ["GIVE_UP_AFTER", "Reclaim", "Supervisor", "Tend", "run_manager"]

GIVE_UP_AFTER = 5
"""Failed starts since a worker last served that end the group, if none serves now."""

Reclaim = Callable[[ControlBlock, WorkerSlot], None]
"""Frees what a dead worker's slot held; runs before the slot is free. Importable."""

Tend = Callable[[ControlBlock], None]
"""Maintains the control block twice a second. Can be pickled."""

_EXIT_GAVE_UP = 3
_TICK = 0.1
"""Seconds between two checks of the control block for new workers. The death of a known worker
wakes the manager at once, by its pidfd. At 50 ms the checks alone took 0.8 % of a core."""
_ROUND = 0.5
_FIRST_DELAY, _LAST_DELAY = 0.1, 30.0
_SETTLED_NS = 200_000_000  # a worker that served so long had started
_START_PATIENCE = 30.0
"""Seconds of processor time that a start may use; see `StartWatch`."""
_REPEAT = 5.0
"""Seconds that main has to do what the manager requested."""


@dataclass(slots=True)
class _WatchedWorker:
    slot: WorkerSlot
    owner: ProcessIdentity
    pidfd: int


class Supervisor:
    """Watches the workers of one control block. `run` calls `run_step` until `stopping` is set."""

    def __init__(
        self,
        control_block: ControlBlock,
        publisher: Connection,
        *,
        hung_after: float,
        reclaim: Reclaim | None = None,
        tend: Tend | None = None,
    ) -> None:
        self.control_block = control_block
        self._publisher = publisher
        self._hung_after = hung_after
        self._reclaim = reclaim
        self._tend = tend
        self._watched: dict[int, _WatchedWorker] = {}  # by claim
        # By the number of the server.
        self._due: dict[int, float] = {}
        self._killed = KilledByManager(control_block)
        self._suspects: dict[int, ProcessIdentity] = {}
        self._restarts_requested: dict[int, tuple[ProcessIdentity, float]] = {}
        self._failed: Counter[int] = Counter()
        self._starting: dict[int, tuple[ProcessIdentity, StartWatch]] = {}
        self._reaped: deque[ProcessIdentity] = deque(maxlen=256)
        self._poll = select.poll()
        self._last_turn = self._awake_since = time.monotonic()
        self._next_round = 0.0
        self.stopping = False

    def run(self) -> None:
        """Run steps until `stopping` is set."""
        while not self.stopping:
            self.run_step()

    def run_step(self) -> None:
        """One step: detect deaths within milliseconds, do the slow checks twice a second."""
        self.control_block.write_manager_heartbeat()
        self._watch_new_workers()
        self._poll.poll(self._seconds_until_due() * 1000)
        for watched in list(self._watched.values()):
            if not is_alive(watched.owner):
                self._reap(watched)
        now = time.monotonic()
        if now - self._last_turn > 1.0:
            # This process was stopped itself, perhaps with all workers: their silence is no sign.
            self._awake_since = now
        self._last_turn = now
        is_round = now >= self._next_round
        if is_round:
            self._next_round = now + _ROUND
            if self._tend is not None:  # also during the drain, which the limits apply to
                self._tend(self.control_block)
        if self.control_block.draining:
            return
        self._restart_workers(now)
        if is_round:
            self._note_serving()
            self._kill_hung(now)
            self._kill_stuck_starts()
            self._find_missing(now)

    def _seconds_until_due(self) -> float:
        """Seconds until there is something to do, if no worker dies."""
        if self.control_block.draining or not self._due:
            return _TICK
        return min(_TICK, max(0.0, min(self._due.values()) - time.monotonic()))

    # -- noticing ----------------------------------------------------------------------

    def _watch_new_workers(self) -> None:
        for slot in self.control_block.taken_slots():
            if slot.generation in self._watched:
                continue
            owner = slot.owner
            try:
                pidfd = os.pidfd_open(owner.pid)
            except ProcessLookupError:
                pidfd = -1
            else:
                self._poll.register(pidfd, select.POLLIN)
            self._watched[slot.generation] = _WatchedWorker(slot, owner, pidfd)

    def _stop_watching(self, watched: _WatchedWorker) -> None:
        if watched.pidfd >= 0:
            self._poll.unregister(watched.pidfd)
            os.close(watched.pidfd)
        self._watched = {c: w for c, w in self._watched.items() if w is not watched}

    def _reap(self, watched: _WatchedWorker) -> None:
        """Free what a dead worker held, then have main restart it unless its end was requested."""
        self._stop_watching(watched)
        slot, owner = watched.slot, watched.owner
        if slot.owner != owner:
            return  # the worker freed its slot itself
        state, number, since = slot.state, slot.number, slot.serving_since
        if self._reclaim is not None:
            self._reclaim(self.control_block, slot)
        self.control_block.release_slot(slot, owner)
        self._reaped.append(owner)
        if self.control_block.draining or state not in (State.STARTING, State.SERVING):
            return
        settled = since and time.monotonic_ns() - since > _SETTLED_NS
        self._record_lost_start(number, started=bool(settled))

    def _record_lost_start(self, number: int, *, started: bool) -> None:
        if self._serving_slots(number):
            return  # a failed replacement; main detects it too, and keeps the old worker
        delay = 0.0
        if not started:
            self._failed[number] += 1
            delay = min(_LAST_DELAY, _FIRST_DELAY * 2 ** (self._failed[number] - 1))
            if not self._survives_failed_start(number, delay):
                return
        self._due[number] = time.monotonic() + delay

    def _survives_failed_start(self, number: int, delay: float) -> bool:
        """Record the failed start; give up when there were too many and no worker serves."""
        self.control_block.record_failed_start()
        if serving := len(self._all_serving()):
            write_line(
                f"worker {number} failed to start ({self._failed[number]} in a row), the lines "
                f"above say why; {serving} serve, the next try is in {delay:.1f} s"
            )
        elif (failed := self.control_block.failed_starts()) >= GIVE_UP_AFTER:
            self._give_up(failed)
            return False
        return True

    def _all_serving(self) -> list[WorkerSlot]:
        return [
            slot
            for slot in self.control_block.taken_slots()
            if slot.state is State.SERVING and is_alive(slot.owner)
        ]

    def _serving_slots(self, number: int) -> list[WorkerSlot]:
        return [slot for slot in self._all_serving() if slot.number == number]

    def _note_serving(self) -> None:
        """Clear the failed starts of workers that serve."""
        settled = time.monotonic_ns() - _SETTLED_NS
        for slot in self._all_serving():
            if slot.serving_since < settled:
                self.control_block.record_served()
                del self._failed[slot.number]

    # -- acting ------------------------------------------------------------------------

    def _restart_workers(self, now: float) -> None:
        servers = self.control_block.started_servers()
        for number, when in list(self._due.items()):
            if when > now:
                continue
            del self._due[number]
            started = servers.get(number, NO_PROCESS)
            if is_alive(started):
                continue  # main has replaced it already
            self._restarts_requested[number] = (started, now)
            self._publisher.send(f"{server_name(number)}:")

    def _find_missing(self, now: float) -> None:
        """Find workers that died before they were in the control block, or left it on their own."""
        for number, started in self.control_block.started_servers().items():
            if is_alive(started):
                self._suspects.pop(number, None)
                continue
            requested, asked_at = self._restarts_requested.get(number, (NO_PROCESS, 0.0))
            if number in self._due or (requested == started and now - asked_at < _REPEAT):
                continue
            if self._suspects.get(number) != started:
                self._suspects[number] = started  # main may be replacing it at this moment
            elif not self._serving_slots(number):
                del self._suspects[number]
                self._record_lost_start(
                    number, started=started in self._reaped or requested == started
                )

    def _kill_hung(self, now: float) -> None:
        for watched in self._watched.values():
            slot = watched.slot
            if slot.state is State.STARTING or watched.pidfd < 0:
                continue
            silent = (time.monotonic_ns() - slot.heartbeat) / 1e9
            if min(silent, now - self._awake_since) > self._hung_after:
                held = f", with {slot.inflight} requests running" if slot.inflight else ""
                write_line(
                    f"worker {slot.number} (pid {watched.owner.pid}) showed no life for "
                    f"{silent:.1f} s and is killed{held}; a new one starts"
                )
                self._killed.record_kill(watched.owner)
                _send_signal(watched.pidfd, signal.SIGKILL)

    def _kill_stuck_starts(self) -> None:
        """Kill workers whose start does not progress, in the control block or not yet."""
        up = {
            slot.owner
            for slot in self.control_block.taken_slots()
            if slot.state is not State.STARTING
        }
        servers = self.control_block.started_servers()
        starting = {n: who for n, who in servers.items() if who not in up and is_alive(who)}
        self._starting = {n: w for n, w in self._starting.items() if starting.get(n) == w[0]}
        for number, who in starting.items():
            if number not in self._starting:
                self._starting[number] = (who, StartWatch(who.pid, _START_PATIENCE))
            if why := self._starting[number][1].give_up_reason(self._awake_since):
                del self._starting[number]
                write_line(f"worker {number} (pid {who.pid}) {why} and is killed")
                self._killed.record_kill(who)
                with suppress(ProcessLookupError):
                    os.kill(who.pid, signal.SIGKILL)

    def _give_up(self, failed: int) -> None:
        write_line(f"gave up: {failed} workers failed to start in a row, and none serves")
        self.control_block.exit_code = _EXIT_GAVE_UP
        self.control_block.start_draining()
        self._publisher.send("__TERMINATE__")


def run_manager(
    path: str,
    publisher: Connection,
    hung_after: float,
    reclaim: Reclaim | None,
    tend: Tend | None,
    snapshot: SettingsSnapshot | None,
) -> None:
    """Run the manager process."""
    if snapshot is not None:
        handover.receive_snapshot(snapshot)
    control_block = ControlBlock.open(Path(path))
    die_with_parent(control_block.owner.pid)
    control_block.manager = current_process()
    supervisor = Supervisor(
        control_block, publisher, hung_after=hung_after, reclaim=reclaim, tend=tend
    )

    def stop(*_: object) -> None:
        supervisor.stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    # A SIGHUP to all processes of a terminal or of a service is meant for main.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.run()


def _send_signal(pidfd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended by itself; the next step reaps it
        signal.pidfd_send_signal(pidfd, number)

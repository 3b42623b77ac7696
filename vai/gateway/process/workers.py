"""A worker's duties besides serving: its slot, its heartbeat, and the watch on the manager.

Invariants: a worker has a slot in the control block from before it serves until it has stopped,
and it never outlives main. None of this delays a request: the heartbeat is a timer of the loop,
which also proves that the loop turns.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vai.gateway.admission.inflight import InFlightExchanges
from vai.io.control_block import ControlBlock, State, WorkerSlot
from vai.io.memory import give_back_large_buffers
from vai.io.process import NO_PROCESS, current_process, die_with_parent, is_alive

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = [
    "CONTROL_BLOCK_VARIABLE",
    "MANAGER_NAME",
    "WorkerRegistration",
    "attach_worker",
    "server_name",
    "server_number",
]

CONTROL_BLOCK_VARIABLE = "VAI_CONTROL_BLOCK"
"""Environment variable in which main passes its children the path of the control block."""

MANAGER_NAME = "Manager"

_MANAGER_FIRST_START = 10.0
_ASK_AGAIN = 3.0
_LOOK_AGAIN = 0.5
"""Seconds for which a worker remembers which others serve: there are 128 slots to look at."""
_SILENT_AFTER = 2.0
"""Seconds without a heartbeat after which a worker takes no part in sharing connections."""
_WORKER_PREFIX, _WORKER_SUFFIX = "Sanic-Server-", "-0"


class WorkerRegistration:
    """This worker's slot in the control block. It is at `app.ctx.membership` while it serves."""

    def __init__(
        self,
        app: Sanic[Any, Any],
        control_block: ControlBlock,
        number: int,
        *,
        beat: float,
        hung_after: float,
    ) -> None:
        self.control_block = control_block
        self.row: WorkerSlot = control_block.claim_slot(number)
        self._me = current_process()
        self._app = app
        self._beat_every = beat
        self._hung_after = hung_after
        self._born = time.monotonic()
        self._restart_requested = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._others: list[WorkerSlot] = []
        self._look_at = float("-inf")

    def set_state(self, state: State) -> None:
        """Write the state of this worker to the control block."""
        self.row.state = state

    def start_heartbeat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write the heartbeat now, and again every `beat` seconds."""
        # The next timer first: a living worker goes on writing, also after an error below.
        self._timer = loop.call_later(self._beat_every, self.start_heartbeat, loop)
        self.row.write_heartbeat()
        if self.row.number >= 0:
            self._watch_manager()

    def share_connections(self, count: int) -> list[int]:
        """Show how many client connections this worker has; those of the others that serve."""
        self.row.show_connections(count)
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN
            self._others = self._find_others(now)
        return [slot.connections for slot in self._others if slot.state is State.SERVING]

    def _find_others(self, now: float) -> list[WorkerSlot]:
        return [
            slot
            for slot in self.control_block.taken_slots()
            if slot.index != self.row.index and slot.heartbeat > (now - _SILENT_AFTER) * 1e9
        ]

    def unregister(self) -> None:
        """Stop the heartbeat and free the slot."""
        if self._timer is not None:
            self._timer.cancel()
        self.control_block.release_slot(self.row, self._me)

    def _watch_manager(self) -> None:
        """Kill a hung manager; have Sanic restart an ended one, in the first living worker only."""
        if self.control_block.draining or self.row.state is not State.SERVING:
            return
        now = time.monotonic()
        manager = self.control_block.manager
        if manager == NO_PROCESS and now - self._born < _MANAGER_FIRST_START:
            return
        if is_alive(manager):
            if time.monotonic_ns() - self.control_block.manager_heartbeat > self._hung_after * 1e9:
                os.kill(manager.pid, signal.SIGKILL)
            return
        if now - self._restart_requested > _ASK_AGAIN and self._is_first():
            self._restart_requested = now
            self._app.m.restart(f"Sanic-{MANAGER_NAME}-0")

    def _is_first(self) -> bool:
        for slot in self.control_block.taken_slots():
            if slot.state is State.SERVING and is_alive(slot.owner):
                return slot.index == self.row.index
        return False


def attach_worker(
    app: Sanic[Any, Any],
    inflight: InFlightExchanges,
    *,
    beat: float = 0.5,
    hung_after: float = 10.0,
    make_control_block: Callable[[], ControlBlock] = ControlBlock.create,
) -> None:
    """Have every worker claim a slot before it starts and free it when it has stopped.

    Call it before other start listeners are registered, so that the control block shows a
    failure in one of them.

    Args:
        beat: seconds between two heartbeats.
        hung_after: seconds without a heartbeat after which the worker kills the manager.
        make_control_block: for a program that runs Sanic in a loop of its own.
    """

    async def sign_on(app: Sanic[Any, Any]) -> None:
        name = os.environ.get("SANIC_WORKER_NAME", "")
        if name:
            control_block = ControlBlock.open(Path(os.environ[CONTROL_BLOCK_VARIABLE]))
            die_with_parent(control_block.owner.pid)
            # A SIGHUP to all processes of a terminal or of a service is meant for main.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        else:
            # A single process is main too, and has made it; a program that runs Sanic in
            # a loop of its own has no main.
            control_block = getattr(app.ctx, "control_block", None) or make_control_block()
        member = WorkerRegistration(
            app, control_block, server_number(name), beat=beat, hung_after=hung_after
        )
        app.ctx.membership = member
        inflight.publish_count_to(member.row.show_inflight)
        member.start_heartbeat(asyncio.get_running_loop())

    async def serve(app: Sanic[Any, Any]) -> None:
        _freeze_heap()
        app.ctx.membership.set_state(State.SERVING)

    async def sign_off(app: Sanic[Any, Any]) -> None:
        app.ctx.membership.unregister()
        app.ctx.membership.control_block.close()

    app.before_server_start(sign_on)
    app.after_server_start(serve)
    app.after_server_stop(sign_off)


def _freeze_heap() -> None:
    """Exclude the objects of the start from garbage collection, and have it run less often.

    Modules and routes live as long as the process, and a full collection that walks them all
    stops every stream for tens of milliseconds. Requests make few cycles, which can wait.
    """
    gc.collect()
    gc.freeze()
    give_back_large_buffers()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()  # see `handover`


def server_number(name: str) -> int:
    """The number of Sanic's server `name`; -1 for a single process, and for other processes."""
    middle = name.removeprefix(_WORKER_PREFIX).removesuffix(_WORKER_SUFFIX)
    return int(middle) if middle.isdigit() else -1


def server_name(number: int) -> str:
    """Sanic's name for that server's process."""
    return f"{_WORKER_PREFIX}{number}{_WORKER_SUFFIX}"

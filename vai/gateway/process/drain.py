"""The drain of a worker.

Invariants: a worker finishes the exchanges it began, or ends them with an error; it begins no new
one. When the whole group ends, the worker keeps accepting connections and answers 503 `draining`,
so that no client waits in a queue that no process reads. When only this worker is replaced, it
stops accepting, and the other workers accept new connections.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from vai.gateway.admission.inflight import InFlightExchanges
from vai.gateway.process.workers import WorkerRegistration
from vai.io.control_block import State
from vai.io.process import is_alive

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["TELL_TIME", "attach_drain"]

TELL_TIME = 1.0  # seconds after the grace in which the rest gets an error and ends
_FLUSH_TIME = 0.5  # seconds for responses already written to reach their sockets
_MAIN_REACTS = 0.1
_FIRST_REQUEST = 0.2  # seconds for the request of a connection that was just accepted


def attach_drain(app: Sanic[Any, Any], inflight: InFlightExchanges, *, grace: float = 30.0) -> None:
    """Drain before Sanic closes anything.

    Call it after the routes: stop listeners run in reverse, and the one that cancels
    WebSocket handlers is registered with the first WebSocket route.

    Args:
        grace: seconds that running exchanges have to finish.
    """
    ending: dict[str, float] = {}

    async def drain(app: Sanic[Any, Any]) -> None:
        # Sanic may run this twice when a signal interrupts it; the first call sets the deadline.
        deadline = ending.setdefault("deadline", time.monotonic() + grace)
        await _drain_worker(app, inflight, deadline)

    app.before_server_stop(drain)


async def _drain_worker(app: Sanic[Any, Any], inflight: InFlightExchanges, deadline: float) -> None:
    member: WorkerRegistration = app.ctx.membership
    serving = app.ctx.serving
    member.set_state(State.DRAINING)
    # Alone (single process) the worker is the group.
    whole_group = member.row.number < 0 or await _is_group_ending(member)
    inflight.refusing = whole_group
    serving.end_keep_alive()
    if not whole_group:
        serving.stop_accepting()
        # A client that was accepted a moment ago has sent its request, or is about to.
        await asyncio.sleep(_FIRST_REQUEST)
    if not await inflight.wait_until_empty(deadline - time.monotonic()):
        inflight.expire_all()
        await inflight.wait_until_empty(TELL_TIME)
    member.set_state(State.STOPPED)
    if whole_group and not _do_others_accept(member):
        serving.refuse_connections()
    serving.stop_accepting()
    await serving.wait_until_flushed(_FLUSH_TIME)
    # Sanic now waits for the open connections, whose clients have received their error.
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 0.2


async def _is_group_ending(member: WorkerRegistration) -> bool:
    """Whether main ends too. A signal to all processes may reach this one first."""
    if not member.control_block.draining:
        await asyncio.sleep(_MAIN_REACTS)
    return member.control_block.draining


def _do_others_accept(member: WorkerRegistration) -> bool:
    accepting = (State.STARTING, State.SERVING, State.DRAINING)
    return any(
        slot.state in accepting and slot.owner.pid != os.getpid() and is_alive(slot.owner)
        for slot in member.control_block.taken_slots()
    )

"""Admission: an exchange runs when the worker accepts work and the limits have room for it.

Invariants: every lease is returned exactly once, however the exchange ends, and a refusal
names the limit that is reached and the time of a retry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from vai.errors import Overloaded
from vai.exchange.ports import Clock
from vai.gateway.admission.inflight import InFlightExchange, InFlightExchanges
from vai.policy.limits.decision import Decision, refusal_error
from vai.policy.limits.sets import GATEWAY, Principal
from vai.policy.limits.store import LimitStore
from vai.types.message import Usage

__all__ = ["MAX_WAITING", "AdmissionController", "AdmissionQueue", "drain_error"]


MAX_WAITING = 1024
"""Requests of one worker that may wait; more are refused at once."""
_RETRY_SECONDS = 0.01


class _Waiter:
    __slots__ = ("future", "principals", "refusal", "tokens")

    def __init__(self, principals: tuple[Principal, ...], tokens: int, refusal: Decision) -> None:
        self.principals = principals
        self.tokens = tokens
        self.refusal = refusal
        self.future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()


class AdmissionQueue:
    """Admits at once where there is room, and queues requests where waiting helps.

    Invariants: the queue serves requests of the same principal in the order of arrival, and
    principals take turns, so that one with a hundred waiting requests delays another one by no
    more than its turn. A wait ends with a lease, a refusal or the client's leaving, and the queue
    returns a lease that comes too late.

    Leases become free in other workers too, which send no signal: while requests wait, the queue
    tries the store again every few milliseconds, and at once when this worker returns a lease.

    Args:
        max_wait: seconds that a request may wait; 0 refuses at once.
    """

    def __init__(self, store: LimitStore, clock: Clock, *, max_wait: float) -> None:
        self._store = store
        self._clock = clock
        self._max_wait = max_wait
        self._queues: dict[str, deque[_Waiter]] = {}
        self._waiting = 0
        self._is_gateway_full = False
        self._freed = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    @property
    def waiting_count(self) -> int:
        """Requests that wait now."""
        return self._waiting

    def notify_freed(self) -> None:
        """Wake the queue: a lease of this worker has become free."""
        if self._waiting:
            self._freed.set()

    async def admit(self, principals: tuple[Principal, ...], tokens: int) -> Decision:
        """The store's decision, after a wait if it refuses for concurrency."""
        overtakes = self._waiting and (self._is_gateway_full or principals[-1].name in self._queues)
        if overtakes and self._waiting < MAX_WAITING:
            return await self._wait_in_queue(principals, tokens, Decision(refused="concurrency"))
        decision = await self._store.admit(principals, tokens, self._clock())
        if decision.refused != "concurrency" or not self._max_wait or self._waiting >= MAX_WAITING:
            return decision
        return await self._wait_in_queue(principals, tokens, decision)

    async def _wait_in_queue(
        self, principals: tuple[Principal, ...], tokens: int, first: Decision
    ) -> Decision:
        waiter = _Waiter(principals, tokens, first)
        self._queues.setdefault(principals[-1].name, deque()).append(waiter)
        self._waiting += 1
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve_queues())
        try:
            async with asyncio.timeout(self._max_wait):
                return await asyncio.shield(waiter.future)
        except TimeoutError:
            if _was_answered(waiter):
                return waiter.future.result()
            return waiter.refusal
        except asyncio.CancelledError:
            if _was_answered(waiter):
                self._return_unused(waiter.future.result())
            raise
        finally:
            self._waiting -= 1
            waiter.future.cancel()

    async def _serve_queues(self) -> None:
        """Serve the queues until no request waits."""
        try:
            while self._queues:
                self._freed.clear()
                if not await self._serve_round():
                    try:
                        async with asyncio.timeout(_RETRY_SECONDS):
                            await self._freed.wait()
                    except TimeoutError:
                        pass
        finally:
            self._serving = None

    async def _serve_round(self) -> bool:
        """One turn for each principal; whether any request was served."""
        served = False
        self._is_gateway_full = False
        for name in list(self._queues):
            queue = self._queues[name]
            while queue and queue[0].future.done():
                queue.popleft()
            if not queue:
                del self._queues[name]
                continue
            decision = await self._try_admit(queue[0])
            if decision.refused != "concurrency":
                served = True
                queue.popleft()
                # Move it to the end: the next turn is another principal's.
                self._queues[name] = self._queues.pop(name)
            elif decision.principal == GATEWAY:
                self._is_gateway_full = True
                break
        return served

    async def _try_admit(self, waiter: _Waiter) -> Decision:
        decision = await self._store.admit(waiter.principals, waiter.tokens, self._clock())
        if decision.refused == "concurrency":
            waiter.refusal = decision
        elif waiter.future.done():
            self._return_unused(decision)
        else:
            waiter.future.set_result(decision)
        return decision

    def _return_unused(self, decision: Decision) -> None:
        """Return the lease of a request whose client has left."""
        if decision.is_admitted:
            self._store.settle(decision.handle, 0, self._clock())
            self.notify_freed()


def _was_answered(waiter: _Waiter) -> bool:
    return waiter.future.done() and not waiter.future.cancelled()


_EXPIRED: Final = "the drain's grace has ended"


class AdmissionController:
    """Admits exchanges and counts them, for one worker.

    Args:
        store: the limit store; None when the limits are off.
        max_wait: seconds that a request may wait for a lease.
    """

    def __init__(
        self,
        inflight: InFlightExchanges,
        store: LimitStore | None,
        clock: Clock,
        *,
        max_wait: float = 0,
    ) -> None:
        self._inflight = inflight
        self._store = store
        self._clock = clock
        self._queue = None if store is None else AdmissionQueue(store, clock, max_wait=max_wait)

    @property
    def waiting_count(self) -> int:
        """Requests that wait for a lease now."""
        return self._queue.waiting_count if self._queue is not None else 0

    async def admit(
        self,
        principals: tuple[Principal, ...],
        on_decision: Callable[[Decision], None],
        tokens: int,
        /,
    ) -> _Lease:
        """Take a lease and reserve `tokens`; with the first two bound, `exchange.ports.Admission`.

        Args:
            on_decision: called with the decision of the limits, before a refusal is raised.

        Raises:
            RateLimited: a limit of one of the principals is reached.
            Overloaded: the worker drains, or the limits have no room for another principal.
        """
        exchange = self._inflight.start_exchange()
        task = asyncio.current_task()
        if task is not None:
            exchange.on_expire(lambda: task.cancel(_EXPIRED))
        if self._queue is None:
            return _Lease(exchange, None, None)
        try:
            decision = await self._queue.admit(principals, tokens)
        except BaseException:
            exchange.end()
            raise
        on_decision(decision)
        if decision.is_admitted:
            return _Lease(exchange, self, decision)
        exchange.end()
        raise refusal_error(decision, principals)

    def settle(self, decision: Decision, used: int) -> None:
        """Return the lease of `decision`, and count the `used` tokens."""
        if self._store is None or self._queue is None:
            raise RuntimeError("there is a decision only where there is a store")
        self._store.settle(decision.handle, used, self._clock())
        self._queue.notify_freed()


class _Lease:
    __slots__ = ("_controller", "_decision", "_exchange")

    def __init__(
        self,
        exchange: InFlightExchange,
        controller: AdmissionController | None,
        decision: Decision | None,
    ) -> None:
        self._exchange = exchange
        self._controller = controller
        self._decision = decision

    def settle(self, usage: Usage, /) -> None:
        self._exchange.end()
        if self._controller is not None and self._decision is not None:
            self._controller.settle(self._decision, _total_tokens(usage))


def drain_error(cancelled: asyncio.CancelledError) -> Overloaded | None:
    """The error of an exchange that the drain cancelled; None if something else cancelled it."""
    if cancelled.args != (_EXPIRED,):
        return None
    return Overloaded("The gateway is shutting down", code="draining", retry_after=1)


def _total_tokens(usage: Usage) -> int:
    """All input and output tokens; those read from a cache count too."""
    return (
        (usage.input_tokens or 0)
        + (usage.cache_read_input_tokens or 0)
        + (usage.cache_creation_input_tokens or 0)
        + (usage.output_tokens or 0)
    )

"""Requests of this worker that wait for one of the concurrent requests to end.

Invariants: requests that count for the same principal are served in the order of arrival, and
principals take turns, so that one with a hundred waiting requests costs another one no more than
its turn. A wait ends with a lease, a refusal or the client's leaving, and a lease that came too
late is returned.

Leases become free in other workers too, which send no signal: while requests wait, the store is
tried again every few milliseconds, and at once when a lease of this worker becomes free.
"""

from __future__ import annotations

import asyncio
from collections import deque

from vai.exchange.ports import Clock
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import GATEWAY, Principal
from vai.policy.limits.store import LimitStore

__all__ = ["MAX_WAITING", "AdmissionQueue"]

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
        """A lease of this worker has become free."""
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
                # To the end of the round: the next turn is another principal's.
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

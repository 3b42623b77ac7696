"""Admission: an exchange runs when the worker takes work and the limits have room for it.

Invariants: every lease is returned exactly once, however the exchange ends, and a refusal
names the limit that refused and the time of a retry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from vai.errors import Overloaded
from vai.exchange.ports import Clock
from vai.gateway.admission.inflight import InFlightExchange, InFlightExchanges
from vai.gateway.admission.queue import AdmissionQueue
from vai.policy.limits.decision import Decision, refusal_error
from vai.policy.limits.sets import Principal
from vai.policy.limits.store import LimitStore
from vai.types.message import Usage

__all__ = ["AdmissionController", "drain_error"]

_EXPIRED: Final = "the drain's grace has ended"


class AdmissionController:
    """Admits exchanges and counts them, for one worker.

    Args:
        store: where the limits are counted; None when nothing is limited.
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
            on_decision: called with what the limits decided, before a refusal is raised.

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
        """Return the lease of `decision`, and charge the tokens that were used."""
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
    """All input and output. What a cache saved was read all the same."""
    return (
        (usage.input_tokens or 0)
        + (usage.cache_read_input_tokens or 0)
        + (usage.cache_creation_input_tokens or 0)
        + (usage.output_tokens or 0)
    )

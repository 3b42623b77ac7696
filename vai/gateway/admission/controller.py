"""Admission: an exchange runs when the worker takes work and the limits have room for it.

Invariants: what was taken is given back exactly once, whichever way the exchange
ends, and a refusal says which limit it was and when to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from vai.errors import Overloaded
from vai.exchange.ports import Clock
from vai.gateway.admission.inflight import InFlightExchange, InFlightExchanges
from vai.gateway.admission.queue import AdmissionQueue
from vai.policy.limits.answer import refusal_error
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import Principal
from vai.policy.limits.store import LimitStore
from vai.types.message import Usage

__all__ = ["AdmissionController", "AdmissionTicket", "drain_error"]

_EXPIRED: Final = "the drain's grace has ended"


class AdmissionController:
    """Lets exchanges in and counts them, for one worker.

    Args:
        store: where the limits are counted; None when nothing is limited.
        longest_wait: seconds that a caller may wait for a place among the running ones.
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
        """Callers that wait for a place now."""
        return self._queue.waiting_count if self._queue is not None else 0

    def entry(
        self, principals: tuple[Principal, ...], told: Callable[[Decision], None]
    ) -> AdmissionTicket:
        """The door for one caller; `told` hears what the limits decided."""
        return AdmissionTicket(self, principals, told)

    async def let_in(
        self, principals: tuple[Principal, ...], tokens: int, told: Callable[[Decision], None]
    ) -> _Lease:
        """Take a place.

        Raises:
            RateLimited: a limit of one of the principals is reached.
            Overloaded: the worker drains, or nobody else can be counted.
        """
        slot = self._inflight.start_exchange()
        task = asyncio.current_task()
        if task is not None:
            slot.on_expire(lambda: task.cancel(_EXPIRED))
        if self._queue is None:
            return _Lease(slot, None, None)
        try:
            decision = await self._queue.admit(principals, tokens)
        except BaseException:
            slot.end()
            raise
        told(decision)
        if decision.is_admitted:
            return _Lease(slot, self, decision)
        slot.end()
        raise refusal_error(decision, principals)

    def settle(self, decision: Decision, used: int) -> None:
        """Give a place back, and charge what was used."""
        if self._store is None or self._queue is None:
            raise RuntimeError("there is a decision only where there is a store")
        self._store.settle(decision.handle, used, self._clock())
        self._queue.notify_freed()


class AdmissionTicket:
    """The admission of one exchange: the door of `vai.exchange.ports.Admission`."""

    __slots__ = ("_keeper", "_principals", "_told")

    def __init__(
        self,
        keeper: AdmissionController,
        principals: tuple[Principal, ...],
        told: Callable[[Decision], None],
    ) -> None:
        self._keeper = keeper
        self._principals = principals
        self._told = told

    async def admit(self, tokens: int, /) -> _Lease:
        """Take a place and reserve `tokens`. Raises as `AdmissionController.let_in`."""
        return await self._keeper.let_in(self._principals, tokens, self._told)


class _Lease:
    __slots__ = ("_decision", "_keeper", "_slot")

    def __init__(
        self, slot: InFlightExchange, keeper: AdmissionController | None, decision: Decision | None
    ) -> None:
        self._slot = slot
        self._keeper = keeper
        self._decision = decision

    def settle(self, usage: Usage, /) -> None:
        self._slot.end()
        if self._keeper is not None and self._decision is not None:
            self._keeper.settle(self._decision, _total_tokens(usage))


def drain_error(cancelled: asyncio.CancelledError) -> Overloaded | None:
    """What to tell a caller whose exchange was cancelled by the drain; None if it was not."""
    if cancelled.args != (_EXPIRED,):
        return None
    return Overloaded("The gateway is shutting down", code="draining", retry_after=1)


def _total_tokens(usage: Usage) -> int:
    """Everything that went in and came out. What a cache saved was read all the same."""
    return (
        (usage.input_tokens or 0)
        + (usage.cache_read_input_tokens or 0)
        + (usage.cache_creation_input_tokens or 0)
        + (usage.output_tokens or 0)
    )

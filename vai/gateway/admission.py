"""Admission of this worker: an exchange runs unless the worker is on its way out."""

from __future__ import annotations

import asyncio
from typing import Final

from vai.errors import Overloaded
from vai.gateway.inflight import InFlight, Slot
from vai.types.message import Usage

__all__ = ["LocalAdmission", "was_expired"]

_EXPIRED: Final = "the drain's grace has ended"


class LocalAdmission:
    """Counts what runs, so that a drain can wait for it and then tell it."""

    def __init__(self, inflight: InFlight) -> None:
        self._inflight = inflight

    async def admit(self, principal: str, tokens: int, /) -> _Lease:
        """Take a place. Raises Overloaded while draining."""
        slot = self._inflight.enter()
        task = asyncio.current_task()
        if task is not None:
            slot.on_expire(lambda: task.cancel(_EXPIRED))
        return _Lease(slot)


class _Lease:
    __slots__ = ("_slot",)

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def settle(self, usage: Usage, /) -> None:
        self._slot.leave()


def was_expired(cancelled: asyncio.CancelledError) -> Overloaded | None:
    """What to tell a caller whose exchange was cancelled by the drain; None if it was not."""
    if cancelled.args != (_EXPIRED,):
        return None
    return Overloaded("The gateway is shutting down", code="draining", retry_after=1)

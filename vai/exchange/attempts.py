"""What an exchange does when its first attempt fails before the caller has had anything.

The law of this module: whether, where and after what wait is the plan's to say, because
only its owner knows keys, targets and budgets; closing, waiting and sending are the
conductor's. A plan is asked only while the caller has not been sent a byte of an answer.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from vai.errors import UpstreamFault
from vai.exchange.lane import Lane
from vai.exchange.ports import Upstream

__all__ = ["Attempt", "Plan"]

T = TypeVar("T")


class Attempt(msgspec.Struct, Generic[T], frozen=True):
    """One more way to an answer, to be gone after `delay` seconds."""

    lane: Lane[T]
    upstream: Upstream
    delay: float = 0.0


class Plan(Protocol[T]):
    """The further attempts of one exchange."""

    def next(self, fault: UpstreamFault, remaining: float, /) -> Attempt[T] | None:
        """What to try after `fault`; None when the caller is to be told of it.

        `remaining` is how many seconds the exchange has left; no delay may reach them.
        """
        ...

    def close(self, *, answered: bool) -> None:
        """No further attempt will be made. Called once; `answered` says that the last one was."""
        ...

"""What a store answers: a place, or which limit refused it and when to come back."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["NO_HANDLE", "Decision", "RefusedLimit"]

NO_HANDLE = 0

RefusedLimit = Literal["", "requests", "tokens", "concurrency", "sessions", "capacity"]
"""The limit that refused; ``capacity`` is none of the principal's but the store's own size."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The answer to one attempt.

    The figures of requests and tokens are those of the principal with the least room, after
    this decision; a limit of 0 says that there is none. Times are seconds from now.
    """

    handle: int = NO_HANDLE
    """The place that was taken, to be given back once; NO_HANDLE when refused."""
    refused: RefusedLimit = ""
    principal: str = ""
    """The name of the principal whose limit refused."""
    retry_after: float = 0.0
    """When the same attempt passes if nobody else comes. Unknowable for what is held, not
    used up (concurrency, sessions, capacity): a second there."""
    requests_limit: int = 0
    requests_remaining: int = 0
    requests_reset: float = 0.0
    """When all of the limit is free again."""
    tokens_limit: int = 0
    tokens_remaining: int = 0
    tokens_reset: float = 0.0

    @property
    def is_admitted(self) -> bool:
        return self.handle != NO_HANDLE

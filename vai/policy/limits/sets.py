"""Principals, and how much their limits allow.

Invariants: 0 means no limit, everywhere. A store admits an exchange when every one of its
principals has room for it, and charges all of them or none.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GATEWAY", "MAX_PRINCIPALS", "UNLIMITED", "LimitSet", "Principal", "capped_reservation"]

GATEWAY = ""
"""The name of the principal that stands for the whole gateway."""

MAX_PRINCIPALS = 3
"""Principals of one exchange: the gateway, the user, and a key with a budget of its own."""


class LimitSet(NamedTuple):
    """What one principal may use. 0 means no limit.

    A tuple, because every admission unpacks it.
    """

    requests: int = 0
    """Within any 60 seconds."""
    tokens: int = 0
    """Within any 60 seconds: input and output."""
    concurrency: int = 0
    """Requests that run at once."""
    sessions: int = 0
    """Live sessions at once."""
    smooth: bool = False
    """Space requests and tokens out, besides counting them: see `vai.policy.limits.window`."""

    def overridden_by(self, other: LimitSet) -> LimitSet:
        """These limits, replaced by those that `other` sets; what it leaves at 0 stays.

        A tier replaces the limits of all users, and a key's own those of its tier.
        """
        return LimitSet(
            other.requests or self.requests,
            other.tokens or self.tokens,
            other.concurrency or self.concurrency,
            other.sessions or self.sessions,
            other.smooth or self.smooth,
        )


UNLIMITED = LimitSet()


class Principal(NamedTuple):
    """A user, key or address whose use is counted, and the limits in force for it now.

    The limits come with every call and are stored nowhere else, so a changed setting applies
    from the next exchange on.
    """

    name: str
    """Unique over all kinds of principals; GATEWAY is the gateway itself."""
    limits: LimitSet = UNLIMITED
    listed: bool = True
    """Named by the configuration. Others (socket addresses) never take the last free rows."""


def capped_reservation(tokens: int, principals: tuple[Principal, ...]) -> int:
    """The tokens to charge when a request reserves `tokens`.

    No more than the smallest limit: a larger estimate (of a client that always requests the
    model's maximum) would never be admitted. `settle` charges what the exchange uses beyond it.
    """
    for principal in principals:
        limit = principal.limits.tokens
        if limit and tokens > limit:
            tokens = limit
    return tokens

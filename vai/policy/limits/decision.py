"""A store's decision, and what the client learns of it.

A decision is a lease, or the limit that refused it and when to retry. The client gets header
fields with every response, and an error with a refusal.

Invariants: the client never learns the principal's name, only whether the limit is its own or
the gateway's; names of users and addresses are for the operator.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from vai.errors import Overloaded, RateLimited, VaiError
from vai.policy.headers import split_header_lines
from vai.policy.limits.sets import GATEWAY, Principal

__all__ = [
    "NO_HANDLE",
    "Decision",
    "RefusedLimit",
    "rate_limit_headers",
    "rate_limit_lines",
    "refusal_error",
]

NO_HANDLE = 0

RefusedLimit = Literal["", "requests", "tokens", "concurrency", "sessions", "capacity"]
"""The limit that refused; ``capacity`` is the size of the store itself."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision on one attempt.

    The figures of requests and tokens are those of the principal with the least room, after
    this decision; a limit of 0 means that there is none. Times are seconds from now.
    """

    handle: int = NO_HANDLE
    """The lease that was taken, to be returned once; NO_HANDLE when refused."""
    refused: RefusedLimit = ""
    principal: str = ""
    """The name of the principal whose limit refused."""
    retry_after: float = 0.0
    """When the same attempt passes if no other request comes. For what is held, not used up
    (concurrency, sessions, capacity), that time is unknown and the value one second."""
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


_WORDS = {
    "requests": ("requests per minute", "requests_per_minute"),
    "tokens": ("tokens per minute", "tokens_per_minute"),
    "concurrency": ("requests that run at once", "concurrent_requests"),
    "sessions": ("live sessions at once", "concurrent_sessions"),
}
"""The limits, as text for a human and under their names in the settings."""
_WINDOWED = ("requests", "tokens")


def rate_limit_headers(decision: Decision, unix_now: float) -> dict[str, str]:
    """The header fields of the limits in force, by lower-case name; none where there is no limit.

    `unix_now` is the time of day in seconds, for the times at which a limit is free again.
    Every counted response has the `X-RateLimit` set. The `anthropic-ratelimit` set states the same
    for the clients of that API, where VAI itself refuses; in other responses those names are the
    upstream's.
    """
    headers = split_header_lines(rate_limit_lines(decision, unix_now))
    if not decision.is_admitted:
        for name, value in tuple(headers.items()):
            _, _, what, unit = name.split("-")
            headers[f"anthropic-ratelimit-{unit}-{what}"] = value
    return headers


def rate_limit_lines(decision: Decision, unix_now: float) -> str:
    """The `X-RateLimit` set of `rate_limit_headers` as lines of a head, each with its line end.

    Text of a whole set takes a third of the time that six names and values take in a mapping.
    """
    # Rounded up to the next second: a retry at that time passes.
    soon = unix_now + 1
    lines = ""
    if decision.requests_limit:
        reset = _rfc3339_time(int(soon + decision.requests_reset))
        lines = (
            f"x-ratelimit-limit-requests: {decision.requests_limit}\r\n"
            f"x-ratelimit-remaining-requests: {decision.requests_remaining}\r\n"
            f"x-ratelimit-reset-requests: {reset}\r\n"
        )
    if decision.tokens_limit:
        reset = _rfc3339_time(int(soon + decision.tokens_reset))
        lines += (
            f"x-ratelimit-limit-tokens: {decision.tokens_limit}\r\n"
            f"x-ratelimit-remaining-tokens: {decision.tokens_remaining}\r\n"
            f"x-ratelimit-reset-tokens: {reset}\r\n"
        )
    return lines


@lru_cache(256)
def _rfc3339_time(seconds: int) -> str:
    """A time in the form of RFC 3339. Responses of one second share it: it is slow to make."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refusal_error(decision: Decision, principals: tuple[Principal, ...] = ()) -> VaiError:
    """The error of a refusal, with `retry_after`.

    Args:
        principals: those that the decision concerns, with their limits.
    """
    words, setting = _WORDS.get(decision.refused, (None, None))
    if words is None or setting is None:
        return Overloaded(
            "The gateway has no room to count one more client; retry after the stated time",
            code="limits_full",
            retry_after=decision.retry_after,
            limit="gateway max_callers",
        )
    # The text before the colon of a principal's name is its kind: user, key or address.
    kind = decision.principal.partition(":")[0] if decision.principal != GATEWAY else "gateway"
    most = _limit_value(decision, principals)
    details: dict[str, Any] = {"limit": setting, "of": kind}
    stated = ""
    if most:
        details["value"] = most
        windowed = decision.refused in _WINDOWED
        stated = f" ({most} within any 60 seconds)" if windowed else f" ({most})"
    whose = "The gateway's" if decision.principal == GATEWAY else "Your"
    return RateLimited(
        f"{whose} limit of {words} is reached{stated}; retry after the stated time",
        code=f"{decision.refused}_limit",
        retry_after=decision.retry_after,
        details=details,
        limit=f"{kind} {setting}",
    )


def _limit_value(decision: Decision, principals: tuple[Principal, ...]) -> int:
    """The value of the limit that refused; 0 where it is not among the `principals`."""
    for principal in principals:
        if principal.name == decision.principal:
            most: int = getattr(principal.limits, decision.refused)
            return most
    return 0

"""Why an attempt is refused, and when it would pass.

The law: of all limits that stand in the way, the one that lasts longest is named, so that a
caller who waits as long as it is told is not refused by another one. Only the refused pay
for finding it out.
"""

from __future__ import annotations

from collections.abc import Sequence

from vai.io.limits.layout import (
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_SLOTS,
    SESSION,
)
from vai.io.limits.spacing import waits
from vai.policy.limits.decision import Decision, RefusedLimit
from vai.policy.limits.sets import Principal
from vai.policy.limits.window import SLOTS, seconds_until_reset, seconds_until_room

__all__ = ["refusal"]

_A_WHILE = 1.0
"""Seconds until another try makes sense where a place must be given back first."""

_WINDOWS: tuple[RefusedLimit, RefusedLimit] = ("requests", "tokens")
_UNKNOWN: RefusedLimit = "capacity"
_EMPTY = [0] * SLOTS
_NO_WINDOW: tuple[int, int, list[int]] = (0, 0, [])


def refusal(
    words: memoryview,
    kind: int,
    principals: tuple[Principal, ...],
    bases: Sequence[int],
    *,
    tokens: int,
    slot: int,
    now: float,
) -> Decision:
    """The decision for an attempt that some limit refuses; `bases` as for `principals`, 0 for none.

    The rows' windows have moved to `slot`. Under the mutex.
    """
    longest, refused, by = -1.0, _UNKNOWN, ""
    tightest = [_NO_WINDOW, _NO_WINDOW]  # limit, what is left of it, slots
    for (name, limits, _), base in zip(principals, bases, strict=True):
        spaced = (0.0, 0.0)
        if limits.smooth and base:
            spaced = waits(words, base, limits, tokens, int(now * 1000))
        for which, limit, first, cost in (
            (0, limits.requests, R_REQUEST_SLOTS, 1),
            (1, limits.tokens, R_TOKEN_SLOTS, tokens),
        ):
            if not limit:
                continue
            slots = words[base + first : base + first + SLOTS].tolist() if base else _EMPTY
            left = limit - sum(slots)
            if not tightest[which][0] or left < tightest[which][1]:
                tightest[which] = (limit, left, slots)
            # A cost beyond the limit is an obstacle that a smaller reservation goes round.
            if cost and (left < cost or spaced[which]):
                wait = max(
                    spaced[which], seconds_until_room(slots, slot, now, cost=cost, limit=limit)
                )
                if wait > longest:
                    longest, refused, by = wait, _WINDOWS[which], name
        held: RefusedLimit = "sessions" if kind == SESSION else "concurrency"
        most = limits.sessions if kind == SESSION else limits.concurrency
        count = R_SESSIONS if kind == SESSION else R_RUNNING
        if most and base and words[base + count] >= most and longest < _A_WHILE:
            longest, refused, by = _A_WHILE, held, name
    figures = [
        (limit, max(0, left), seconds_until_reset(slots, slot, now) if limit else 0.0)
        for limit, left, slots in tightest
    ]
    return Decision(0, refused, by, longest, *figures[0], *figures[1])

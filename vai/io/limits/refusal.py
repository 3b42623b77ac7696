"""Why an attempt is refused, and when it would pass.

The law: of all limits that stand in the way, the one that lasts longest is named, so that a
caller who waits as long as it is told is not refused by another one. Only the refused pay
for finding it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vai.io.limits.layout import (
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_SLOTS,
    SESSION,
)
from vai.io.limits.spacing import waits
from vai.policy.limits.decision import Decision, Refused
from vai.policy.limits.sets import Subject
from vai.policy.limits.window import SLOTS, full_again_in, room_in

__all__ = ["refusal"]

_A_WHILE = 1.0
"""Seconds until another try makes sense where a place must be given back first."""

_Obstacle = tuple[float, Refused, str]


def refusal(
    words: memoryview,
    kind: int,
    subjects: tuple[Subject, ...],
    bases: Sequence[int],
    *,
    tokens: int,
    slot: int,
    now: float,
) -> Decision:
    """The decision for an attempt that some limit refuses; `bases` as for `subjects`, 0 for none.

    The rows' windows have moved to `slot`. Under the mutex.
    """
    obstacles: list[_Obstacle] = []
    figures: list[tuple[int, int, float]] = [(0, 0, 0.0), (0, 0, 0.0)]
    for subject, base in zip(subjects, bases, strict=True):
        obstacles += _obstacles(words, kind, subject, base, tokens=tokens, slot=slot, now=now)
        limits = subject.limits
        for index, (limit, first) in enumerate(
            ((limits.requests, R_REQUEST_SLOTS), (limits.tokens, R_TOKEN_SLOTS))
        ):
            slots = _slots(words, base, first)
            found = (limit, max(0, limit - sum(slots)), full_again_in(slots, slot, now))
            if limit and (not figures[index][0] or found[1:2] < figures[index][1:2]):
                figures[index] = found
    wait, refused, name = max(obstacles)
    return Decision(0, refused, name, wait, *figures[0], *figures[1])


def _obstacles(
    words: memoryview, kind: int, subject: Subject, base: int, *, tokens: int, slot: int, now: float
) -> Iterator[_Obstacle]:
    name, limits, _ = subject
    spaced = (0.0, 0.0)
    if limits.smooth and base:
        spaced = waits(words, base, limits, tokens, int(now * 1000))
    if limits.requests:
        slots = _slots(words, base, R_REQUEST_SLOTS)
        wait = max(spaced[0], room_in(slots, slot, now, cost=1, limit=limits.requests))
        if wait:
            yield wait, "requests", name
    if limits.tokens and tokens:
        slots = _slots(words, base, R_TOKEN_SLOTS)
        wait = max(spaced[1], room_in(slots, slot, now, cost=tokens, limit=limits.tokens))
        if wait or tokens > limits.tokens:  # the latter passes as a smaller reservation
            yield wait, "tokens", name
    if not base:
        return
    if kind == SESSION:
        if limits.sessions and words[base + R_SESSIONS] >= limits.sessions:
            yield _A_WHILE, "sessions", name
    elif limits.concurrency and words[base + R_RUNNING] >= limits.concurrency:
        yield _A_WHILE, "concurrency", name


def _slots(words: memoryview, base: int, first: int) -> list[int]:
    if not base:
        return [0] * SLOTS
    return words[base + first : base + first + SLOTS].tolist()

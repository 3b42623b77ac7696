"""The smooth mode's levels in a row: see `vai.policy.limits.smooth`. Under the mutex."""

from __future__ import annotations

from vai.io.limits.layout import R_LEVEL_AT, R_REQUEST_LEVEL, R_TOKEN_LEVEL
from vai.policy.limits.sets import LimitSet
from vai.policy.limits.smooth import MILLI, drained_level, seconds_until_spaced

__all__ = ["raise_levels", "refund", "waits"]


def waits(
    words: memoryview, base: int, limits: LimitSet, tokens: int, now_ms: int
) -> tuple[float, float]:
    """Seconds until a request and `tokens` may pass; 0.0 where they may now."""
    requests, allowance = _levels(words, base, limits, now_ms)
    return (
        seconds_until_spaced(requests, 1, limits.requests) if limits.requests else 0.0,
        seconds_until_spaced(allowance, tokens, limits.tokens) if limits.tokens and tokens else 0.0,
    )


def raise_levels(words: memoryview, base: int, limits: LimitSet, tokens: int, now_ms: int) -> None:
    """Charge one request and `tokens`."""
    requests, allowance = _levels(words, base, limits, now_ms)
    words[base + R_LEVEL_AT] = max(now_ms, words[base + R_LEVEL_AT])
    words[base + R_REQUEST_LEVEL] = requests + MILLI if limits.requests else 0
    words[base + R_TOKEN_LEVEL] = allowance + tokens * MILLI if limits.tokens else 0


def refund(words: memoryview, base: int, tokens: int) -> None:
    """Take `tokens` off the level (negative: put them on). An empty bucket stays empty."""
    level = words[base + R_TOKEN_LEVEL]
    if level:
        words[base + R_TOKEN_LEVEL] = max(0, level - tokens * MILLI)


def _levels(words: memoryview, base: int, limits: LimitSet, now_ms: int) -> tuple[int, int]:
    elapsed = now_ms - words[base + R_LEVEL_AT]
    return (
        drained_level(words[base + R_REQUEST_LEVEL], elapsed, limits.requests),
        drained_level(words[base + R_TOKEN_LEVEL], elapsed, limits.tokens),
    )

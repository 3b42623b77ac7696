"""Warnings of a state that lasts: one line, however often it is met.

Through the standard library's logging, which the gateway's log takes in: what warns here is also
used in programs without a gateway.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from time import monotonic

from vai.policy.notices import NoticeLimiter

__all__ = ["RateLimitedWarning", "RateLimitedWarnings"]

_logger = logging.getLogger("vai")


class RateLimitedWarnings:
    """Writes a warning about each of many subjects at most once in `every` seconds.

    It distinguishes at most `room` subjects; a warning says how many were left out before it.
    """

    def __init__(self, every: float = 60.0, room: int = 256) -> None:
        self._notices = NoticeLimiter(every, room)

    def __call__(self, subject: Hashable, text: str, *values: object) -> None:
        """Log `text` about `subject`, with `values` in its ``%s``, unless it was done just now."""
        left_out = self._notices.admit_line(subject, monotonic())
        if left_out is None:
            return
        if left_out:
            text, values = text + " (%s more since the last such line)", (*values, left_out)
        _logger.warning(text, *values)


class RateLimitedWarning:
    """Writes a warning at most once in `every` seconds."""

    def __init__(self, every: float = 60.0) -> None:
        self._warn = RateLimitedWarnings(every, room=1)

    def __call__(self, text: str, *values: object) -> None:
        """Log `text`, with `values` in its ``%s``, unless that was done a moment ago."""
        self._warn("", text, *values)

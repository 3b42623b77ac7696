"""Warnings about a lasting state: one line, however often the state occurs.

The module uses the standard library's logging, whose records the gateway's log receives, because
programs without a gateway use the modules that warn here too.
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

    It distinguishes at most `room` subjects; a warning states how many were left out before it.
    """

    def __init__(self, every: float = 60.0, room: int = 256) -> None:
        self._notices = NoticeLimiter(every, room)

    def __call__(self, subject: Hashable, text: str, *values: object) -> None:
        """Log `text` about `subject`, with `values` in its ``%s``, at most once in `every`."""
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
        """Log `text`, with `values` in its ``%s``, unless it was logged within `every` seconds."""
        self._warn("", text, *values)

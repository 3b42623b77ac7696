"""Warnings of a state that lasts: one line, however often it is met.

Through the standard library's logging, which the gateway's log takes in: what warns here is also
used in programs without a gateway.
"""

from __future__ import annotations

import logging
from time import monotonic

__all__ = ["RateLimitedWarning"]

_logger = logging.getLogger("vai")


class RateLimitedWarning:
    """Writes a warning at most once in `every` seconds."""

    def __init__(self, every: float = 60.0) -> None:
        self._every = every
        self._due = 0.0

    def __call__(self, text: str, *values: object) -> None:
        """Log `text`, with `values` in its ``%s``, unless that was done a moment ago."""
        now = monotonic()
        if now >= self._due:
            self._due = now + self._every
            _logger.warning(text, *values)

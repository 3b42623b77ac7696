"""What an answer used, over all bodies it came in.

Google's `promptTokenCount` includes what the cache served, `candidatesTokenCount` excludes
thinking, and each is the running total of one HTTP request.
"""

from __future__ import annotations

from vai.providers.gemini.chunk import WireUsage
from vai.types.message import Usage

__all__ = ["Spent"]


class Spent:
    """Adds up the bodies of one answer."""

    def __init__(self) -> None:
        self._before = Usage()
        self._now = Usage()
        # Every chunk counts anew, and hardly one of these counts is ever asked for.
        self._newest: WireUsage | None = None

    @property
    def output(self) -> int:
        """Tokens generated so far, as far as they are known."""
        return self.total.output_tokens or 0

    @property
    def total(self) -> Usage:
        """Everything so far."""
        if self._newest is not None:
            self._now = self._now.merged(_usage(self._newest))
            self._newest = None
        before, now = self._before, self._now
        return Usage(
            input_tokens=_sum(before.input_tokens, now.input_tokens),
            output_tokens=_sum(before.output_tokens, now.output_tokens),
            cache_read_input_tokens=_sum(
                before.cache_read_input_tokens, now.cache_read_input_tokens
            ),
            thinking_tokens=_sum(before.thinking_tokens, now.thinking_tokens),
        )

    def count(self, wire: WireUsage) -> None:
        """The body's newest count."""
        self._newest = wire

    def settle(self) -> None:
        """The body is over; a further one counts from zero."""
        self._before, self._now = self.total, Usage()


def _usage(wire: WireUsage) -> Usage:
    """Disjoint counters of one body."""
    cached = wire.cached_content_token_count
    fresh = _sum(wire.prompt_token_count, wire.tool_use_prompt_token_count)
    spoken = wire.candidates_token_count
    if spoken is None and wire.total_token_count is not None and fresh is not None:
        # Zeros are left out, and some answers leave out more than that.
        spoken = max(wire.total_token_count - fresh - (wire.thoughts_token_count or 0), 0)
    return Usage(
        input_tokens=None if fresh is None else max(fresh - (cached or 0), 0),
        output_tokens=_sum(spoken, wire.thoughts_token_count),
        cache_read_input_tokens=cached,
        thinking_tokens=wire.thoughts_token_count,
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)

"""What an answer used, over all bodies it came in.

Google's `promptTokenCount` includes what the cache served, `candidatesTokenCount` excludes
thinking, and each is the running total of one HTTP request.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import msgspec

from vai.providers.gemini.chunk import GeminiUsage
from vai.types.message import Usage, parse_counter

__all__ = ["UsageTotals"]


class UsageTotals:
    """Adds up the bodies of one answer."""

    def __init__(self) -> None:
        self._before = Usage()
        self._now = Usage()
        # Every chunk counts anew, and hardly one of these counts is ever asked for.
        self._newest: GeminiUsage | None = None

    @property
    def output(self) -> int:
        """Tokens generated so far, as far as they are known."""
        return self.total.output_tokens or 0

    @property
    def total(self) -> Usage:
        """Everything so far."""
        if self._newest is not None:
            newest = _usage(self._newest)
            known = (
                newest.input_tokens if newest.input_tokens is not None else self._now.input_tokens
            )
            # Running totals do not fall, whatever a late chunk says; but that of the input does
            # when the cache's share of it becomes known.
            totals = _joined(self._now, newest, max)
            self._now = msgspec.structs.replace(totals, input_tokens=known)
            self._newest = None
        return _joined(self._before, self._now, operator.add)

    def count(self, wire: GeminiUsage) -> None:
        """The body's newest count."""
        self._newest = wire

    def settle(self) -> None:
        """The body is over; a further one counts from zero."""
        self._before, self._now = self.total, Usage()


def _usage(wire: GeminiUsage) -> Usage:
    """Disjoint counters of one body."""
    cached = parse_counter(wire.cached_content_token_count)
    fresh = _joined_count(
        parse_counter(wire.prompt_token_count),
        parse_counter(wire.tool_use_prompt_token_count),
        operator.add,
    )
    thought, spoken = (
        parse_counter(wire.thoughts_token_count),
        parse_counter(wire.candidates_token_count),
    )
    total = parse_counter(wire.total_token_count)
    if spoken is None and total is not None and fresh is not None:
        # Zeros are left out, and some answers leave out more than that.
        spoken = max(total - fresh - (thought or 0), 0)
    return Usage(
        input_tokens=None if fresh is None else max(fresh - (cached or 0), 0),
        output_tokens=_joined_count(spoken, thought, operator.add),
        cache_read_input_tokens=cached,
        thinking_tokens=thought,
    )


def _joined(one: Usage, other: Usage, join: Callable[[int, int], int]) -> Usage:
    """The counters of both; one that only one of them knows is taken as it is."""
    return Usage(
        input_tokens=_joined_count(one.input_tokens, other.input_tokens, join),
        output_tokens=_joined_count(one.output_tokens, other.output_tokens, join),
        cache_read_input_tokens=_joined_count(
            one.cache_read_input_tokens, other.cache_read_input_tokens, join
        ),
        thinking_tokens=_joined_count(one.thinking_tokens, other.thinking_tokens, join),
    )


def _joined_count(
    one: int | None, other: int | None, join: Callable[[int, int], int]
) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return join(one, other)

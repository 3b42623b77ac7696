"""The response: a message and its usage."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from vai.types.base import OpenStruct
from vai.types.blocks import Block

__all__ = ["MAX_COUNT", "Message", "Usage", "parse_counter"]

MAX_COUNT: Final = 1_000_000_000
"""VAI treats larger counters as invalid: no response is a thousandth as long."""


def parse_counter(value: Any) -> int | None:
    """A counter as an upstream reports it; None for any value that cannot be one.

    Some servers quote their numbers, and some write them as floats.
    """
    if type(value) is int:
        return value if 0 <= value <= MAX_COUNT else None
    if type(value) is float and value.is_integer():
        return parse_counter(int(value))
    if type(value) is str and len(value) <= _DIGITS and value.isascii() and value.isdecimal():
        return parse_counter(int(value))
    return None


_DIGITS: Final = len(str(MAX_COUNT))


class Usage(OpenStruct, frozen=True, kw_only=True):
    """Tokens of one exchange.

    The counters are disjoint: `input_tokens` excludes what was read from or written to
    a prompt cache; `thinking_tokens` is the part of `output_tokens` spent on reasoning.
    None means that the provider did not report it: unknown is never zero.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    thinking_tokens: int | None = None

    def merged_with(self, later: Usage) -> Usage:
        """These counters, replaced by the known ones of `later`. Both are running totals."""
        # Written out for speed: every response uses this, some of them three times.
        return Usage(
            input_tokens=self.input_tokens if later.input_tokens is None else later.input_tokens,
            output_tokens=(
                self.output_tokens if later.output_tokens is None else later.output_tokens
            ),
            cache_read_input_tokens=(
                self.cache_read_input_tokens
                if later.cache_read_input_tokens is None
                else later.cache_read_input_tokens
            ),
            cache_creation_input_tokens=(
                self.cache_creation_input_tokens
                if later.cache_creation_input_tokens is None
                else later.cache_creation_input_tokens
            ),
            thinking_tokens=(
                self.thinking_tokens if later.thinking_tokens is None else later.thinking_tokens
            ),
            extra={**self.extra, **later.extra},
        )

    def with_final_usage(self, last: Usage | None) -> Usage:
        """The totals of a stream whose `message_delta` reported `last`.

        `message_start` reports the output of the beginning only. Where the end reports none,
        the output is unknown.
        """
        totals = self if last is None else self.merged_with(last)
        if last is None or last.output_tokens is None:
            return msgspec.structs.replace(totals, output_tokens=None)
        return totals


class Message(OpenStruct, frozen=True, kw_only=True, tag="message"):
    """A complete response. `model` is ``provider/`` and the upstream's resolved model id."""

    id: str
    role: Literal["assistant"]
    model: str
    content: list[Block]
    stop_reason: str | None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: Usage
    metadata: dict[str, Any] | None = None

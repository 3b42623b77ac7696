"""Counting with OpenAI: the Responses request without what steers its answer.

Invariants: the counter has a list of what it takes, and this is it. A member
more is an error there, so one that is not listed is left out here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.types.provider import WireRequest

__all__ = ["to_count_request"]

_COUNTED_MEMBERS: Final = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def to_count_request(wire: WireRequest) -> WireRequest:
    """The question to the counter, given the request for an answer."""
    body: dict[str, Any] = _decode_members(wire.body)
    members = {name: value for name, value in body.items() if name in _COUNTED_MEMBERS}
    return msgspec.structs.replace(
        wire,
        target=f"{wire.target}/input_tokens",
        body=msgspec.json.encode(members),
        streams=False,
    )

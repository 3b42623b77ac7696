"""Counting tokens with Anthropic: the message request without some members, at another path.

Invariants: the counter refuses members that add no tokens. This module lists them; it sends
unknown members on, because the client's headers may enable them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from vai.types.provider import WireRequest

__all__ = ["count_target", "is_counted", "to_count_request"]

_REFUSED: Final = frozenset(
    {
        "container",
        "diagnostics",
        "fallback_credit_token",
        "fallbacks",
        "inference_geo",
        "max_tokens",
        "metadata",
        "service_tier",
        "stop_sequences",
        "stream",
        "temperature",
        "thread",
        "top_k",
        "top_p",
    }
)
"""Members of a Messages request that the counter refuses.
Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_counted(members: Iterable[str]) -> bool:
    """Whether the counter accepts a body of these members unchanged."""
    return _REFUSED.isdisjoint(members)


def count_target(path: str) -> str:
    """The counter's path, given the path of the messages."""
    return f"{path}/count_tokens"


def to_count_request(wire: WireRequest) -> WireRequest:
    """The count request, given the request for a message."""
    body: dict[str, Any] = _members(wire.body)
    counted = {name: value for name, value in body.items() if name not in _REFUSED}
    return msgspec.structs.replace(
        wire,
        target=count_target(wire.target),
        body=msgspec.json.encode(counted),
        streams=False,
    )

"""Wire objects -> JSON values, with usage under both of its names.

Clients of the Messages API read `cache_read_input_tokens`; VAI's own contract says
`cache_read_tokens`. Both are written, so that either kind of client is served.
"""

from __future__ import annotations

from typing import Any

from vai.types.base import to_wire
from vai.types.catalogue import Coster
from vai.types.events import Event, MessageDelta, MessageStart
from vai.types.message import Message, Usage

__all__ = ["event_to_wire", "message_to_wire", "usage_to_wire"]

_VAI_NAMES = {
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


def usage_to_wire(usage: Usage, cost: Coster | None = None) -> dict[str, Any]:
    """The counters that are known; `total_tokens` is input + output.

    `cost_usd` is written where there is a `cost` that knows it.
    """
    wire: dict[str, Any] = {}
    for name in ("input_tokens", "output_tokens", *_VAI_NAMES):
        value = getattr(usage, name)
        if value is not None:
            wire[name] = value
            if name in _VAI_NAMES:
                wire[_VAI_NAMES[name]] = value
    if usage.input_tokens is not None and usage.output_tokens is not None:
        wire["total_tokens"] = usage.input_tokens + usage.output_tokens
    if usage.thinking_tokens is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.thinking_tokens}
    usd = cost(usage) if cost is not None else None
    if usd is not None:
        wire["cost_usd"] = usd
    return wire | usage.extra


def message_to_wire(message: Message, cost: Coster | None = None) -> dict[str, Any]:
    """A complete answer."""
    wire: dict[str, Any] = to_wire(message)
    wire["usage"] = usage_to_wire(message.usage, cost)
    return wire


def event_to_wire(event: Event, cost: Coster | None = None) -> dict[str, Any]:
    """One event of a stream. Both totals of `message_delta` are always written.

    Only `message_delta` carries what the answer costs: before it, nobody knows.

    Strict clients refuse a `message_delta` without `output_tokens` and a `message_start`
    without both counters, so a counter nobody reported is written as 0 there.
    """
    wire: dict[str, Any] = to_wire(event)
    if isinstance(event, MessageStart):
        wire["message"] = message_to_wire(event.message)
        counters = wire["message"]["usage"]
        counters.setdefault("input_tokens", 0)
        counters.setdefault("output_tokens", 0)
    elif isinstance(event, MessageDelta):
        wire["usage"] = usage_to_wire(event.usage, cost) if event.usage is not None else {}
        wire["usage"].setdefault("output_tokens", 0)
    return wire

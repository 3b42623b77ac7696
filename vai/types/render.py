"""Wire objects -> JSON values, with usage under both of its names.

Clients of the Messages API read `cache_read_input_tokens`; VAI's own contract has
`cache_read_tokens`. VAI writes both, so that either kind of client finds its own.
"""

from __future__ import annotations

from typing import Any

from vai.types.base import to_wire
from vai.types.catalogue import CostFunction
from vai.types.events import Event, MessageDelta, MessageStart
from vai.types.message import Message, Usage

__all__ = [
    "event_to_wire",
    "message_to_wire",
    "usage_to_wire",
    "vai_counters",
    "without_vai_counters",
]

_VAI_NAMES = {
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}
_VAI_MEMBERS = frozenset({*_VAI_NAMES.values(), "total_tokens", "audio_tokens", "cost_usd"})
"""Members of a usage object that the Messages API does not have."""


def vai_counters(usage: Usage, cost: CostFunction | None = None) -> dict[str, Any]:
    """The members that VAI adds to a usage object: `total_tokens` (input + output), the cache's
    counters under VAI's names, and `cost_usd` where `cost` returns one.
    """
    wire: dict[str, Any] = {}
    for theirs, ours in _VAI_NAMES.items():
        value = getattr(usage, theirs)
        if value is not None:
            wire[ours] = value
    if usage.input_tokens is not None and usage.output_tokens is not None:
        wire["total_tokens"] = usage.input_tokens + usage.output_tokens
    usd = cost(usage) if cost is not None else None
    if usd is not None:
        wire["cost_usd"] = usd
    return wire


def without_vai_counters(wire: dict[str, Any]) -> dict[str, Any]:
    """A usage object without VAI's additions, for a `message_start`.

    Clients keep an unknown member of `message_start.usage`, and overwrite only those they know
    with the totals of `message_delta`: a total there would stay for good.
    """
    return {name: value for name, value in wire.items() if name not in _VAI_MEMBERS}


def usage_to_wire(usage: Usage, cost: CostFunction | None = None) -> dict[str, Any]:
    """The counters that are known, the API's and VAI's own (`vai_counters`)."""
    wire: dict[str, Any] = {}
    for name in ("input_tokens", "output_tokens", *_VAI_NAMES):
        value = getattr(usage, name)
        if value is not None:
            wire[name] = value
    if usage.thinking_tokens is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.thinking_tokens}
    return wire | vai_counters(usage, cost) | usage.extra


def message_to_wire(message: Message, cost: CostFunction | None = None) -> dict[str, Any]:
    """A complete response."""
    wire: dict[str, Any] = to_wire(message)
    wire["usage"] = usage_to_wire(message.usage, cost)
    wire.setdefault("stop_sequence", None)  # the API always sends it
    return wire


def event_to_wire(event: Event, cost: CostFunction | None = None) -> dict[str, Any]:
    """One event of a stream. Both totals of `message_delta` are always written.

    Only `message_delta` carries VAI's additions to the usage (see `without_vai_counters`).

    Strict clients refuse a `message_delta` without `output_tokens` and a `message_start`
    without both counters, so an unreported counter is written as 0 there.
    """
    wire: dict[str, Any] = to_wire(event)
    if isinstance(event, MessageStart):
        wire["message"] = message_to_wire(event.message)
        counters = without_vai_counters(wire["message"]["usage"])
        wire["message"]["usage"] = counters
        counters.setdefault("input_tokens", 0)
        counters.setdefault("output_tokens", 0)
    elif isinstance(event, MessageDelta):
        wire["usage"] = usage_to_wire(event.usage, cost) if event.usage is not None else {}
        wire["usage"].setdefault("output_tokens", 0)
    return wire

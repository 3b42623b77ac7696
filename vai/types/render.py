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

_VAI_MEMBERS = frozenset(
    {"cache_read_tokens", "cache_write_tokens", "total_tokens", "audio_tokens", "cost_usd"}
)
"""Members of a usage object that the Messages API does not have."""


def vai_counters(usage: Usage, cost: CostFunction | None = None) -> dict[str, Any]:
    """The members that VAI adds to a usage object: `total_tokens` (input + output), the cache's
    counters under VAI's names, and `cost_usd` where `cost` returns one.
    """
    wire: dict[str, Any] = {}
    if usage.cache_read_input_tokens is not None:
        wire["cache_read_tokens"] = usage.cache_read_input_tokens
    if usage.cache_creation_input_tokens is not None:
        wire["cache_write_tokens"] = usage.cache_creation_input_tokens
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
    # Written out for speed: every translated response is rendered here.
    wire: dict[str, Any] = {}
    if usage.input_tokens is not None:
        wire["input_tokens"] = usage.input_tokens
    if usage.output_tokens is not None:
        wire["output_tokens"] = usage.output_tokens
    if usage.cache_read_input_tokens is not None:
        wire["cache_read_input_tokens"] = usage.cache_read_input_tokens
    if usage.cache_creation_input_tokens is not None:
        wire["cache_creation_input_tokens"] = usage.cache_creation_input_tokens
    if usage.thinking_tokens is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.thinking_tokens}
    wire.update(vai_counters(usage, cost))
    wire.update(usage.extra)
    return wire


def message_to_wire(message: Message, cost: CostFunction | None = None) -> dict[str, Any]:
    """A complete response."""
    # Written out for speed, in the order of the fields: every translated response is rendered here.
    wire: dict[str, Any] = {
        "type": "message",
        "id": message.id,
        "role": message.role,
        "model": message.model,
        "content": to_wire(message.content),
        "stop_reason": message.stop_reason,
    }
    if message.stop_sequence is not None:
        wire["stop_sequence"] = message.stop_sequence
    if message.stop_details is not None:
        wire["stop_details"] = message.stop_details
    wire["usage"] = usage_to_wire(message.usage, cost)
    if message.metadata is not None:
        wire["metadata"] = message.metadata
    wire.update(message.extra)
    wire.setdefault("stop_sequence", None)  # the API always sends it
    return wire


def event_to_wire(event: Event, cost: CostFunction | None = None) -> dict[str, Any]:
    """One event of a stream. Both totals of `message_delta` are always written.

    Only `message_delta` carries VAI's additions to the usage (see `without_vai_counters`).

    Strict clients refuse a `message_delta` without `output_tokens` and a `message_start`
    without both counters, so an unreported counter is written as 0 there.
    """
    # The message and the usage are rendered once, by the functions above.
    if type(event) is MessageStart:
        message = message_to_wire(event.message)
        counters = message["usage"] = without_vai_counters(message["usage"])
        counters.setdefault("input_tokens", 0)
        counters.setdefault("output_tokens", 0)
        return {"type": "message_start", "message": message, **event.extra}
    if type(event) is MessageDelta:
        wire: dict[str, Any] = {"type": "message_delta", "delta": to_wire(event.delta)}
        if event.usage is not None:
            wire["usage"] = usage_to_wire(event.usage, cost)
        wire.update(event.extra)
        wire.setdefault("usage", {}).setdefault("output_tokens", 0)
        return wire
    rendered: dict[str, Any] = to_wire(event)
    return rendered

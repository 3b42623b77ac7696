"""The parts of a Responses response that VAI reads.

The decoder skips members without a name here: the last event repeats the whole response, of which
VAI needs only the end. Where the form of a member depends on the event its type is `Any`, and the
code that reads it checks.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ResponseObject",
    "ResponsesUsage",
    "StreamEvent",
    "decode_body",
    "decode_event",
    "decode_output",
]


class InputDetails(msgspec.Struct, gc=False):
    """Parts of `input_tokens`."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None


class OutputDetails(msgspec.Struct, gc=False):
    """Parts of `output_tokens`."""

    reasoning_tokens: Any = None


class ResponsesUsage(msgspec.Struct, gc=False):
    """Tokens as Responses counts them: `input_tokens` includes cached ones.

    The counters have no type here, so that an invalid one does not invalidate the response.
    """

    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class Incomplete(msgspec.Struct, gc=False):
    """Why a response was cut."""

    reason: str | None = None


class ResponseObject(msgspec.Struct, gc=False):
    """The response as its first and last events describe it; its content is left undecoded."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    error: Any = None
    incomplete_details: Incomplete | None = None
    usage: ResponsesUsage | None = None
    service_tier: str | None = None
    tool_usage: Any = None
    output: msgspec.Raw | None = None
    output_text: Any = None
    message: Any = None


class StreamEvent(msgspec.Struct, gc=False):
    """One event."""

    type: str = ""
    delta: Any = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    item: Any = None
    part: Any = None
    annotation: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    response: ResponseObject | None = None
    error: Any = None


# Not strict: some servers quote their numbers.
decode_event = msgspec.json.Decoder(StreamEvent, strict=False).decode
decode_body = msgspec.json.Decoder(ResponseObject, strict=False).decode
decode_output = msgspec.json.Decoder().decode

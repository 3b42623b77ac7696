"""The interface of an adapter: a pure translation between VAI's types and one wire format.

Invariants: no sockets, no clock, no environment, no logging, no randomness
and no credential. An adapter serves one exchange, so its decoder may keep state between
chunks. The folders of wire formats never import each other; what they share is in `decode` and
`translate` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vai.errors import UpstreamFault
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.provider import AuthStyle, Capabilities, ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["Adapter", "AuthStyle", "Capabilities", "ProviderSpec", "WireRequest"]


class Adapter(Protocol):
    """Translate one exchange with one provider.

    Failures of a stream are values, not exceptions: `feed_bytes` and `end_stream` return what was
    complete before the failure and set `fault`; after that they return nothing.
    """

    @property
    def usage(self) -> Usage:
        """The usage that the upstream has reported so far; running totals."""
        ...

    dropped: list[str]
    """JSON paths of optional request fields that the target cannot express."""

    @property
    def ended_early(self) -> bool:
        """Whether the adapter completed the response before the upstream ended it."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the response is complete: the adapter has returned its closing events."""
        ...

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed; None until it fails."""
        ...

    @property
    def next_request(self) -> WireRequest | None:
        """A further request that continues this response, once the last body has ended.

        Set after `parse_message` returned None, or after `end_stream` without `is_complete` and
        without `fault`; the exchange sends it and feeds its response to the same adapter.
        """
        ...

    def build_request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request.

        Raises:
            InvalidRequest: the format cannot express required parts; the message names all.
        """
        ...

    def parse_message(self, body: bytes, /) -> Message | None:
        """The response to an unstreamed request; None when `next_request` continues it.

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        ...

    def feed_bytes(self, data: bytes, /) -> list[Event]:
        """Decode more bytes of the streamed response; return the events that are complete now.

        The events do not depend on how the bytes are split.
        """
        ...

    def end_stream(self) -> list[Event]:
        """End the body: return the closing events, or set `fault` if the body was cut."""
        ...

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        ...

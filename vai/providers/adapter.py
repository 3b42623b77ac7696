"""What a provider's adapter is: a pure translator between VAI's words and one wire format.

Invariants: no sockets, no clock, no environment, no logging, no randomness
and no credential. An adapter is built for one exchange, fed, and dropped, so a decoder
may keep state between chunks. Folders of providers never import each other; what they
share lies beside this file.
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
        """What the upstream has reported so far; running totals."""
        ...

    dropped: list[str]
    """JSON paths of optional request fields that the target cannot express."""

    @property
    def ended_early(self) -> bool:
        """Whether the answer was completed here while the upstream still has more to say."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the answer is complete: its closing events have been returned."""
        ...

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed, once it has."""
        ...

    @property
    def next_request(self) -> WireRequest | None:
        """A further request that continues this answer, once the last body has ended.

        Set after `parse_message` returned None, or after `end_stream` without `is_complete` and
        without `fault`; the conductor sends it and gives its answer to the same adapter.
        """
        ...

    def build_request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request.

        Raises:
            InvalidRequest: something that matters cannot be expressed; all problems are named.
        """
        ...

    def parse_message(self, body: bytes, /) -> Message | None:
        """The answer of a request that was not streamed; None when it goes on (`next_request`).

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        ...

    def feed_bytes(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now.

        Any chop of the bytes gives the same events.
        """
        ...

    def end_stream(self) -> list[Event]:
        """The upstream closed the body: the closing events, or a fault if it was cut."""
        ...

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        ...

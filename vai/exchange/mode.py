"""The exchange's view of a mode: how to read the bytes of an attempt.

Invariants: a mode is pure and built for one attempt. It decides what to send, reads the bytes
received, and determines when the response is complete. The exchange decides when to send and how
long to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

from vai.errors import UpstreamFault
from vai.types.message import Usage
from vai.types.provider import WireRequest

__all__ = ["ExchangeMode", "is_page"]

_PAGES: Final = ("text/html", "application/xhtml+xml")

T_co = TypeVar("T_co", covariant=True)


def is_page(media_type: str) -> bool:
    """Whether a body of this media type is a page of something between VAI and the provider.

    Servers label responses as text, as bytes, or not at all, so VAI inspects all other bodies.
    """
    return media_type in _PAGES


class ExchangeMode(Protocol[T_co]):
    """Verbatim or translated; its batches are what the client receives."""

    @property
    def is_verbatim(self) -> bool:
        """Whether the upstream's own bytes, headers included, go back to the client."""
        ...

    @property
    def dropped_fields(self) -> list[str]:
        """JSON paths of request fields that the target does not accept."""
        ...

    @property
    def is_streaming(self) -> bool:
        """Whether the client requested a stream."""
        ...

    @property
    def usage(self) -> Usage:
        """The usage so far, as far as it is known."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once it is known."""
        ...

    @property
    def has_content(self) -> bool:
        """Whether content has arrived: a first delta, a block that opens with some, or the end of
        an empty response. Until then `feed_stream` and `end_stream` hold the beginning back."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the response is complete."""
        ...

    @property
    def ended_early(self) -> bool:
        """Whether the response is complete although the upstream still sends."""
        ...

    @property
    def forwarded_error(self) -> UpstreamFault | None:
        """The error that ended the upstream's response, once VAI has forwarded it unchanged."""
        ...

    @property
    def stream_error(self) -> UpstreamFault | None:
        """Why the stream failed, if it failed and the client has not received the error yet."""
        ...

    @property
    def continuation(self) -> WireRequest | None:
        """A further request that continues the response, once a body has ended before its end."""
        ...

    @property
    def upstream_request(self) -> WireRequest:
        """The upstream request."""
        ...

    def accepts_media_type(self, media_type: str) -> bool:
        """Whether a response may be a body of this media type, judging by the header."""
        ...

    def parse_rejection(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamFault:
        """The error that a response with an error status stands for."""
        ...

    def forward_rejection(self, fault: UpstreamFault, body: bytes) -> T_co:
        """A rejection as the client receives it: the upstream's own bytes, where clients of that
        API understand them; else this raises `fault`."""
        ...

    def decode_json_body(self, body: bytes) -> T_co | None:
        """A complete JSON response; None when it continues (`continuation`).

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        ...

    def feed_stream(self, data: bytes) -> T_co | None:
        """More of a streamed response; returns what the client can receive now."""
        ...

    def end_stream(self) -> T_co | None:
        """The upstream closed the stream."""
        ...

    def release_held(self) -> T_co | None:
        """The beginning that was held back, None where nothing was; from now on nothing is."""
        ...

    def estimate_usage(self) -> Usage:
        """The probable usage, from the text seen; for counters that never arrived."""
        ...

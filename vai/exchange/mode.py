"""What the exchange knows of a mode: how its bytes are read.

Invariants: a mode is pure and built for one attempt. It decides what to send, takes
what comes, and knows when the response is complete; when to send and how long to wait is the
conductor's.
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
    """Whether a body of this media type is a page of something that stands before the provider.

    Servers label responses as text, as bytes, or not at all, so that any other body is looked at.
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
        """JSON paths of request fields that the target could not take."""
        ...

    @property
    def is_streaming(self) -> bool:
        """Whether the client requested a stream."""
        ...

    @property
    def usage(self) -> Usage:
        """What has been used so far, as far as it is known."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once it is known."""
        ...

    @property
    def has_content(self) -> bool:
        """Whether content has come: a first delta, a block that opens with some, or the end of an
        response without any. Until then `feed_stream` and `end_stream` hold the beginning back."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the response is complete."""
        ...

    @property
    def ended_early(self) -> bool:
        """Whether the response is complete while the upstream still has more to say."""
        ...

    @property
    def forwarded_error(self) -> UpstreamFault | None:
        """The error that ended the upstream's response, once it was passed on as it was."""
        ...

    @property
    def stream_error(self) -> UpstreamFault | None:
        """Why the stream failed, once it has, and the client must still get the error."""
        ...

    @property
    def continuation(self) -> WireRequest | None:
        """A further request that continues the response, once a body has ended without its end."""
        ...

    @property
    def upstream_request(self) -> WireRequest:
        """The upstream request."""
        ...

    def accepts_media_type(self, media_type: str) -> bool:
        """Whether a response may be a body of this media type, as far as the header shows."""
        ...

    def parse_rejection(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamFault:
        """What a response with an error status means."""
        ...

    def forward_rejection(self, fault: UpstreamFault, body: bytes) -> T_co:
        """A rejection as the client gets it: the upstream's own words, where the client's
        clients know them, or `fault`, raised."""
        ...

    def decode_json_body(self, body: bytes) -> T_co | None:
        """A JSON response, complete; None when it goes on (`continuation`).

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        ...

    def feed_stream(self, data: bytes) -> T_co | None:
        """More of a streamed response: what the client can have now."""
        ...

    def end_stream(self) -> T_co | None:
        """The upstream closed the stream."""
        ...

    def release_held(self) -> T_co | None:
        """The beginning that was held back, None where nothing was; nothing is from now on."""
        ...

    def estimate_usage(self) -> Usage:
        """What was probably used, from what went through; for counters that never came."""
        ...

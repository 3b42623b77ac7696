"""What the conductor knows of a mode: how an exchange's bytes are read.

Invariants: a mode is pure and built for one attempt. It says what to send, takes
what comes, and knows when the answer is complete; when to send and how long to wait is the
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

    Servers label answers as text, as bytes, or not at all, so that any other body is looked at.
    """
    return media_type in _PAGES


class ExchangeMode(Protocol[T_co]):
    """Verbatim or translated; its batches are what the caller is handed."""

    @property
    def is_verbatim(self) -> bool:
        """Whether the upstream's own words, headers included, go back to the caller."""
        ...

    @property
    def dropped_fields(self) -> list[str]:
        """JSON paths of request fields that the target could not take."""
        ...

    @property
    def is_streaming(self) -> bool:
        """Whether the caller asked for a stream."""
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
        answer without any. Until then `feed` and `end` hold the beginning back."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the answer is complete."""
        ...

    @property
    def ended_early(self) -> bool:
        """Whether the answer is complete while the upstream still has more to say."""
        ...

    @property
    def forwarded_error(self) -> UpstreamFault | None:
        """The error the upstream ended its answer with, once that has been passed on as it was."""
        ...

    @property
    def stream_error(self) -> UpstreamFault | None:
        """Why the stream failed, once it has, and the caller must still be told."""
        ...

    @property
    def continuation(self) -> WireRequest | None:
        """A further request that continues the answer, once a body has ended without its end."""
        ...

    @property
    def upstream_request(self) -> WireRequest:
        """The upstream request."""
        ...

    def accepts_media_type(self, media_type: str) -> bool:
        """Whether an answer may be a body of this media type, as far as the header tells."""
        ...

    def parse_rejection(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamFault:
        """What an answer with an error status means."""
        ...

    def forward_rejection(self, fault: UpstreamFault, body: bytes) -> T_co:
        """A rejection as the caller gets it: the upstream's own words, where the caller's
        clients know them, or `fault`, raised."""
        ...

    def decode_json_body(self, body: bytes) -> T_co | None:
        """A JSON answer, complete; None when it goes on (`following`).

        Raises:
            UpstreamFault: the body is an error, or no answer.
        """
        ...

    def feed_stream(self, data: bytes) -> T_co | None:
        """More of a streamed answer: what the caller can have now."""
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

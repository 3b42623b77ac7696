"""The ports of an exchange: the upstream, the clock, the limits.

Invariants of this ring: it is straight-line async code over these ports; it owns no socket,
reads no environment and holds no credential (the upstream port is already bound to one). asyncio
is its only machinery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from vai.types.message import Usage
from vai.types.provider import WireRequest

__all__ = ["Admission", "Clock", "Lease", "Upstream", "UpstreamResponse"]


class UpstreamResponse(Protocol):
    """An upstream's response whose headers have arrived."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; repeated fields joined with ``, ``."""
        ...

    async def read(self, deadline: float, /) -> bytes:
        """The next piece of the body as received from the upstream, ``b""`` at its end.

        Raises:
            UpstreamTimeout: nothing arrived until `deadline` (a reading of the clock).
            UpstreamBroken: the connection broke before the end of the body.
        """
        ...

    async def relay_body(
        self, sink: Callable[[bytes], bool], pause: float, deadline: float, /
    ) -> None:
        """Call `sink` with each piece as it comes, without waking a task for it.

        It ends when `sink` returns False, and when only `read` can tell what follows: the end of
        the body, a fault, bytes that came before. It may end at once.

        Args:
            pause: seconds within which each piece has to come.
            deadline: until when all of them have to.

        Raises:
            UpstreamTimeout: nothing came for `pause` seconds, or `deadline` is over.
        """
        ...

    def release_connection(self) -> None:
        """End the reading: the content shows that it is complete. The connection may be kept."""
        ...

    def close(self) -> None:
        """End the reading. Unless the body was read to its end, this drops the connection now."""
        ...


class Upstream(Protocol):
    """One provider's server, bound to a credential."""

    async def send_request(
        self, request: WireRequest, /, *, connect_deadline: float, headers_deadline: float
    ) -> UpstreamResponse:
        """Send the request and wait for the response's headers.

        `connect_deadline` bounds the wait for a connection, `headers_deadline` that for the
        headers; both are readings of the clock.

        Raises:
            UpstreamUnreachable: no connection, or it broke before a response.
            UpstreamTimeout: code ``pool_timeout``, ``connect_timeout`` or ``headers_timeout``.
        """
        ...


class Clock(Protocol):
    """A monotonic clock, in seconds; the same one the upstream's deadlines are read on."""

    def __call__(self) -> float: ...


class Lease(Protocol):
    """One of the concurrent exchanges that the limits allow."""

    def settle(self, usage: Usage, /) -> None:
        """Return the lease and charge the usage. Called once, however the exchange ends."""
        ...


class Admission(Protocol):
    """Decides whether one exchange may start now."""

    async def __call__(self, tokens: int, /) -> Lease:
        """Take a lease and reserve `tokens`.

        Raises:
            RateLimited: a limit of the client or of the whole gateway is reached.
            Overloaded: the gateway accepts no new work.
        """
        ...

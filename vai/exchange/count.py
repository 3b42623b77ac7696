"""A count of tokens by the provider: one small request, one small response.

Invariants: counting is a convenience, so no request waits long for it. Whatever an
estimate can stand in for (no such endpoint, a provider that is down, silent or incoherent)
is None; what the client must know (a bad request, a bad key, a limit) comes back as an error. The
connection is released or dropped however the request ends, a cancellation among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from vai.errors import UpstreamFault
from vai.exchange.ports import Clock, Upstream, UpstreamResponse
from vai.policy.timers import Timers
from vai.types.provider import WireRequest

__all__ = ["COUNT_TIMEOUT", "MAX_RESPONSE", "TokenCount", "send_count_request"]

COUNT_TIMEOUT: Final = 10.0
"""Seconds for a count request. A context meter that comes later is of no use."""
MAX_RESPONSE: Final = 1 << 20
"""Bytes of a response that are read. A count has some fifty, an error seldom a thousand."""


class TokenCount(msgspec.Struct, frozen=True):
    """What the provider answered. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def send_count_request(
    wire: WireRequest, upstream: Upstream, *, timers: Timers, clock: Clock
) -> TokenCount | None:
    """The provider's response; None where an estimate has to stand in for it.

    Raises:
        InvalidRequest: a header of the client's cannot be forwarded.
    """
    now = clock()
    until = now + min(COUNT_TIMEOUT, timers.total)
    try:
        response = await upstream.send_request(
            wire, connect_deadline=min(now + timers.connect, until), headers_deadline=until
        )
        count = await _read_response(response, until)
    except UpstreamFault:
        return None
    return None if count is None or _has_no_counter(count.status) else count


async def _read_response(response: UpstreamResponse, until: float) -> TokenCount | None:
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := await response.read(until):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_RESPONSE:
                return None
        return TokenCount(response.status, response.headers, b"".join(pieces))
    finally:
        response.close()  # read to its end it may be kept, else it is dropped


def _has_no_counter(status: int) -> bool:
    """Whether the status says that there is no counter here, or none that works now."""
    # A redirect is never followed: it would carry a key where the settings did not say.
    return status in (404, 405) or status >= 500 or 300 <= status < 400

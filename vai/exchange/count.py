"""A count of tokens by the provider: one small request, one small response.

Invariants: a count is optional, so no request waits long for it. Where an estimate can replace
it (no such endpoint; a provider that is down, silent or incoherent) the result is None; what the
client must know (a bad request, a bad key, a limit) becomes an error. Every end of the request,
a cancellation among them, releases or drops the connection.
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
"""Seconds for a count request. A client's context meter has no use for a later count."""
MAX_RESPONSE: Final = 1 << 20
"""Bytes of a response that VAI reads. A count has some fifty, an error seldom a thousand."""


class TokenCount(msgspec.Struct, frozen=True):
    """The provider's response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def send_count_request(
    wire: WireRequest, upstream: Upstream, *, timers: Timers, clock: Clock
) -> TokenCount | None:
    """The provider's response; None where an estimate has to replace it.

    Raises:
        InvalidRequest: VAI cannot forward one of the client's headers.
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
        response.close()  # the connection may be kept after a complete read, else it is dropped


def _has_no_counter(status: int) -> bool:
    """Whether the status shows that there is no counter here, or none that works now."""
    # VAI never follows a redirect: that would send a key to an address outside the settings.
    return status in (404, 405) or status >= 500 or 300 <= status < 400

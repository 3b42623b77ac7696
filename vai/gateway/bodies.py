"""Request bodies: received after the caller is known, and bounded in size and in number.

Invariants:
- A body that is too large, compressed or one too many is refused by its head alone.
- The bytes that a worker holds are counted from the head of a request to its end, and given
  back once. One body is always let in, so that a bound below the largest body starves nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sanic import Request

from vai.errors import InvalidRequest, Overloaded
from vai.gateway.call import Call
from vai.gateway.repairs.body import ReceivingHttp

__all__ = ["RequestBodies", "held_bytes_bound", "too_large"]

_BASE = 64 << 20
_PER_WORKER = 40 << 20
"""What the group and each of its workers use before any request (measured)."""
_FACTOR = 4
"""Bytes of memory for a byte of body: as it came, parsed, and as it leaves."""
_MOST, _LEAST = 256 << 20, 1 << 20


class RequestBodies:
    """The request bodies of one worker.

    Args:
        largest: bytes of one body.
        most: bytes of all bodies that are held at once.
        freed: called with the size of each body that is given up.
    """

    def __init__(self, largest: int, most: int, freed: Callable[[int], object]) -> None:
        self._largest = min(largest, most)
        self._most = most
        self._freed = freed
        self.held = 0

    async def receive(self, call: Call, request: Request) -> bytes:
        """Read the body of `request` into it; `release` must follow on every way out.

        Raises:
            InvalidRequest: 413 it is too large, 415 it is compressed, 408 it came too slowly.
            Overloaded: 503 ``worker_full``, the worker holds as much as it may.
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise InvalidRequest(
                "Content-Encoding: expected an uncompressed body",
                param="content-encoding",
                status=415,
            )
        http = cast("ReceivingHttp", request.stream)
        size = int(http.request_bytes or 0)
        if size > self._largest:
            raise too_large(self._largest)
        if self.held and self.held + size > self._most:
            raise Overloaded(
                "This worker holds as many request bytes as it may; try again in a moment",
                code="worker_full",
                retry_after=1,
            )
        self.held += size
        call.held_bytes = size
        request.body = await http.receive_body()
        return request.body

    def release(self, call: Call, request: Request) -> None:
        """The request is over: let go of its body."""
        size, call.held_bytes = call.held_bytes, 0
        if size:
            request.body = b""
            self.held -= size
            self._freed(size)


def too_large(largest: int) -> InvalidRequest:
    """The refusal of a body of more than `largest` bytes."""
    return InvalidRequest(
        f"Request body too large: expected at most {largest} bytes",
        status=413,
        type="request_too_large",
    )


def held_bytes_bound(memory: int, workers: int) -> int:
    """Bytes of request bodies that each of `workers` may hold within `memory` bytes."""
    spare = memory - _BASE - workers * _PER_WORKER
    return min(_MOST, max(_LEAST, spare // (workers * _FACTOR)))

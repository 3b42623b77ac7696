"""Request bodies: received after the client is identified, and bounded in size and number.

Invariants:
- The worker refuses a body that is too large, compressed or one too many by its head alone, and
  one of many small objects, which take more memory than they have bytes, before it is parsed.
- The worker counts the bytes that it holds from the head of a request to its end, and releases
  them once. It admits a body that is alone, so that a bound below the largest starves no client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

from vai.errors import InvalidRequest, Overloaded
from vai.gateway.request.context import RequestContext
from vai.gateway.sanic_patches.body import ReceivingHttp
from vai.gateway.sanic_patches.request import PatchedRequest

__all__ = ["Bounds", "RequestBodies", "body_bounds", "body_too_large"]

_BASE = 96 << 20
_PER_WORKER = 74 << 20
"""Bytes that the group uses before any request, and each worker with its helper (measured)."""
_FACTOR = 4
"""Bytes of memory for a byte of body: as received, parsed, in the helper, in transit to and
from it, and as sent (measured)."""
_MOST, _LEAST = 256 << 20, 1 << 20
_SMALL = 64 << 10
"""Bodies of at most so many bytes have a bound of their own: a quarter of that of the others."""
_FAR_APART = 256
"""Bytes from one object to the next from which on `_count_braces` searches for them."""
_PER_OBJECT = 300
"""Bytes that a JSON object counts beside its own. A body may consist of small objects only,
and each of them, parsed and translated, takes up to 900 (measured)."""


class RequestBodies:
    """The request bodies of one worker.

    Args:
        bounds: of one body and of all; a body that is alone is admitted even above the latter.
        freed: called with the size of each body that is released.
    """

    def __init__(self, bounds: Bounds, freed: Callable[[int], object]) -> None:
        self._largest, self._most = bounds
        self._freed = freed
        self.held = 0
        self.held_small = 0

    async def receive_body(self, context: RequestContext, request: PatchedRequest) -> bytes:
        """Read the body of `request` into it; `release_body` must follow on every way out.

        Raises:
            InvalidRequest: 413 it is too large, 415 it is compressed, 408 it arrives too slowly.
            Overloaded: 503 ``worker_full``, the worker holds as much as it may.
        """
        # RFC 9110 8.4.1: names of codings have no case.
        coding = request.header_fields.get("content-encoding", "identity")
        if coding.strip().lower() not in ("", "identity"):
            raise InvalidRequest(
                "Content-Encoding: expected an uncompressed body",
                param="content-encoding",
                status=415,
            )
        http = cast("ReceivingHttp", request.stream)
        size = int(http.request_bytes or 0)
        if size > self._largest:
            raise body_too_large(self._largest)
        self._count_body(size)
        context.held_bytes = size
        request.body = body = await http.receive_body()
        if size > _SMALL:
            self._count_objects(context, _count_braces(body) * _PER_OBJECT)
        return body

    def release_body(self, context: RequestContext, request: PatchedRequest) -> None:
        """Release the body of a request that has ended."""
        size, context.held_bytes = context.held_bytes, 0
        if size:
            request.body = b""
            if size <= _SMALL:
                self.held_small -= size
            else:
                self.held -= size
            self._freed(size)

    def _count_objects(self, context: RequestContext, size: int) -> None:
        """Count the memory that a body takes beyond its bytes; refuse it like a larger body."""
        if context.held_bytes + size > max(self._largest, self._most):
            raise InvalidRequest(
                "body: too large; parsed it takes more memory than this worker has for "
                "requests; expected fewer JSON objects",
                status=413,
                type="request_too_large",
            )
        if self.held > context.held_bytes and self.held + size > self._most:
            raise _worker_full_error()
        self.held += size
        context.held_bytes += size

    def _count_body(self, size: int) -> None:
        """Count a body; small ones separately, so that a few large ones do not exclude them."""
        if size <= _SMALL:
            if self.held_small + size > max(self._most // 4, _SMALL):
                raise _worker_full_error()
            self.held_small += size
        else:
            if self.held and self.held + size > self._most:
                raise _worker_full_error()
            self.held += size


def _count_braces(body: bytes) -> int:
    # `find` skips text six times as fast as `count` reads it; `count` is faster on many objects.
    at, count, most = body.find(b"{"), 0, len(body) // _FAR_APART
    while at >= 0 and count < most:
        count += 1
        at = body.find(b"{", at + 1)
    return count if at < 0 else count + body.count(b"{", at)


def _worker_full_error() -> Overloaded:
    return Overloaded(
        "This worker holds as many request bytes as it may; try again in a moment",
        code="worker_full",
        retry_after=1,
    )


def body_too_large(largest: int) -> InvalidRequest:
    """The error for a body of more than `largest` bytes."""
    return InvalidRequest(
        f"body: too large; expected at most {largest} bytes",
        status=413,
        type="request_too_large",
    )


class Bounds(NamedTuple):
    """Bytes of one body, and of all that a worker holds at once."""

    largest: int
    most: int


def body_bounds(largest: int, most: int, *, memory: int, workers: int) -> Bounds:
    """The bounds of the settings, or those that `memory` bytes allow for `workers`.

    Args:
        largest: bytes of one body, from the settings.
        most: bytes that a worker holds, from the settings; 0 derives it, and then `largest` is
            at most what all workers together may hold.
    """
    if most:
        return Bounds(min(largest, most), most)
    room = (memory - _BASE - workers * _PER_WORKER) // _FACTOR
    return Bounds(min(largest, max(_LEAST, room)), min(_MOST, max(_LEAST, room // workers)))

"""Where a handler's failures end: each becomes one answer, and each request one log line.

Invariants: nothing passes but a cancellation, which Sanic has to see. A defect
costs this request and leaves a trace without its payload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sanic import Request
from sanic.response import HTTPResponse

from vai.errors import InternalError, VaiError
from vai.gateway.request.call import RequestContext
from vai.gateway.request.responses import failure
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic
from vai.io.log import log

__all__ = ["Handler", "answered"]

Handler = Callable[[GatewayService, RequestContext, Request], Awaitable[HTTPResponse | None]]


async def answered(request: Request, handler: Handler) -> HTTPResponse | None:
    """The answer of `handler`, or that of its failure; None when it has been streamed."""
    service: GatewayService = request.app.ctx.service
    call = RequestContext(request)
    began = monotonic()
    try:
        if not service.turns.is_open():
            await service.turns.wait()
        return await handler(service, call, request)
    except VaiError as error:
        return failure(error, call)
    except asyncio.CancelledError:
        call.status = 499
        raise
    except Exception as error:  # noqa: BLE001  the boundary of one request
        log.opt(exception=error).error("request {} failed", call.request_id)
        if call.stream and call.status == 200:  # it has been told inside of the stream
            return None
        return failure(InternalError(), call)
    finally:
        service.bodies.release(call, request)
        _write_line(service, call, monotonic() - began)


def _write_line(service: GatewayService, call: RequestContext, duration: float) -> None:
    try:
        service.requests.write(call.log_line(duration))
    except Exception as error:  # noqa: BLE001  the answer stands, whatever its line failed of
        log.opt(exception=error).error("no line for request {}", call.request_id)

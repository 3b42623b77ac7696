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
from vai.gateway.request.context import RequestContext
from vai.gateway.request.responses import make_error_response
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic
from vai.io.log import log

__all__ = ["Handler", "answer_request"]

Handler = Callable[[GatewayService, RequestContext, Request], Awaitable[HTTPResponse | None]]


async def answer_request(request: Request, handler: Handler) -> HTTPResponse | None:
    """The answer of `handler`, or that of its failure; None when it has been streamed."""
    service: GatewayService = request.app.ctx.service
    context = RequestContext(request)
    began = monotonic()
    try:
        if not service.turn_gate.try_start():
            await service.turn_gate.wait_for_turn()
        return await handler(service, context, request)
    except VaiError as error:
        return make_error_response(error, context)
    except asyncio.CancelledError:
        context.status = 499
        raise
    except Exception as error:  # noqa: BLE001  the boundary of one request
        log.opt(exception=error).error("request {} failed", context.request_id)
        if context.stream and context.status == 200:  # it has been told inside of the stream
            return None
        return make_error_response(InternalError(), context)
    finally:
        service.bodies.release_body(context, request)
        _write_line(service, context, monotonic() - began)


def _write_line(service: GatewayService, context: RequestContext, duration: float) -> None:
    try:
        service.request_log.write(context.make_log_line(duration))
    except Exception as error:  # noqa: BLE001  the answer stands, whatever its line failed of
        log.opt(exception=error).error("no line for request {}", context.request_id)

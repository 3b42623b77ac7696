"""Where failures end: each becomes one response, and each request one log line.

A handler's are met by `answer_request`; those of requests that reach no handler (unknown path,
wrong method, body too large) by Sanic's error handler, which `install_error_handler` replaces.

Invariants: nothing passes but a cancellation, which Sanic has to see. A defect
costs this request and leaves a trace without its payload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sanic import Request, Sanic
from sanic.exceptions import (
    MethodNotAllowed,
    PayloadTooLarge,
    RequestCancelled,
    RequestTimeout,
    SanicException,
)
from sanic.exceptions import (
    NotFound as SanicNotFound,
)
from sanic.handlers import ErrorHandler
from sanic.response import HTTPResponse

from vai.errors import ClientFault, ClientLeft, InternalError, InvalidRequest, VaiError
from vai.gateway.admission.controller import drain_error
from vai.gateway.request.bodies import body_too_large
from vai.gateway.request.context import RequestContext
from vai.gateway.request.endpoints import method_not_allowed, path_not_found
from vai.gateway.request.responses import make_error_response
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic
from vai.io.log import log

__all__ = ["DRAIN_ERRORS", "Handler", "answer_request", "install_error_handler"]

Handler = Callable[[GatewayService, RequestContext, Request], Awaitable[HTTPResponse | None]]


async def answer_request(request: Request, handler: Handler) -> HTTPResponse | None:
    """The response of `handler`, or that of its failure; None when it has been streamed."""
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
        if context.stream and context.status == 200:  # the stream itself carries the error
            return None
        return make_error_response(InternalError(), context)
    finally:
        service.bodies.release_body(context, request)
        _write_line(service, context, monotonic() - began)


def _write_line(service: GatewayService, context: RequestContext, duration: float) -> None:
    try:
        service.request_log.write(context.make_log_line(duration))
    except Exception as error:  # noqa: BLE001  the response stands, whatever its line failed of
        log.opt(exception=error).error("no line for request {}", context.request_id)


class _DrainErrors:
    """Within it, the drain's cancellation of a request becomes the error that the client gets;
    any other cancellation passes."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, cancelled: BaseException | None, __: object) -> None:
        if isinstance(cancelled, asyncio.CancelledError):
            error = drain_error(cancelled)
            if error is not None:
                raise error from None


DRAIN_ERRORS: Final = _DrainErrors()


def install_error_handler(app: Sanic[Any, Any]) -> None:
    """The error response, in VAI's schema, to what no handler has responded to."""
    app.error_handler = _SanicErrorHandler()


class _SanicErrorHandler(ErrorHandler):
    """The only handler of uncaught exceptions."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        error = _to_vai_error(request, exception)
        if isinstance(error, InternalError):
            log.opt(exception=exception).error("request failed outside of its handler")
        response = make_error_response(error, RequestContext(request))
        if isinstance(exception, MethodNotAllowed) and error.status == 405:
            response.headers["allow"] = ", ".join(sorted(exception.allowed_methods or ()))
        return response

    @staticmethod
    def log(request: Request, exception: Exception) -> None:
        """Nothing: Sanic would write the exception's text, which may quote the request."""


def _to_vai_error(request: Request, exception: Exception) -> VaiError:
    if isinstance(exception, VaiError):
        return exception
    if isinstance(exception, SanicNotFound):
        return path_not_found(request.path)
    if isinstance(exception, MethodNotAllowed):
        return method_not_allowed(request.method, request.path, exception.allowed_methods or ())
    if isinstance(exception, PayloadTooLarge):
        return body_too_large(request.app.config.REQUEST_MAX_SIZE)
    if isinstance(exception, RequestCancelled):
        return ClientLeft("The client closed the connection")
    if isinstance(exception, RequestTimeout):
        return InvalidRequest(
            "The request's head did not arrive in time; expected all of it at once", status=408
        )
    status = exception.status_code if isinstance(exception, SanicException) else 500
    if 400 <= status < 500:
        return ClientFault("The request cannot be understood as HTTP", status=status)
    return InternalError()

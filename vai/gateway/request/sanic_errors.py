"""Sanic's own refusals in VAI's error schema: unknown path, wrong method, body too large."""

from __future__ import annotations

from typing import Any

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
from vai.gateway.request.bodies import too_large
from vai.gateway.request.context import RequestContext
from vai.gateway.request.endpoints import not_allowed, not_found
from vai.gateway.request.responses import make_error_response
from vai.io.log import log

__all__ = ["install"]


def install(app: Sanic[Any, Any]) -> None:
    """Answer whatever no handler has answered."""
    app.error_handler = _Handler()


class _Handler(ErrorHandler):
    """The only handler of uncaught exceptions."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        error = _translate(request, exception)
        if isinstance(error, InternalError):
            log.opt(exception=exception).error("request failed outside of its handler")
        response = make_error_response(error, RequestContext(request))
        if isinstance(exception, MethodNotAllowed) and error.status == 405:
            response.headers["allow"] = ", ".join(sorted(exception.allowed_methods or ()))
        return response

    @staticmethod
    def log(request: Request, exception: Exception) -> None:
        """Nothing: Sanic would write the exception's text, which may quote the request."""


def _translate(request: Request, exception: Exception) -> VaiError:
    if isinstance(exception, VaiError):
        return exception
    if isinstance(exception, SanicNotFound):
        return not_found(request.path)
    if isinstance(exception, MethodNotAllowed):
        return not_allowed(request.method, request.path, exception.allowed_methods or ())
    if isinstance(exception, PayloadTooLarge):
        return too_large(request.app.config.REQUEST_MAX_SIZE)
    if isinstance(exception, RequestCancelled):
        return ClientLeft("The caller closed the connection")
    if isinstance(exception, RequestTimeout):
        return InvalidRequest(
            "The request's head did not arrive in time; expected all of it at once", status=408
        )
    status = exception.status_code if isinstance(exception, SanicException) else 500
    if 400 <= status < 500:
        return ClientFault("The request cannot be understood as HTTP", status=status)
    return InternalError()

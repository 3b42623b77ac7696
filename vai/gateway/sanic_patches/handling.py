"""The way from a request to its response, where the route is a handler and nothing else.

Sanic's own function also runs middleware, dispatches signals, receives bodies and accepts other
results. It takes thousands of instructions to find that a route has none of them.
"""

from __future__ import annotations

from typing import Any

from sanic import Sanic
from sanic.exceptions import SanicException, ServerError
from sanic.response import BaseHTTPResponse

from vai.gateway.sanic_patches.request import PatchedRequest

__all__ = ["handle_request"]


async def handle_request(request: PatchedRequest) -> None:
    """Run the handler of a route that reads its body itself, and send the response; all other
    requests are for Sanic's own function.

    Sanic's signals about a handler and its response are not dispatched.
    """
    app: Sanic[Any, Any] = request.app
    try:
        route, handler, arguments = app.router.get(
            request.path, request.method, request.header_fields.get("host")
        )
    except SanicException:  # no such path, or no such method
        route = None
    if route is None or arguments or _has_more_than_a_handler(app, route, handler):
        await app.handle_request(request)
        return
    request.route = route
    try:
        response = await handler(request)
        http: Any = request.stream
        if response is None:  # it has been streamed
            response = http.response
        elif isinstance(response, BaseHTTPResponse):
            http.respond(response)
            request.responded = True
        if not isinstance(response, BaseHTTPResponse):
            raise ServerError(f"Invalid response type {response!r} (need HTTPResponse)")
        await response.send(end_stream=True)
    except Exception as error:  # noqa: BLE001  Sanic makes a response of it
        await app.handle_exception(request, error, run_middleware=False)


def _has_more_than_a_handler(app: Sanic[Any, Any], route: Any, handler: Any) -> bool:
    extra = route.extra
    middleware = extra.request_middleware or extra.response_middleware or app.response_middleware
    return bool(middleware) or not hasattr(handler, "is_stream")

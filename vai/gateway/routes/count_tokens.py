"""``POST /v1/messages/count_tokens``, for every model.

prepared request -> target -> admission -> the provider's counter -> else an estimate.
``X-VAI-Tokens`` says which of the two it was, ``exact`` or ``estimated``; the body is what the
Messages API promises and no more. It is a request like any other, of no tokens.
"""

from __future__ import annotations

import orjson
from sanic import Request
from sanic.response import HTTPResponse

from vai.exchange.count import TokenCount
from vai.gateway.request.context import RequestContext
from vai.gateway.request.counts import CountResult, count_request
from vai.gateway.request.errors import DRAIN_ERRORS, answer_request
from vai.gateway.request.responses import GatewayResponse, content_type_of, make_headers
from vai.gateway.service import GatewayService
from vai.types.message import Usage

__all__ = ["count_tokens"]

_NO_USAGE = Usage(input_tokens=0, output_tokens=0)


async def count_tokens(request: Request) -> HTTPResponse | None:
    """Respond to one request."""
    return await answer_request(request, _serve_count)


async def _serve_count(
    service: GatewayService, context: RequestContext, request: Request
) -> HTTPResponse:
    prepared = await service.prepare_request(context, request, for_count=True)
    route = context.route = prepared.routes[0]
    destination = service.choose_destination(route, prepared.byok_keys)
    target = service.prepare_target(context, prepared.body.fields, route, destination)
    context.enter_target(target)
    lease = await service.admission_for(context)(0)
    try:
        with DRAIN_ERRORS:
            result = await count_request(service, context, prepared, target, destination.upstream)
    finally:
        lease.settle(_NO_USAGE)
    if result.response is not None:
        return _pass_on(context, result.response)
    return _write_count(context, result)


def _pass_on(context: RequestContext, response: TokenCount) -> HTTPResponse:
    """The provider's own response, not a byte of it changed."""
    headers = make_headers(context, response.headers)
    if response.status < 400:
        headers["x-vai-tokens"] = "exact"
    context.status = response.status
    content_type = content_type_of(response.status, response.headers)
    return GatewayResponse(response.body, response.status, headers, content_type)


def _write_count(context: RequestContext, result: CountResult) -> HTTPResponse:
    context.status = 200
    headers = make_headers(context)
    headers["x-vai-tokens"] = "exact" if result.is_exact else "estimated"
    body = orjson.dumps({"input_tokens": result.tokens})
    return GatewayResponse(body, 200, headers, "application/json")

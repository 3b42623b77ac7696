"""``POST /v1/messages/count_tokens``, for every model.

identity -> body -> envelope -> route -> destination -> the provider's counter -> else an estimate.
``X-VAI-Tokens`` says which of the two it was, ``exact`` or ``estimated``; the body is what the
Messages API promises and no more. It is a request like any other, of no tokens.
"""

from __future__ import annotations

import asyncio

import orjson
from sanic import Request
from sanic.response import HTTPResponse

from vai.errors import UpstreamBroken
from vai.exchange.count import TokenCount, send_count_request
from vai.gateway.admission.controller import drain_error
from vai.gateway.request.context import RequestContext
from vai.gateway.request.counts import estimate_all, estimate_tools, make_question
from vai.gateway.request.errors import answer_request
from vai.gateway.request.preparing import ParsedBody
from vai.gateway.request.responses import GatewayResponse, make_headers
from vai.gateway.service import GatewayService, UpstreamDestination
from vai.io.clock import monotonic
from vai.policy.error_attribution import UPSTREAM_AUTH, hide_gateway_key_error
from vai.policy.route import Route
from vai.providers.anthropic.verbatim import is_passed_on
from vai.providers.counting import CountRequest
from vai.providers.registry import spec_for_input
from vai.types.message import Usage

__all__ = ["count_tokens"]

_NOTHING = Usage(input_tokens=0, output_tokens=0)


async def count_tokens(request: Request) -> HTTPResponse | None:
    """Answer one request."""
    return await answer_request(request, _serve)


async def _serve(
    service: GatewayService, context: RequestContext, request: Request
) -> HTTPResponse:
    service.identify_client(context, request.headers)
    await service.bodies.receive_body(context, request)
    opened = await service.preparer.parse_body(request.body)
    envelope = opened.fields
    context.route = service.find_route(envelope.model)
    brought = service.collect_byok_keys(request.headers, envelope.provider_keys, (context.route,))
    destination = service.choose_destination(context.route, brought)
    context.is_simulated, context.is_byok = destination.is_simulated, destination.is_byok
    lease = await service.admission_for(context)(0)
    try:
        return await _count(service, context, request, opened, destination)
    except asyncio.CancelledError as cancelled:
        expired = drain_error(cancelled)
        if expired is None:
            raise
        raise expired from None
    finally:
        lease.settle(_NOTHING)


async def _count(
    service: GatewayService,
    context: RequestContext,
    request: Request,
    opened: ParsedBody,
    way: UpstreamDestination,
) -> HTTPResponse:
    route, run = _routed(context), service.preparer.run_work
    spec = spec_for_input(route.spec, service.find_terms(route, streamed=False).input)
    asked, is_verbatim = await run(make_question, opened, request, route, spec, context.exchange_id)
    if asked is not None:
        told = await send_count_request(
            asked.wire, way.upstream, timers=service.timers, clock=monotonic
        )
        if told is not None and told.status >= 400:
            fault = asked.error(told.status, told.headers, told.body)
            if not way.is_byok:
                fault = hide_gateway_key_error(fault)
            service.note_failure(context, fault, asked.wire.target)
            if not is_verbatim or fault.code == UPSTREAM_AUTH or not is_passed_on(told.body, fault):
                raise fault
            context.error = fault
            return _passed_on(context, told)
        tokens = _count_of(asked, told)
        if tokens is not None and told is not None:
            if is_verbatim:
                return _passed_on(context, told)
            if not asked.whole:
                tokens += await run(estimate_tools, opened, request, route)
            return _answer(context, tokens, exact=asked.whole)
    return _answer(context, await run(estimate_all, opened, request, route), exact=False)


def _count_of(asked: CountRequest, told: TokenCount | None) -> int | None:
    """The count in a provider's answer, None where there is none in it."""
    if told is None:
        return None
    try:
        return asked.read(told.body)
    except UpstreamBroken:
        return None


def _passed_on(context: RequestContext, told: TokenCount) -> HTTPResponse:
    """The provider's own answer, not a byte of it changed."""
    headers = make_headers(context, told.headers)
    if told.status < 400:
        headers["x-vai-tokens"] = "exact"
    context.status = told.status
    kind = "application/json"
    if told.status >= 400:  # an error page before the provider is no JSON
        kind = told.headers.get("content-type", kind)
    return GatewayResponse(told.body, told.status, headers, kind)


def _routed(context: RequestContext) -> Route:
    if context.route is None:
        raise RuntimeError("a request is counted after it has been routed")
    return context.route


def _answer(context: RequestContext, tokens: int, *, exact: bool) -> HTTPResponse:
    context.status = 200
    headers = make_headers(context) | {"x-vai-tokens": "exact" if exact else "estimated"}
    return GatewayResponse(orjson.dumps({"input_tokens": tokens}), 200, headers, "application/json")

"""``POST /v1/messages/count_tokens``, for every model.

prepared request -> target -> admission -> the provider's counter -> else an estimate.
``X-VAI-Tokens`` states which of the two the count is, ``exact`` or ``estimated``; the body has the
members of the Messages API only. The limits count it as a request of 0 tokens.

`count_request` decides; the rest is work on a body, which may run in the helper process (see
`vai.gateway.request.preparing`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import orjson
from sanic.response import HTTPResponse

from vai.codec.routing_fields import RoutingFields
from vai.errors import UpstreamBroken
from vai.exchange.count import TokenCount, send_count_request
from vai.exchange.ports import Upstream
from vai.gateway.request.context import RequestContext
from vai.gateway.request.errors import DRAIN_ERRORS, answer_request
from vai.gateway.request.modes import (
    PreparedTarget,
    join_headers,
    make_verbatim_request,
    needs_rewriting,
    parse_message_request,
)
from vai.gateway.request.preparing import PreparedRequest, ReceivedRequest
from vai.gateway.request.responses import GatewayResponse, content_type_of, make_headers
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic
from vai.policy.error_attribution import UPSTREAM_AUTH, hide_gateway_key_error
from vai.policy.estimate import request_tokens
from vai.providers.anthropic.count import count_target, is_counted
from vai.providers.anthropic.verbatim import is_passed_on
from vai.providers.counting import CountRequest, build_count_request
from vai.providers.decode.upstream_errors import fault_from_response
from vai.providers.registry import spec_for_input
from vai.types.message import Usage

if TYPE_CHECKING:
    from vai.gateway.request.context import RequestContext
    from vai.gateway.sanic_patches.request import PatchedRequest

__all__ = [
    "CountResult",
    "count_request",
    "count_tokens",
    "estimate_all",
    "estimate_tools",
    "make_count_request",
]


class CountResult(msgspec.Struct, frozen=True):
    """The tokens of a request, or the provider's own response, which VAI passes on unchanged."""

    tokens: int = 0
    is_exact: bool = False
    response: TokenCount | None = None


async def count_request(
    service: GatewayService,
    context: RequestContext,
    prepared: PreparedRequest,
    target: PreparedTarget,
    upstream: Upstream,
) -> CountResult:
    """Call the provider's counter, if it has one; estimate what it leaves out.

    Raises:
        VaiError: the request cannot be read or the provider cannot express it, or the counter
            refused it and VAI does not pass its response on.
    """
    run_work = service.preparer.run_work
    body, received = prepared.body, prepared.received
    count, is_verbatim = await run_work(make_count_request, body, received, target)
    response = None
    if count is not None:
        response = await send_count_request(
            count.wire, upstream, timers=service.timers, clock=monotonic
        )
    if count is None or response is None:
        return CountResult(await run_work(estimate_all, body, received, target))
    if response.status >= 400:
        error = count.parse_error(response.status, response.headers, response.body)
        if target.uses_gateway_key:
            error = hide_gateway_key_error(error)
        service.note_failure(context, error, count.wire.target)
        is_shown = is_verbatim and error.code != UPSTREAM_AUTH
        if not is_shown or not is_passed_on(response.body, error):
            raise error
        context.error = error
        return CountResult(response=response)
    try:
        tokens = count.read_count(response.body)
    except UpstreamBroken:
        return CountResult(await run_work(estimate_all, body, received, target))
    if is_verbatim:
        return CountResult(response=response)
    if not count.is_exact:
        tokens += await run_work(estimate_tools, body, received, target)
    return CountResult(tokens, is_exact=count.is_exact)


def make_count_request(
    fields: RoutingFields, request: ReceivedRequest, target: PreparedTarget
) -> tuple[CountRequest | None, bool]:
    """The request to the provider's counter, None where it has none; and whether it has the
    client's own bytes.

    Raises:
        InvalidRequest: the request cannot be read, or the provider cannot express it.
    """
    count = _make_verbatim_count(fields, request, target)
    if count is not None:
        return count, True
    route = target.route
    spec = spec_for_input(route.spec, target.terms.input)
    message_request = parse_message_request(fields, route)
    return build_count_request(
        spec, message_request, target.exchange_id, join_headers(request)
    ), False


def estimate_all(fields: RoutingFields, _: ReceivedRequest, target: PreparedTarget) -> int:
    """The tokens of the whole request. Errors as in `make_count_request`."""
    route = target.route
    return request_tokens(parse_message_request(fields, route), route.spec.kind)


def estimate_tools(fields: RoutingFields, _: ReceivedRequest, target: PreparedTarget) -> int:
    """The tokens of the tools, for a counter that does not accept them. Errors as above."""
    kind, message_request = target.route.spec.kind, parse_message_request(fields, target.route)
    without_tools = msgspec.structs.replace(message_request, tools=None)
    return request_tokens(message_request, kind) - request_tokens(without_tools, kind)


def _make_verbatim_count(
    fields: RoutingFields, request: ReceivedRequest, target: PreparedTarget
) -> CountRequest | None:
    """The client's own bytes to the counter, where the provider speaks the Messages API."""
    route = target.route
    if route.spec.kind != "anthropic" or needs_rewriting(fields, route):
        return None
    if route.dialect == "vai" and not (
        is_counted(fields.value) and set(fields.vai_fields) <= {"provider_keys"}
    ):
        return None
    wire = make_verbatim_request(fields, request, target, count_target(route.spec.path))
    return CountRequest(wire, partial(fault_from_response, route.spec.id, route.spec.name))


_NO_USAGE = Usage(input_tokens=0, output_tokens=0)


async def count_tokens(request: PatchedRequest) -> HTTPResponse | None:
    """Respond to one request."""
    return await answer_request(request, _serve_count)


async def _serve_count(
    service: GatewayService, context: RequestContext, request: PatchedRequest
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
    """The provider's own response, byte for byte."""
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

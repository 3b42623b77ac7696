"""``POST /v1/messages/count_tokens``, for every model.

identity -> body -> envelope -> route -> destination -> the provider's counter -> else an estimate.
``X-VAI-Tokens`` says which of the two it was, ``exact`` or ``estimated``; the body is what the
Messages API promises and no more. It is a request like any other, of no tokens.
"""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
import orjson
from sanic import Request
from sanic.response import HTTPResponse

from vai.codec import envelope as envelopes
from vai.codec.envelope import Envelope, rewrite
from vai.errors import UpstreamBroken
from vai.exchange.count import Told, ask
from vai.gateway.admission import was_expired
from vai.gateway.answers import Reply, headers_for
from vai.gateway.boundary import answered
from vai.gateway.call import Call
from vai.gateway.service import Destination, Service
from vai.io.clock import monotonic
from vai.policy.blame import UPSTREAM_AUTH, of_lent_key
from vai.policy.estimate import request_tokens
from vai.policy.headers import to_upstream
from vai.policy.route import Route
from vai.providers.anthropic.calls import has_odd_ids
from vai.providers.anthropic.count import count_target, is_counted
from vai.providers.anthropic.foreign import has_foreign_blocks
from vai.providers.anthropic.verbatim import is_passed_on
from vai.providers.counting import Question, question
from vai.providers.failure import from_answer
from vai.providers.registry import row_for_input
from vai.types import parse
from vai.types.message import Usage
from vai.types.provider import WireRequest
from vai.types.request import MessageRequest

__all__ = ["count_tokens"]

_API_VERSION = ("anthropic-version", "2023-06-01")
_NOTHING = Usage(input_tokens=0, output_tokens=0)


async def count_tokens(request: Request) -> HTTPResponse | None:
    """Answer one request."""
    return await answered(request, _serve)


async def _serve(service: Service, call: Call, request: Request) -> HTTPResponse:
    service.identify(call, request.headers)
    await service.bodies.receive(call, request)
    envelope = envelopes.read(request.body)
    call.route = service.route(envelope.model)
    brought = service.brought(request.headers, envelope.provider_keys, (call.route,))
    destination = service.destination(call.route, brought)
    call.simulated = destination.simulated
    lease = await service.entry(call).admit(0)
    try:
        return await _count(service, call, request, envelope, destination)
    except asyncio.CancelledError as cancelled:
        expired = was_expired(cancelled)
        if expired is None:
            raise
        raise expired from None
    finally:
        lease.settle(_NOTHING)


async def _count(
    service: Service, call: Call, request: Request, envelope: Envelope, way: Destination
) -> HTTPResponse:
    route = _routed(call)
    said: MessageRequest | None = None
    asked = _verbatim(route, envelope, request)
    is_verbatim = asked is not None
    if asked is None:
        said = _parsed(route, envelope)
        row = row_for_input(route.row, service.terms(route, streamed=False).input)
        asked = question(row, said, call.exchange_id, _anthropic_headers(request))
    if asked is not None:
        told = await ask(asked.wire, way.upstream, timers=service.timers, clock=monotonic)
        if told is not None and told.status >= 400:
            fault = asked.error(told.status, told.headers, told.body)
            if not way.own_key:
                fault = of_lent_key(fault)
            if not is_verbatim or fault.code == UPSTREAM_AUTH or not is_passed_on(told.body, fault):
                raise fault
            return _passed_on(call, told)
        tokens = _count_of(asked, told)
        if tokens is not None and told is not None:
            if is_verbatim:
                return _passed_on(call, told)
            tokens += 0 if asked.whole or said is None else _of_tools(said, route)
            return _answer(call, tokens, exact=asked.whole)
    said = said or _parsed(route, envelope)
    return _answer(call, request_tokens(said, route.row.kind), exact=False)


def _count_of(asked: Question, told: Told | None) -> int | None:
    """The count in a provider's answer, None where there is none in it."""
    if told is None:
        return None
    try:
        return asked.read(told.body)
    except UpstreamBroken:
        return None


def _of_tools(said: MessageRequest, route: Route) -> int:
    """What tools weigh, for a counter that cannot be told of them."""
    kind = route.row.kind
    bare = msgspec.structs.replace(said, tools=None)
    return request_tokens(said, kind) - request_tokens(bare, kind)


def _verbatim(route: Route, envelope: Envelope, request: Request) -> Question | None:
    """The caller's own bytes as the question, where the provider speaks the caller's protocol."""
    if route.row.kind != "anthropic":
        return None
    value, sent = envelope.value, request.body
    if has_foreign_blocks(value, sent) or has_odd_ids(value, sent, route.row.id):
        return None
    if route.dialect == "vai" and not (
        is_counted(envelope.members) and set(envelope.vai_fields) <= {"provider_keys"}
    ):
        return None
    headers = to_upstream(request.headers.items())
    if not any(name == "anthropic-version" for name, _ in headers):
        headers.append(_API_VERSION)
    headers.append(("content-type", "application/json"))
    body = rewrite(request.body, envelope, model=route.model, drop="provider_keys")
    wire = WireRequest("POST", count_target(route.row.path), tuple(headers), body)
    return Question(wire, partial(from_answer, route.row.id, route.row.name))


def _passed_on(call: Call, told: Told) -> HTTPResponse:
    """The provider's own answer, not a byte of it changed."""
    headers = headers_for(call, told.headers)
    if told.status < 400:
        headers["x-vai-tokens"] = "exact"
    call.status = told.status
    kind = told.headers.get("content-type", "application/json")
    return Reply(told.body, told.status, headers, kind)


def _parsed(route: Route, envelope: Envelope) -> MessageRequest:
    return msgspec.structs.replace(parse.request(envelope.value), model=route.model)


def _anthropic_headers(request: Request) -> dict[str, str]:
    """The caller's headers of the Messages API; repeated ones are one list (RFC 9110 5.3)."""
    return {
        name: ", ".join(request.headers.getall(name))
        for name in ("anthropic-version", "anthropic-beta")
        if name in request.headers
    }


def _routed(call: Call) -> Route:
    if call.route is None:
        raise RuntimeError("a request is counted after it has been routed")
    return call.route


def _answer(call: Call, tokens: int, *, exact: bool) -> HTTPResponse:
    call.status = 200
    headers = headers_for(call) | {"x-vai-tokens": "exact" if exact else "estimated"}
    return Reply(orjson.dumps({"input_tokens": tokens}), 200, headers, "application/json")

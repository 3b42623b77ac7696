"""``POST /v1/messages/count_tokens``, for every model.

identity -> envelope -> route -> destination -> the provider's own counter -> else an estimate.
``X-VAI-Tokens`` says which of the two it was, ``exact`` or ``estimated``; the body is what the
Messages API promises and no more. It is a request like any other, of no tokens.
"""

from __future__ import annotations

import asyncio

import msgspec
import orjson
from sanic import Request
from sanic.response import HTTPResponse

from vai.codec import envelope as envelopes
from vai.codec.envelope import Envelope, rewrite
from vai.errors import InvalidRequest, UpstreamBroken
from vai.exchange.count import Told, ask
from vai.exchange.ports import Upstream
from vai.gateway import byok
from vai.gateway.admission import was_expired
from vai.gateway.answers import Reply, headers_for
from vai.gateway.boundary import answered
from vai.gateway.call import Call
from vai.gateway.service import Service
from vai.io.clock import monotonic
from vai.policy.estimate import request_tokens
from vai.policy.headers import to_upstream
from vai.policy.route import Route
from vai.providers.anthropic.count import count_target, is_counted
from vai.providers.counting import Question, question
from vai.providers.failure import from_answer
from vai.types import parse
from vai.types.message import Usage
from vai.types.provider import WireRequest
from vai.types.request import MessageRequest

__all__ = ["count_tokens"]

_API_VERSION = ("anthropic-version", "2023-06-01")
_NOTHING = Usage(input_tokens=0, output_tokens=0)


async def count_tokens(request: Request) -> HTTPResponse:
    """Answer one request."""
    return await answered(request, _serve)


async def _serve(service: Service, call: Call, request: Request) -> HTTPResponse:
    call.identity = service.keyring.identify(request.headers)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest(
            "Content-Encoding: expected an uncompressed body",
            param="content-encoding",
            status=415,
        )
    envelope = envelopes.read(request.body)
    call.route = service.route(envelope.model)
    brought = byok.brought(request.headers.items(), envelope.provider_keys)
    destination = service.destination(call.route, brought)
    call.simulated = destination.simulated
    lease = await service.admission.admit(call.identity.user_id, 0)
    try:
        return await _count(service, call, request, envelope, destination.upstream)
    except asyncio.CancelledError as cancelled:
        expired = was_expired(cancelled)
        if expired is None:
            raise
        raise expired from None
    finally:
        lease.settle(_NOTHING)


async def _count(
    service: Service, call: Call, request: Request, envelope: Envelope, upstream: Upstream
) -> HTTPResponse:
    if call.route is None:
        raise RuntimeError("a request is counted after it has been routed")
    route = call.route
    wire = _verbatim(route, envelope, request)
    if wire is not None:
        told = await ask(wire, upstream, timers=service.timers, clock=monotonic)
        if told is not None and (reply := _passed_on(call, told, Question(wire))) is not None:
            return reply
        return _estimated(call, _parsed(route, envelope))
    said = _parsed(route, envelope)
    asked = question(route.row, said, call.exchange_id, _anthropic_headers(request))
    told = None
    if asked is not None:
        told = await ask(asked.wire, upstream, timers=service.timers, clock=monotonic)
    if asked is None or told is None:
        return _estimated(call, said)
    if told.status >= 400:
        raise from_answer(route.row.id, route.row.name, told.status, told.headers, told.body)
    try:
        tokens = asked.read(told.body)
    except UpstreamBroken:
        return _estimated(call, said)
    if asked.whole:
        return _answer(call, tokens, "exact")
    untold = request_tokens(said, route.row.kind) - request_tokens(
        msgspec.structs.replace(said, tools=None), route.row.kind
    )
    return _answer(call, tokens + untold, "estimated")


def _verbatim(route: Route, envelope: Envelope, request: Request) -> WireRequest | None:
    """The caller's own bytes as the question, where the provider speaks the caller's protocol."""
    if route.row.kind != "anthropic":
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
    return WireRequest("POST", count_target(route.row.path), tuple(headers), body)


def _passed_on(call: Call, told: Told, asked: Question) -> HTTPResponse | None:
    """The provider's own answer, not a byte of it changed; None if it is no count."""
    headers = headers_for(call, told.headers)
    if told.status < 400:
        try:
            asked.read(told.body)
        except UpstreamBroken:
            return None
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


def _estimated(call: Call, said: MessageRequest) -> HTTPResponse:
    if call.route is None:
        raise RuntimeError("a request is counted after it has been routed")
    return _answer(call, request_tokens(said, call.route.row.kind), "estimated")


def _answer(call: Call, tokens: int, how: str) -> HTTPResponse:
    call.status = 200
    headers = headers_for(call) | {"x-vai-tokens": how}
    return Reply(orjson.dumps({"input_tokens": tokens}), 200, headers, "application/json")

"""``POST /v1/messages``.

identity -> body -> envelope -> route -> destination -> mode -> exchange -> answer -> log line.
What fails before the first byte is answered with its own status; what fails after it is
an ``error`` event, and then the stream ends.
"""

from __future__ import annotations

import asyncio

from sanic import Request
from sanic.response import HTTPResponse

from vai.errors import InternalError, InvalidRequest, UpstreamBroken, UpstreamFault, VaiError
from vai.exchange.exchange import Exchange, ResponseStart
from vai.gateway.admission.controller import drain_error
from vai.gateway.request.context import RequestContext
from vai.gateway.request.errors import answer_request
from vai.gateway.request.preparing import ParsedBody
from vai.gateway.request.responses import (
    GatewayResponse,
    make_error_frame,
    make_headers,
    make_usage_headers,
)
from vai.gateway.request.stream import EventStream
from vai.gateway.request.targets import TargetPlan
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic

__all__ = ["create_message"]


async def create_message(request: Request) -> HTTPResponse | None:
    """Answer one request; a streamed answer has been written when this returns."""
    return await answer_request(request, _serve)


async def _serve(
    service: GatewayService, context: RequestContext, request: Request
) -> HTTPResponse | None:
    service.identify_client(context, request.headers)
    await service.bodies.receive_body(context, request)
    exchange = await _prepare(service, context, request)
    with exchange:
        try:
            if context.stream:
                return await _stream(service, context, request, exchange)
            return _whole(context, await exchange.start(), exchange)
        except asyncio.CancelledError as cancelled:
            # Within the exchange, which would take it for a caller who has left.
            expired = drain_error(cancelled)
            if expired is None:
                raise
            raise expired from None


async def _prepare(
    service: GatewayService, context: RequestContext, request: Request
) -> Exchange[bytes]:
    """Everything that can be decided before anyone is asked.

    A function of its own so that the parsed body does not live as long as the stream.
    """
    opened = await service.preparer.parse_body(request.body)
    envelope = opened.fields
    context.stream = envelope.stream
    if envelope.stream and request.version == "1.0":
        # RFC 9112 section 6.1: there are no chunks in HTTP/1.0, and a stream has no length.
        raise InvalidRequest("stream: expected a client that speaks HTTP/1.1", param="stream")
    routes = service.find_routes(envelope.model)
    brought = service.collect_byok_keys(request.headers, envelope.provider_keys, routes)
    targets = TargetPlan(service, context, request, routes, brought, opened)
    first = await targets.build_first()
    return Exchange(
        first.mode,
        first.upstream,
        service.admission_for(context),
        reserved_tokens=_reserve(service, context, opened),
        timers=service.timers,
        clock=monotonic,
        on_settled=context.record_settlement,
        plan=targets,
    )


def _reserve(service: GatewayService, context: RequestContext, opened: ParsedBody) -> int:
    """The tokens that this exchange may use: what goes in, and the most that can come out."""
    if service.store is None:
        return 0
    most = opened.fields.max_tokens or service.settings.defaults.max_tokens
    capped = context.terms.max_output_cap(most)
    return opened.estimated_tokens + (most if capped is None else capped)


def _whole(
    context: RequestContext, answer: ResponseStart[bytes], exchange: Exchange[bytes]
) -> HTTPResponse:
    """A JSON answer, or an upstream's own error passed on."""
    mode = exchange.mode
    context.status, context.error = answer.status, answer.rejection
    headers = make_headers(
        context, answer.headers if mode.is_verbatim else None, mode.dropped_fields
    )
    headers |= make_usage_headers(
        mode.usage, exchange.elapsed_seconds, context.terms.cost(mode.usage)
    )
    kind = "application/json"
    if mode.is_verbatim and answer.status >= 400:  # an error page before the provider is no JSON
        kind = answer.headers.get("content-type", kind)
    return GatewayResponse(answer.first_batch, answer.status, headers, kind)


def _unstreamed(context: RequestContext, answer: ResponseStart[bytes]) -> UpstreamFault:
    """Why there is no stream, for a caller who has already been promised one."""
    if context.route is None:
        raise RuntimeError("an exchange runs after its request has been routed")
    spec = context.route.spec
    return answer.rejection or UpstreamBroken(
        "The provider answered with JSON where the request asked for a stream",
        provider=spec.id,
        code="upstream_content_type",
    )


async def _stream(
    service: GatewayService,
    context: RequestContext,
    request: Request,
    exchange: Exchange[bytes],
) -> HTTPResponse | None:
    timers = service.settings.timers
    events = EventStream(
        request, make_headers(context), ping=timers.ping, stall=timers.write_stall, clock=monotonic
    )
    try:
        return await _relay(service, context, exchange, events)
    finally:
        events.close()


async def _relay(
    service: GatewayService, context: RequestContext, exchange: Exchange[bytes], events: EventStream
) -> HTTPResponse | None:
    """Pass the answer on as it comes; returns it where it turns out to be no stream."""
    has_begun = False
    try:
        answer = await exchange.start()
        if not answer.is_streaming:
            if events.started:
                raise exchange.mark_failed(_unstreamed(context, answer))
            return _whole(context, answer, exchange)
        context.status = 200
        mode = exchange.mode
        events.add_headers(
            make_headers(context, answer.headers if mode.is_verbatim else None, mode.dropped_fields)
        )
        batch: bytes | None = answer.first_batch
        has_begun = True
        while batch is not None:
            await events.send(batch)
            batch = await exchange.read_batch()
        if mode.forwarded_error is not None:  # the provider's own frame has told the caller
            context.error = mode.forwarded_error
            service.note_failure(context, mode.forwarded_error)
    except VaiError as error:
        if not events.started:
            raise
        if has_begun:  # what failed before that, the plan has noted
            service.note_failure(context, error)
        await events.send(make_error_frame(error, context))
    except asyncio.CancelledError as cancelled:
        expired = drain_error(cancelled)
        if expired is None or not events.started:
            raise
        await events.send(make_error_frame(expired, context))
    except Exception:
        if events.started:  # a defect of ours; a stream that just ended would look like one cut
            await events.send(make_error_frame(InternalError(), context))
            await events.finish()
        raise
    await events.finish()
    return None

"""``POST /v1/messages``.

prepared request -> target -> mode -> exchange -> response -> log line.
A failure before the first byte becomes a response with its own status; a later one becomes an
``error`` event, and then the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from sanic.response import HTTPResponse

from vai.errors import InternalError, UpstreamBroken, UpstreamFault, VaiError
from vai.exchange.exchange import Exchange, ResponseStart
from vai.gateway.admission.controller import drain_error
from vai.gateway.request.context import RequestContext
from vai.gateway.request.errors import DRAIN_ERRORS, answer_request
from vai.gateway.request.responses import (
    EventStream,
    GatewayResponse,
    content_type_of,
    make_error_frame,
    make_figure_lines,
    make_origin_headers,
)
from vai.gateway.request.targets import TargetPlan
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic

__all__ = ["create_message"]


def create_message(request: PatchedRequest) -> Coroutine[Any, Any, HTTPResponse | None]:
    """Respond to one request; a streamed response has been written when this is done."""
    return answer_request(request, _serve_message)


async def _serve_message(
    service: GatewayService, context: RequestContext, request: PatchedRequest
) -> HTTPResponse | None:
    exchange = await _make_exchange(service, context, request)
    with exchange:
        try:
            if context.stream:
                return await _answer_stream(service, context, request, exchange)
            return _write_json(context, await exchange.start(), exchange)
        except asyncio.CancelledError as cancelled:
            # As `DRAIN_ERRORS` does; else the exchange takes the drain for a client that has left.
            raise drain_error(cancelled) or cancelled from None


async def _make_exchange(
    service: GatewayService, context: RequestContext, request: PatchedRequest
) -> Exchange[bytes]:
    """Do all that precedes the admission of the request.

    It is a separate function so that the parsed body does not live as long as the stream.
    """
    prepared = await service.prepare_request(context, request)
    plan = TargetPlan(service, context, prepared)
    first = await plan.build_first()
    reserved_tokens = 0
    if service.store is not None:  # the input, and the most that the output can be
        most = plan.max_tokens or service.settings.defaults.max_tokens
        reserved_tokens = prepared.body.estimated_tokens + most

    return Exchange(
        first.mode,
        first.upstream,
        service.admission_for(context),
        reserved_tokens=reserved_tokens,
        timers=service.timers,
        clock=monotonic,
        on_settled=context.record_settlement,
        plan=plan,
    )


def _write_json(
    context: RequestContext, response: ResponseStart[bytes], exchange: Exchange[bytes]
) -> HTTPResponse:
    """A JSON response, or the upstream's own error."""
    mode = exchange.mode
    context.status, context.error = response.status, response.rejection
    upstream = response.headers if mode.is_verbatim else None
    headers = make_origin_headers(context, upstream, mode.dropped_fields)
    usage = mode.usage
    lines = make_figure_lines(context, usage, exchange.elapsed_seconds, context.find_cost(usage))
    content_type = content_type_of(response.status, upstream or {})
    return GatewayResponse(response.first_batch, response.status, headers, content_type, lines)


def _no_stream_error(response: ResponseStart[bytes]) -> UpstreamFault:
    """The error for a client that has received the head of a stream, where none follows."""
    return response.rejection or UpstreamBroken(
        "The provider sent JSON where the request wants a stream",
        code="upstream_content_type",
    )


async def _answer_stream(
    service: GatewayService,
    context: RequestContext,
    request: PatchedRequest,
    exchange: Exchange[bytes],
) -> HTTPResponse | None:
    timers = service.settings.timers
    events = EventStream(
        request, context, ping=timers.ping, stall=timers.write_stall, clock=monotonic
    )
    try:
        return await _relay_stream(service, context, exchange, events)
    finally:
        events.close()


async def _relay_stream(
    service: GatewayService, context: RequestContext, exchange: Exchange[bytes], events: EventStream
) -> HTTPResponse | None:
    """Pass the response on as it arrives; returns it where it is not a stream."""
    has_begun = False
    try:
        with DRAIN_ERRORS:
            response = await exchange.start()
            if not response.is_streaming:
                if events.is_started:
                    raise exchange.mark_failed(_no_stream_error(response))
                return _write_json(context, response, exchange)
            context.status = 200
            mode = exchange.mode
            upstream = response.headers if mode.is_verbatim else None
            events.add_headers(make_origin_headers(context, upstream, mode.dropped_fields))
            has_begun = True
            batch: bytes | None = response.first_batch
            while batch is not None:
                await events.send_frames(batch)
                if not await exchange.relay_batches(events.write_frames):
                    await events.wait_for_client()
                batch = await exchange.read_batch()
            if mode.forwarded_error is not None:  # the client has the provider's own frame
                context.error = mode.forwarded_error
                service.note_failure(context, mode.forwarded_error)
    except VaiError as error:
        if not events.is_started:
            raise
        if has_begun:  # the plan has recorded earlier failures
            service.note_failure(context, error)
        await events.send_frames(make_error_frame(error, context))
    except Exception:
        if events.is_started:  # a defect of VAI: an end without an event looks like a cut stream
            await events.send_frames(make_error_frame(InternalError(), context))
            await events.finish_stream()
        raise
    await events.finish_stream()
    return None

"""The work on a body whose tokens are to be counted; see `vai.gateway.request.preparing`."""

from __future__ import annotations

from functools import partial

import msgspec

from vai.codec.routing_fields import RoutingFields, rewrite_body
from vai.gateway.request.preparing import HeaderFields, ReceivedRequest
from vai.policy.estimate import request_tokens
from vai.policy.headers import headers_to_upstream
from vai.policy.route import Route
from vai.providers.anthropic.calls import has_odd_ids
from vai.providers.anthropic.count import count_target, is_counted
from vai.providers.anthropic.foreign import has_foreign_blocks
from vai.providers.counting import CountRequest, question
from vai.providers.decode.upstream_errors import from_answer
from vai.types import parse
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["estimate_all", "estimate_tools", "make_question"]

_API_VERSION = ("anthropic-version", "2023-06-01")


def make_question(
    envelope: RoutingFields,
    request: ReceivedRequest,
    route: Route,
    spec: ProviderSpec,
    exchange_id: str,
) -> tuple[CountRequest | None, bool]:
    """What to ask the provider's counter, None where it has none; and whether these are the
    caller's own bytes.

    Args:
        row: that of the route, with what the model can read.

    Raises:
        InvalidRequest: the request cannot be read, or cannot be said to the provider.
    """
    asked = _verbatim(route, envelope, request)
    if asked is not None:
        return asked, True
    headers = _anthropic_headers(request.headers)
    return question(spec, _parsed(route, envelope), exchange_id, headers), False


def estimate_all(envelope: RoutingFields, _: ReceivedRequest, route: Route) -> int:
    """The tokens of the whole request. Errors as in `make_question`."""
    return request_tokens(_parsed(route, envelope), route.spec.kind)


def estimate_tools(envelope: RoutingFields, _: ReceivedRequest, route: Route) -> int:
    """What tools weigh, for a counter that cannot be told of them. Errors as above."""
    kind, said = route.spec.kind, _parsed(route, envelope)
    bare = msgspec.structs.replace(said, tools=None)
    return request_tokens(said, kind) - request_tokens(bare, kind)


def _verbatim(
    route: Route, envelope: RoutingFields, request: ReceivedRequest
) -> CountRequest | None:
    """The caller's own bytes as the question, where the provider speaks the caller's protocol."""
    if route.spec.kind != "anthropic":
        return None
    value, sent = envelope.value, request.body
    if has_foreign_blocks(value, sent) or has_odd_ids(value, sent, route.spec.id):
        return None
    if route.dialect == "vai" and not (
        is_counted(envelope.members) and set(envelope.vai_fields) <= {"provider_keys"}
    ):
        return None
    headers = headers_to_upstream(request.headers.items())
    if not any(name == "anthropic-version" for name, _ in headers):
        headers.append(_API_VERSION)
    headers.append(("content-type", "application/json"))
    body = rewrite_body(request.body, envelope, model=route.model, drop="provider_keys")
    wire = WireRequest("POST", count_target(route.spec.path), tuple(headers), body)
    return CountRequest(wire, partial(from_answer, route.spec.id, route.spec.name))


def _parsed(route: Route, envelope: RoutingFields) -> MessageRequest:
    return msgspec.structs.replace(parse.parse_request(envelope.value), model=route.model)


def _anthropic_headers(headers: HeaderFields) -> dict[str, str]:
    """The caller's headers of the Messages API; repeated ones are one list (RFC 9110 5.3)."""
    return {
        name: ", ".join(headers.getall(name))
        for name in ("anthropic-version", "anthropic-beta")
        if name in headers
    }

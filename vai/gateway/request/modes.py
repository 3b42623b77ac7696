"""The choice of an exchange's mode.

Verbatim where the target speaks the Messages API and VAI has nothing to add; translated where it
speaks another wire format, or where the request has members that only VAI understands.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from vai.codec import json as strict_json
from vai.codec.routing_fields import RoutingFields, rewrite_body
from vai.codec.sse import encode_events
from vai.errors import InvalidRequest
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.exchange.verbatim_mode import VerbatimMode
from vai.gateway.request.preparing import ReceivedRequest
from vai.policy import estimate
from vai.policy.cost import UNKNOWN, ModelTerms
from vai.policy.headers import fields_to_upstream
from vai.policy.route import Route
from vai.providers.anthropic.calls import CallRepairer, has_odd_ids, make_call_repairer
from vai.providers.anthropic.foreign import has_foreign_blocks
from vai.providers.anthropic.request import DEFAULT_VERSION
from vai.providers.factory import make_adapter
from vai.providers.registry import spec_for_input
from vai.providers.translate.reasoning import without_reasoning
from vai.types import parse
from vai.types.catalogue import CostFunction
from vai.types.message import Message
from vai.types.provider import WireRequest
from vai.types.render import message_to_wire
from vai.types.request import MessageRequest

if TYPE_CHECKING:  # the helper process does not need `vai.config`
    from vai.config import Settings

__all__ = [
    "PreparedTarget",
    "choose_mode",
    "join_headers",
    "make_verbatim_request",
    "mode_without_reasoning",
    "needs_rewriting",
    "parse_message_request",
    "prepare_target",
]

_REASONING = "messages[*].content[thinking]"
"""The name in `X-VAI-Dropped` for reasoning that was left out."""
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Versions of the Messages API after 2023-06-01 refuse these."""
_MAX_LISTED = 1000
"""Characters of the names in an error for `strict`; names of members can be long."""


class PreparedTarget(msgspec.Struct, frozen=True):
    """What turns a client's body and header fields into an upstream request to one target.

    It has no secret and no connection, so that VAI can send it to the helper process.

    Attributes:
        settings: without secrets.
        max_tokens: tokens that the response may have: the client's figure or the settings'
            default, and at most the model's limit.
        is_capped: `max_tokens` is the model's limit, because the client requested more.
        uses_gateway_key: the gateway sends its own key, not the client's.
        is_simulated: the simulator answers instead of the provider.
    """

    route: Route
    exchange_id: str
    settings: Settings
    terms: ModelTerms
    max_tokens: int
    is_capped: bool
    uses_gateway_key: bool
    is_simulated: bool


def prepare_target(
    fields: RoutingFields,
    route: Route,
    exchange_id: str,
    settings: Settings,
    terms: ModelTerms = UNKNOWN,
    *,
    uses_gateway_key: bool = True,
    is_simulated: bool = False,
) -> PreparedTarget:
    """The target at the end of `route`, for a request with these fields."""
    requested = fields.max_tokens
    if requested is None:
        requested = settings.defaults.max_tokens
    cap = terms.max_output_cap(requested)
    return PreparedTarget(
        route,
        exchange_id,
        settings,
        terms,
        requested if cap is None else cap,
        cap is not None,
        uses_gateway_key,
        is_simulated,
    )


def choose_mode(
    fields: RoutingFields, request: ReceivedRequest, target: PreparedTarget
) -> ExchangeMode[bytes]:
    """The mode for this request to `target`.

    Raises:
        InvalidRequest: the request cannot be read, or the provider cannot express it.
    """
    if _can_pass_verbatim(target.route, fields, request):
        return _make_verbatim_mode(fields, request, target)
    return _make_translated_mode(_parse_with_defaults(fields, target), fields, request, target)


def mode_without_reasoning(
    fields: RoutingFields, request: ReceivedRequest, target: PreparedTarget
) -> ExchangeMode[bytes] | None:
    """A mode for the same request without the reasoning in its history, which the provider refused.

    None where the history has none, where VAI may not change a byte (the upstream's own dialect),
    and where it may leave nothing out (`strict`). Errors as in `choose_mode`.
    """
    if target.route.dialect == "upstream" or target.settings.strict:
        return None
    message_request = without_reasoning(_parse_with_defaults(fields, target))
    if message_request is None:
        return None
    mode = _make_translated_mode(message_request, fields, request, target)
    mode.dropped_fields.insert(0, _REASONING)
    return mode


def parse_message_request(fields: RoutingFields, route: Route) -> MessageRequest:
    """The whole request, for the model of `route`.

    Raises:
        InvalidRequest: see `vai.types.parse.parse_request`.
    """
    return msgspec.structs.replace(parse.parse_request(fields.value), model=route.model)


def make_verbatim_request(
    fields: RoutingFields,
    request: ReceivedRequest,
    target: PreparedTarget,
    path: str,
    *,
    max_tokens: int | None = None,
    streaming: bool = False,
) -> WireRequest:
    """The client's own bytes as the upstream request, except for the model, the keys and, unless
    it is None, `max_tokens`."""
    body = rewrite_body(
        request.body, fields, model=target.route.model, max_tokens=max_tokens, drop="provider_keys"
    )
    headers = fields_to_upstream(request.header_fields)
    if "anthropic-version" not in request.header_fields:
        headers.append(("anthropic-version", DEFAULT_VERSION))
    headers.append(("content-type", "application/json"))
    return WireRequest("POST", path, tuple(headers), body, streaming)


def needs_rewriting(fields: RoutingFields, route: Route) -> bool:
    """Whether the conversation has blocks of other providers, which only VAI understands, or ids
    that the API refuses."""
    return has_foreign_blocks(fields.value) or has_odd_ids(fields.value, route.spec.id)


def join_headers(request: ReceivedRequest) -> dict[str, str]:
    """The fields that go upstream, repeated ones as one list (RFC 9110 5.3): each beta counts."""
    joined: dict[str, str] = {}
    for name, value in fields_to_upstream(request.header_fields):
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _make_verbatim_mode(
    fields: RoutingFields, request: ReceivedRequest, target: PreparedTarget
) -> VerbatimMode:
    route = target.route
    edited = route.dialect == "vai"
    is_capped = edited and target.is_capped
    mode = VerbatimMode(
        make_verbatim_request(
            fields,
            request,
            target,
            route.spec.path,
            max_tokens=target.max_tokens if is_capped else None,
            streaming=fields.stream,
        ),
        route.spec,
        streaming=fields.stream,
        edited=edited,
        uses_gateway_key=target.uses_gateway_key,
        cost=target.terms.cost,
        calls=_calls_to_mend(fields, target),
    )
    if is_capped:
        mode.dropped_fields.insert(0, "max_tokens")
    return mode


def _calls_to_mend(fields: RoutingFields, target: PreparedTarget) -> CallRepairer | None:
    """What brings calls into the API's form; Anthropic's need no repair."""
    provider = target.route.spec.id
    if provider == "anthropic":
        return None
    return make_call_repairer(fields.value, provider, target.exchange_id)


def _make_translated_mode(
    message_request: MessageRequest,
    fields: RoutingFields,
    request: ReceivedRequest,
    target: PreparedTarget,
) -> TranslatedMode[bytes]:
    route, terms = target.route, target.terms
    spec = spec_for_input(route.spec, terms.input)
    adapter = make_adapter(
        spec,
        target.exchange_id,
        input_estimate=estimate.input_tokens(fields.size),
        # The others have no use for the client's headers, which cost 2k instructions each.
        headers=join_headers(request) if spec.kind == "anthropic" else {},
        request=message_request,
    )
    mode = TranslatedMode(
        adapter,
        message_request,
        events=partial(encode_events, cost=terms.cost),
        message=partial(_encode_message, cost=terms.cost),
        uses_gateway_key=target.uses_gateway_key,
    )
    if target.is_capped:
        mode.dropped_fields.insert(0, "max_tokens")
    if target.settings.strict and mode.dropped_fields:
        listed = ", ".join(mode.dropped_fields)
        raise InvalidRequest(
            f"{route.spec.name} cannot take: {listed[:_MAX_LISTED]}",
            param=mode.dropped_fields[0],
            code="unsupported_fields",
        )
    return mode


def _can_pass_verbatim(route: Route, fields: RoutingFields, request: ReceivedRequest) -> bool:
    """Whether the client's bytes mean the same to the upstream as to VAI."""
    if fields.value.get("thread") is not None and route.spec.id != "anthropic":
        # Other servers of the Messages API ignore a thread.
        return False
    if route.spec.kind != "anthropic" or route.spec.has_capability_override:
        return False
    if needs_rewriting(fields, route):
        return False
    if fields.vai_fields and any(
        name != "provider_keys"
        and not (name == "output_format" and _has_anthropics_output_format(route, fields))
        for name in fields.vai_fields
    ):
        return False
    if route.dialect == "upstream":
        return True
    # Only in VAI's dialect may a client omit max_tokens, so VAI fills it in only there.
    return fields.max_tokens is not None and not _has_refused_sampling(fields, request)


def _has_refused_sampling(fields: RoutingFields, request: ReceivedRequest) -> bool:
    """Whether the client's version of the API refuses a member that VAI's dialect accepts."""
    version = request.header_fields.get("anthropic-version", DEFAULT_VERSION)
    return version > DEFAULT_VERSION and not _SAMPLING.isdisjoint(fields.value)


def _has_anthropics_output_format(route: Route, fields: RoutingFields) -> bool:
    """Whether `output_format` has the form of Anthropic's own clients: the schema at its top level,
    where VAI's form has it a level below."""
    form = fields.value["output_format"]
    return route.dialect == "upstream" and isinstance(form, dict) and "schema" in form


def _parse_with_defaults(fields: RoutingFields, target: PreparedTarget) -> MessageRequest:
    message_request = parse.parse_request(fields.value)
    changes: dict[str, object] = {"model": target.route.model, "max_tokens": target.max_tokens}
    temperature = target.settings.defaults.temperature
    if message_request.temperature is None and temperature is not None:
        changes["temperature"] = temperature
    return msgspec.structs.replace(message_request, **changes)


def _encode_message(message: Message, cost: CostFunction) -> bytes:
    return strict_json.dumps(message_to_wire(message, cost))

"""Which mode an exchange takes.

Verbatim where the target speaks the caller's protocol and VAI has nothing to add;
translated where it speaks another one, or where the request says something that only
VAI understands.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from vai.codec import json as strict_json
from vai.codec.events import encode_events
from vai.codec.routing_fields import RoutingFields, rewrite_body
from vai.errors import InvalidRequest
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.exchange.verbatim_mode import VerbatimMode
from vai.gateway.request.preparing import ReceivedRequest
from vai.policy import estimate
from vai.policy.cost import UNKNOWN, ModelTerms
from vai.policy.headers import headers_to_upstream
from vai.policy.route import Route
from vai.providers.anthropic.calls import ClaudeCalls, calls_for, has_odd_ids
from vai.providers.anthropic.foreign import has_foreign_blocks
from vai.providers.factory import make_adapter
from vai.providers.registry import spec_for_input
from vai.providers.translate.reasoning import without_reasoning
from vai.types import parse
from vai.types.catalogue import CostFunction
from vai.types.message import Message
from vai.types.provider import WireRequest
from vai.types.render import message_to_wire
from vai.types.request import MessageRequest

if TYPE_CHECKING:  # the helper process has no need of the reader of settings
    from vai.config import Settings
    from vai.config.schema import Defaults

__all__ = ["choose_mode", "mode_without_reasoning"]

_API_VERSION = ("anthropic-version", "2023-06-01")
_REASONING = "messages[*].content[thinking]"
"""How it is told that reasoning was left out (`X-VAI-Dropped`)."""
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Refused by versions of the Messages API after 2023-06-01."""
_MAX_LISTED = 1000
"""Characters of the names of what cannot be taken; names of members can be long."""


def choose_mode(
    envelope: RoutingFields,
    request: ReceivedRequest,
    route: Route,
    exchange_id: str,
    settings: Settings,
    *,
    uses_gateway_key: bool = True,
    terms: ModelTerms = UNKNOWN,
) -> ExchangeMode[bytes]:
    """The mode for this request. `uses_gateway_key`: the gateway sends its own key; `terms` is
    what is known of the model.

    Raises:
        InvalidRequest: the request cannot be read, or cannot be said to the provider.
    """
    if _can_pass(route, envelope, request):
        return _verbatim(
            route, envelope, request, exchange_id, uses_gateway_key=uses_gateway_key, terms=terms
        )
    ask = _said(route, envelope, settings)
    return _translated(
        route,
        ask,
        request,
        exchange_id,
        settings,
        envelope.size,
        uses_gateway_key=uses_gateway_key,
        terms=terms,
    )


def mode_without_reasoning(
    envelope: RoutingFields,
    request: ReceivedRequest,
    route: Route,
    exchange_id: str,
    settings: Settings,
    *,
    uses_gateway_key: bool = True,
    terms: ModelTerms = UNKNOWN,
) -> ExchangeMode[bytes] | None:
    """A mode for the same request without the reasoning in its history, which was refused.

    None where there is none, where not a byte may be changed (the upstream's own dialect),
    and where nothing may be left out (`strict`). Errors as in `choose_mode`.
    """
    if route.dialect == "upstream" or settings.strict:
        return None
    ask = without_reasoning(_said(route, envelope, settings))
    if ask is None:
        return None
    mode = _translated(
        route,
        ask,
        request,
        exchange_id,
        settings,
        envelope.size,
        uses_gateway_key=uses_gateway_key,
        terms=terms,
    )
    mode.dropped_fields.insert(0, _REASONING)
    return mode


def _verbatim(
    route: Route,
    envelope: RoutingFields,
    request: ReceivedRequest,
    exchange_id: str,
    *,
    uses_gateway_key: bool,
    terms: ModelTerms,
) -> VerbatimMode:
    edited = route.dialect == "vai"
    most = terms.max_output_cap(envelope.max_tokens) if edited else None
    body = rewrite_body(
        request.body, envelope, model=route.model, max_tokens=most, drop="provider_keys"
    )
    headers = headers_to_upstream(request.headers.items())
    if not any(name == "anthropic-version" for name, _ in headers):
        headers.append(_API_VERSION)
    headers.append(("content-type", "application/json"))
    wire = WireRequest("POST", route.spec.path, tuple(headers), body, envelope.stream)
    mode = VerbatimMode(
        wire,
        route.spec,
        streaming=envelope.stream,
        edited=edited,
        uses_gateway_key=uses_gateway_key,
        cost=terms.cost,
        calls=_calls(route, envelope, exchange_id),
    )
    if most is not None:
        mode.dropped_fields.insert(0, "max_tokens")
    return mode


def _calls(route: Route, envelope: RoutingFields, exchange_id: str) -> ClaudeCalls | None:
    """What brings calls into the API's form; Anthropic's own are in it."""
    if route.spec.id == "anthropic":
        return None
    return calls_for(envelope.value, route.spec.id, exchange_id)


def _translated(
    route: Route,
    ask: MessageRequest,
    request: ReceivedRequest,
    exchange_id: str,
    settings: Settings,
    size: int,
    *,
    uses_gateway_key: bool,
    terms: ModelTerms,
) -> TranslatedMode[bytes]:
    most = terms.max_output_cap(ask.max_tokens)
    if most is not None:
        ask = msgspec.structs.replace(ask, max_tokens=most)
    adapter = make_adapter(
        spec_for_input(route.spec, terms.input),
        exchange_id,
        input_estimate=estimate.input_tokens(size),
        headers=_joined(headers_to_upstream(request.headers.items())),
        request=ask,
    )
    mode = TranslatedMode(
        adapter,
        ask,
        events=partial(encode_events, cost=terms.cost),
        message=partial(_encode_message, cost=terms.cost),
        uses_gateway_key=uses_gateway_key,
    )
    if most is not None:
        mode.dropped_fields.insert(0, "max_tokens")
    if settings.strict and mode.dropped_fields:
        listed = ", ".join(mode.dropped_fields)
        raise InvalidRequest(
            f"{route.spec.name} cannot take: {listed[:_MAX_LISTED]}",
            param=mode.dropped_fields[0],
            code="unsupported_fields",
        )
    return mode


def _said(route: Route, envelope: RoutingFields, settings: Settings) -> MessageRequest:
    return _with_defaults(parse.parse_request(envelope.value), route.model, settings.defaults)


def _can_pass(route: Route, envelope: RoutingFields, request: ReceivedRequest) -> bool:
    """Whether the caller's bytes say to the upstream exactly what they mean here."""
    if envelope.value.get("thread") is not None and route.spec.id != "anthropic":
        # Servers that only speak its protocol answer a thread as if it were not there.
        return False
    if route.spec.kind != "anthropic" or route.spec.has_capability_override:
        return False
    value, body = envelope.value, request.body
    if has_foreign_blocks(value, body) or has_odd_ids(value, body, route.spec.id):
        return False
    if any(
        name != "provider_keys"
        and not (name == "output_format" and _is_anthropics(route, envelope))
        for name in envelope.vai_fields
    ):
        return False
    if route.dialect == "upstream":
        return True
    # Only VAI's dialect lets a caller leave max_tokens out, so only there it is filled in.
    return envelope.max_tokens is not None and not _samples_in_vain(envelope, request)


def _samples_in_vain(envelope: RoutingFields, request: ReceivedRequest) -> bool:
    """Whether the caller's version of the API refuses a member that VAI's dialect knows."""
    version = request.headers.get("anthropic-version", _API_VERSION[1])
    return version > _API_VERSION[1] and not _SAMPLING.isdisjoint(envelope.members)


def _is_anthropics(route: Route, envelope: RoutingFields) -> bool:
    """Whether `output_format` is the one Anthropic's own clients say: it has the schema itself,
    where VAI's has it a level below."""
    form = envelope.value["output_format"]
    return route.dialect == "upstream" and isinstance(form, dict) and "schema" in form


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Fields by name, repeated ones as one list (RFC 9110 5.3): each beta counts."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _with_defaults(ask: MessageRequest, model: str, defaults: Defaults) -> MessageRequest:
    changes: dict[str, object] = {"model": model}
    if ask.max_tokens is None:
        changes["max_tokens"] = defaults.max_tokens
    if ask.temperature is None and defaults.temperature is not None:
        changes["temperature"] = defaults.temperature
    return msgspec.structs.replace(ask, **changes)


def _encode_message(message: Message, cost: CostFunction) -> bytes:
    return strict_json.dumps(message_to_wire(message, cost))

"""A canonical request -> the body of a Responses request.

Counting with OpenAI: the Responses request without the members that steer its response.

Invariants: the counter accepts only the members of a fixed list, `_COUNTED_MEMBERS`. It responds
to any other member with an error, so VAI leaves those out.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.decode.base_adapter import TranslatedRequest
from vai.providers.decode.text_filter import make_text_filter
from vai.providers.responses import extensions
from vai.providers.responses.conversation import input_from_request
from vai.providers.responses.tools import RequestTools, translate_tool_choice, translate_tools
from vai.providers.translate.members import check_members, check_nested_members
from vai.providers.translate.names import anonymous_user_id, legal_tool_name
from vai.providers.translate.options import (
    cache_key,
    check_output,
    check_stop_sequences,
    clamp_effort,
    requested_effort,
    requested_modalities,
    shows_reasoning,
)
from vai.providers.translate.schema import NotStrict, to_strict_schema, with_object_root
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.tools import check_unused_choice
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["PATH", "to_count_request", "translate_request"]

PATH: Final = "/responses"
"""Below the base URL, for every provider."""
_MIN_TOKENS: Final = 16
"""https://github.com/openai/openai-openapi (2026-08-21)."""
_TIERS: Final = {
    "auto": "auto",
    "standard_only": "default",
    "flex": "flex",
    "priority": "priority",
}
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_MAX_PAIRS: Final = 16
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


_COUNTED_MEMBERS: Final = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def to_count_request(wire: WireRequest) -> WireRequest:
    """The request to the counter, from the request for a response."""
    body: dict[str, Any] = _decode_members(wire.body)
    members = {name: value for name, value in body.items() if name in _COUNTED_MEMBERS}
    return msgspec.structs.replace(
        wire,
        target=f"{wire.target}/input_tokens",
        body=msgspec.json.encode(members),
        streams=False,
    )


def translate_request(request: MessageRequest, spec: ProviderSpec) -> TranslatedRequest:
    """The request for the server of `spec`.

    Raises:
        InvalidRequest: the format cannot express a part that matters.
    """
    target = OpenaiTarget(spec, request.model)
    tools = translate_tools(request, target)
    _, members = extensions.find_extension(request)
    chained = isinstance(members, dict) and bool(members.get("previous_response_id"))
    instructions, items = input_from_request(request, target, tools, chained=chained)
    # The server keeps nothing: the client's history has all that it needs again.
    body: dict[str, Any] = {"model": request.model, "input": items, "store": False}
    if instructions is not None:
        body["instructions"] = instructions
    _set_tools(request, body, tools, target)
    _set_reasoning(request, body, target)
    if tools.include or target.traits.efforts:
        encrypted = ["reasoning.encrypted_content"] if target.traits.efforts else []
        body["include"] = [*dict.fromkeys([*encrypted, *tools.include])]
    wrapped = _set_output_format(request, body, target)
    stops = [sequence for sequence in request.stop_sequences or () if sequence]
    # The server has no stop sequences: VAI searches the text for them.
    check_stop_sequences(stops, target.diagnostics)
    text = make_text_filter(stops, wrapped=wrapped)
    _set_sampling(request, body, target)
    _set_service(request, body, target)
    _check_remaining_members(request, body, target)
    check_nested_members(request, target.diagnostics)
    extensions.apply_extension(request, body, target)
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_obfuscation": False}
    target.diagnostics.raise_if_refused()
    accept = "text/event-stream" if request.stream else "application/json"
    headers = (("content-type", "application/json"), ("accept", accept))
    wire = WireRequest("POST", PATH, headers, msgspec.json.encode(body), request.stream)
    return TranslatedRequest(wire, tools.names, text, target.diagnostics.dropped_paths)


def _set_tools(
    request: MessageRequest, body: dict[str, Any], tools: RequestTools, target: OpenaiTarget
) -> None:
    sent = list(tools.sent)
    if "image" in requested_modalities(request) and not any(
        tool.get("type") == "image_generation" for tool in sent
    ):
        asked_size = (request.output or {}).get("image")
        size = asked_size.get("size") if isinstance(asked_size, dict) else None
        sent.append({"type": "image_generation"} | ({"size": size} if size else {}))
    choice = request.tool_choice
    if not sent:
        check_unused_choice(choice, target.diagnostics)
        return
    body["tools"] = sent
    if choice is None:
        return
    chosen = translate_tool_choice(choice, request, tools, target)
    if chosen is not None:
        body["tool_choice"] = chosen
    if choice.disable_parallel_tool_use:
        body["parallel_tool_calls"] = False


def _set_reasoning(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    traits = target.traits
    effort, path = requested_effort(request)
    thinking = request.thinking
    shows = thinking is not None and thinking.type in ("enabled", "adaptive")
    if not traits.efforts:
        if shows:
            target.diagnostics.note_dropped("thinking")
        if request.output_config is not None and request.output_config.effort:
            target.diagnostics.note_dropped("output_config.effort")
        return
    if effort is None and shows and traits.reasoning_off_by_default:
        # By default the model would not think at all, and the client requested thinking.
        effort = "medium"
    reasoning: dict[str, Any] = {}
    if effort is not None:
        clamped = clamp_effort(effort, traits.efforts)
        if clamped is not None:
            reasoning["effort"] = clamped
        if clamped != effort:
            target.diagnostics.note_dropped(path)
    if shows_reasoning(request, target.diagnostics):
        reasoning["summary"] = "auto"
    if reasoning:
        body["reasoning"] = reasoning


def _set_output_format(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> bool:
    """Set the form of the response; returns whether an object will wrap it."""
    form = request.output_format
    if form is None:
        return False
    schema, wrapped = with_object_root(form.schema)
    described: dict[str, Any] = {
        "type": "json_schema",
        "name": legal_tool_name(form.name or "response"),
    }
    try:
        described |= {"schema": to_strict_schema(schema, target.inlining), "strict": True}
    except NotStrict:
        described |= {"schema": schema, "strict": False}
        target.diagnostics.note_dropped("output_config.format.schema[strict]")
    body["text"] = {"format": described}
    return wrapped


def _set_sampling(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.max_tokens == 0:
        if target.traits.cache_breakpoints:
            body["prompt_cache_options"] = {"prewarm": True}
        else:
            target.diagnostics.note_refused("max_tokens", f"expected at least 1 for {target.model}")
    elif request.max_tokens is not None:
        body["max_output_tokens"] = max(request.max_tokens, _MIN_TOKENS)
        if request.max_tokens < _MIN_TOKENS:
            target.diagnostics.note_dropped("max_tokens")
    traits = target.traits
    idle = "none" if traits.reasoning_off_by_default else None
    effort = extensions.extension_effort(request) or body.get("reasoning", {}).get("effort", idle)
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None and (
            traits.accepts_sampling or (effort == "none" and not traits.always_reasons)
        ):
            body[name] = value
        elif value is not None:
            target.diagnostics.note_dropped(name)
    if request.top_k is not None:
        target.diagnostics.note_dropped("top_k")


def _set_service(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.service_tier is not None:
        tier = _TIERS.get(request.service_tier)
        if tier is None:
            target.diagnostics.note_dropped("service_tier")
        else:
            body["service_tier"] = tier
    if request.extra.get("speed") == "fast":
        if "service_tier" in body:
            target.diagnostics.note_dropped("service_tier")
        body["service_tier"] = "fast"
    labels: dict[str, str] = {}
    for name, value in (request.metadata or {}).items():
        if name == "user_id" and isinstance(value, str) and value:
            body["safety_identifier"] = anonymous_user_id(value)
        elif isinstance(value, str) and len(labels) < _MAX_PAIRS and _fits_metadata(name, value):
            labels[name] = value
        elif value is not None:
            target.diagnostics.note_dropped(f"metadata.{name}")
    if labels:
        body["metadata"] = labels
    key = cache_key(request)
    if key is not None:
        body["prompt_cache_key"] = key
    if request.cache_control:
        if target.traits.cache_breakpoints:
            options = body.get("prompt_cache_options", {})
            body["prompt_cache_options"] = {"mode": "implicit"} | options
            if "ttl" in request.cache_control:
                target.diagnostics.note_dropped("cache_control.ttl")
        else:
            target.diagnostics.note_dropped("cache_control")


def _fits_metadata(name: str, value: str) -> bool:
    return 0 < len(name) <= 64 and len(value) <= 512


def _check_remaining_members(
    request: MessageRequest, body: dict[str, Any], target: OpenaiTarget
) -> None:
    """Check the members without an equivalent here."""
    check_output(request, target.diagnostics, ("image",))
    taken = {"mcp_servers", "speed"} if request.extra.get("speed") == "fast" else {"mcp_servers"}
    check_members(request, target.diagnostics, frozenset(taken))

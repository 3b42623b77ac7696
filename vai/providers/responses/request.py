"""A canonical request -> the body of a Responses request."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.decode.reading import TranslatedRequest
from vai.providers.decode.text_filter import watched
from vai.providers.responses import extensions
from vai.providers.responses.items import conversation
from vai.providers.responses.tools import RequestTools, tool_choice, tooling
from vai.providers.translate.members import check_members, check_nested
from vai.providers.translate.names import alias, end_user
from vai.providers.translate.options import (
    asked,
    cache_key,
    check_output,
    check_stops,
    clamp,
    is_shown,
    modalities,
)
from vai.providers.translate.schema import NotStrict, rooted, strict
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.tools import check_needless
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["PATH", "translate"]

PATH: Final = "/responses"
"""Below the base URL, whichever row the request is for."""
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


def translate(request: MessageRequest, row: ProviderSpec) -> TranslatedRequest:
    """The request for the server of `row`.

    Raises:
        InvalidRequest: something that matters cannot be expressed.
    """
    target = OpenaiTarget(row, request.model)
    made = tooling(request, target)
    _, own = extensions.given(request)
    chained = isinstance(own, dict) and bool(own.get("previous_response_id"))
    instructions, items = conversation(request, target, made, chained=chained)
    # Nothing is kept at the server: what it needs again is in the caller's history.
    body: dict[str, Any] = {"model": request.model, "input": items, "store": False}
    if instructions is not None:
        body["instructions"] = instructions
    _tools(request, body, made, target)
    _reasoning(request, body, target)
    if made.include or target.traits.efforts:
        sealed = ["reasoning.encrypted_content"] if target.traits.efforts else []
        body["include"] = [*dict.fromkeys([*sealed, *made.include])]
    wrapped = _output(request, body, target)
    stops = [sequence for sequence in request.stop_sequences or () if sequence]
    # The server knows no stop sequences: they are watched for here.
    check_stops(stops, target.findings)
    text = watched(stops, wrapped=wrapped)
    _sampling(request, body, target)
    _service(request, body, target)
    _check_rest(request, body, target)
    check_nested(request, target.findings)
    extensions.apply(request, body, target)
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_obfuscation": False}
    target.findings.check()
    accept = "text/event-stream" if request.stream else "application/json"
    headers = (("content-type", "application/json"), ("accept", accept))
    wire = WireRequest("POST", PATH, headers, msgspec.json.encode(body), request.stream)
    return TranslatedRequest(wire, made.names, text, target.findings.dropped)


def _tools(
    request: MessageRequest, body: dict[str, Any], made: RequestTools, target: OpenaiTarget
) -> None:
    sent = list(made.sent)
    if "image" in modalities(request) and not any(
        tool.get("type") == "image_generation" for tool in sent
    ):
        asked_size = (request.output or {}).get("image")
        size = asked_size.get("size") if isinstance(asked_size, dict) else None
        sent.append({"type": "image_generation"} | ({"size": size} if size else {}))
    choice = request.tool_choice
    if not sent:
        check_needless(choice, target.findings)
        return
    body["tools"] = sent
    if choice is None:
        return
    chosen = tool_choice(choice, request, made, target)
    if chosen is not None:
        body["tool_choice"] = chosen
    if choice.disable_parallel_tool_use:
        body["parallel_tool_calls"] = False


def _reasoning(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    traits = target.traits
    effort, path = asked(request)
    thinking = request.thinking
    shows = thinking is not None and thinking.type in ("enabled", "adaptive")
    if not traits.efforts:
        if shows:
            target.findings.drop("thinking")
        if request.output_config is not None and request.output_config.effort:
            target.findings.drop("output_config.effort")
        return
    if effort is None and shows and traits.idle_by_default:
        # Left to itself it would not think at all, and thinking was asked for.
        effort = "medium"
    reasoning: dict[str, Any] = {}
    if effort is not None:
        known = clamp(effort, traits.efforts)
        if known is not None:
            reasoning["effort"] = known
        if known != effort:
            target.findings.drop(path)
    if is_shown(request, target.findings):
        reasoning["summary"] = "auto"
    if reasoning:
        body["reasoning"] = reasoning


def _output(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> bool:
    """Set the form of the answer; says whether it will be wrapped in an object."""
    form = request.output_format
    if form is None:
        return False
    schema, wrapped = rooted(form.schema)
    described: dict[str, Any] = {"type": "json_schema", "name": alias(form.name or "response")}
    try:
        described |= {"schema": strict(schema, target.inlining), "strict": True}
    except NotStrict:
        described |= {"schema": schema, "strict": False}
        target.findings.drop("output_config.format.schema[strict]")
    body["text"] = {"format": described}
    return wrapped


def _sampling(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.max_tokens == 0:
        if target.traits.breakpoints:
            body["prompt_cache_options"] = {"prewarm": True}
        else:
            target.findings.refuse("max_tokens", f"expected at least 1 for {target.model}")
    elif request.max_tokens is not None:
        body["max_output_tokens"] = max(request.max_tokens, _MIN_TOKENS)
        if request.max_tokens < _MIN_TOKENS:
            target.findings.drop("max_tokens")
    traits = target.traits
    idle = "none" if traits.idle_by_default else None
    effort = extensions.effort(request) or body.get("reasoning", {}).get("effort", idle)
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None and (
            traits.samples or (effort == "none" and not traits.always_reasons)
        ):
            body[name] = value
        elif value is not None:
            target.findings.drop(name)
    if request.top_k is not None:
        target.findings.drop("top_k")


def _service(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.service_tier is not None:
        tier = _TIERS.get(request.service_tier)
        if tier is None:
            target.findings.drop("service_tier")
        else:
            body["service_tier"] = tier
    if request.extra.get("speed") == "fast":
        if "service_tier" in body:
            target.findings.drop("service_tier")
        body["service_tier"] = "fast"
    labels: dict[str, str] = {}
    for name, value in (request.metadata or {}).items():
        if name == "user_id" and isinstance(value, str) and value:
            body["safety_identifier"] = end_user(value)
        elif isinstance(value, str) and len(labels) < _MAX_PAIRS and _fits(name, value):
            labels[name] = value
        elif value is not None:
            target.findings.drop(f"metadata.{name}")
    if labels:
        body["metadata"] = labels
    key = cache_key(request)
    if key is not None:
        body["prompt_cache_key"] = key
    if request.cache_control:
        if target.traits.breakpoints:
            options = body.get("prompt_cache_options", {})
            body["prompt_cache_options"] = {"mode": "implicit"} | options
            if "ttl" in request.cache_control:
                target.findings.drop("cache_control.ttl")
        else:
            target.findings.drop("cache_control")


def _fits(name: str, value: str) -> bool:
    return 0 < len(name) <= 64 and len(value) <= 512


def _check_rest(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Members without an equivalent here."""
    check_output(request, target.findings, ("image",))
    taken = {"mcp_servers", "speed"} if request.extra.get("speed") == "fast" else {"mcp_servers"}
    check_members(request, target.findings, frozenset(taken))

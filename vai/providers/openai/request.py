"""A canonical request -> the body of a Chat Completions request."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.decode.reading import TranslatedRequest
from vai.providers.decode.text_filter import QuotableText, TextFilter, make_text_filter
from vai.providers.openai import extensions
from vai.providers.openai.conversation import messages
from vai.providers.openai.hosted import cites
from vai.providers.openai.tools import names, tool_choice, tools
from vai.providers.translate.capability_override import without_unsupported_options
from vai.providers.translate.members import check_members, check_nested_members
from vai.providers.translate.names import anonymous_user_id, legal_tool_name
from vai.providers.translate.options import (
    cache_key,
    check_output,
    check_stop_sequences,
    clamp_effort,
    requested_modalities,
    shows_reasoning,
)
from vai.providers.translate.options import requested_effort as asked_effort
from vai.providers.translate.schema import NotStrict, to_strict_schema, with_object_root
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.tools import check_unused_choice
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["translate"]

_MAX_STOPS: Final = 4
"""Stop sequences of one request. Types of openai 3.54.0, https://github.com/openai/openai-python
(2026-11-17)."""
_VOICE: Final = "alloy"
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_STREAMED: Final = "pcm16"
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def translate(request: MessageRequest, spec: ProviderSpec) -> TranslatedRequest:
    """The request for the server of `spec`.

    Raises:
        InvalidRequest: something that matters cannot be expressed.
    """
    target = OpenaiTarget(spec, request.model)
    if spec.has_capability_override:
        request = without_unsupported_options(request, target.capabilities, target.diagnostics)
    body: dict[str, Any] = {"model": request.model, "messages": messages(request, target)}
    _tools(request, body, target)
    _reasoning(request, body, target)
    text = _stops(request, body, target, wrapped=_output(request, body, target))
    _sampling(request, body, target)
    _service(request, body, target)
    _cache(request, body, target)
    _check_rest(request, body, target)
    check_nested_members(request, target.diagnostics)
    extensions.apply(request, body, target)
    _speech(request, body, target)
    _stream(request, body, target)
    if cites(body):
        text = QuotableText(text)
    target.diagnostics.raise_if_refused()
    streams = body.get("stream") is True
    accept = "text/event-stream" if streams else "application/json"
    headers = (("content-type", "application/json"), ("accept", accept))
    wire = WireRequest("POST", spec.path, headers, msgspec.json.encode(body), streams)
    sound = str(body.get("audio", {}).get("format", "wav"))
    return TranslatedRequest(wire, names(request), text, target.diagnostics.dropped_paths, sound)


def _stream(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.stream and not ("response_format" in body and target.has_quirk("schema_unstreamed")):
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}


def _tools(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    found, members = tools(request, target)
    body |= members
    choice = request.tool_choice
    if not found:
        if not members:
            check_unused_choice(choice, target.diagnostics)
        return
    body["tools"] = found
    if choice is None:
        return
    chosen = tool_choice(choice, request, found, target)
    if chosen is not None:
        body["tool_choice"] = chosen
    if choice.disable_parallel_tool_use:
        body["parallel_tool_calls"] = False


def _reasoning(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    efforts = target.traits.efforts
    asked, path = asked_effort(request)
    if target.traits.tools_forbid_reasoning and "tools" in body and "none" in efforts:
        # These models call functions only while they do not reason.
        if asked not in (None, "none"):
            target.diagnostics.note_dropped(path)
        body["reasoning_effort"] = "none"
        return
    thinking = request.thinking
    if not efforts:
        if thinking is not None and thinking.type in ("enabled", "adaptive"):
            target.diagnostics.note_dropped("thinking")
        if request.output_config is not None and request.output_config.effort:
            target.diagnostics.note_dropped("output_config.effort")
        return
    if asked is not None:
        effort = clamp_effort(asked, efforts)
        if effort is not None:
            body["reasoning_effort"] = effort
        if effort != asked:
            target.diagnostics.note_dropped(path)
    elif thinking is not None and target.traits.reasoning_off_by_default:
        # To reason as it sees fit is what this model does not do.
        target.diagnostics.note_dropped("thinking")
    shown = shows_reasoning(request, target.diagnostics)
    if thinking is None or not target.traits.reasoning_visibility_param:
        return
    if thinking.type in ("disabled", "between_tools") and "none" in efforts:
        return
    if target.traits.reasoning_visibility_param == "include":
        body["include_reasoning"] = shown
    else:
        body["reasoning_format"] = "parsed" if shown else "hidden"


def _output(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> bool:
    """Set the form of the answer; says whether it will be wrapped in an object."""
    form = request.output_format
    if form is None:
        return False
    if not target.capabilities.structured_output:
        target.diagnostics.note_refused(
            "output_config.format",
            f"{target.spec.name} cannot answer by a JSON Schema",
            "unsupported_output_format",
        )
    elif "tools" in body and not target.capabilities.structured_output_with_tools:
        target.diagnostics.note_refused(
            "output_config.format",
            f"{target.spec.name} takes either tools or a JSON Schema",
            "unsupported_output_format",
        )
    schema, wrapped = with_object_root(form.schema)
    described: dict[str, Any] = {"name": legal_tool_name(form.name or "response")}
    try:
        described |= {"schema": to_strict_schema(schema, target.inlining), "strict": True}
    except NotStrict:
        described |= {"schema": schema, "strict": False}
        target.diagnostics.note_dropped("output_config.format.schema[strict]")
    body["response_format"] = {"type": "json_schema", "json_schema": described}
    return wrapped


def _stops(
    request: MessageRequest, body: dict[str, Any], target: OpenaiTarget, *, wrapped: bool
) -> TextFilter | None:
    """Stop sequences: sent, or watched for here where the server takes none or fewer.

    A server would meet them in the wrapping as well, which the caller does not see.
    """
    sequences = [sequence for sequence in request.stop_sequences or () if sequence]
    can = target.capabilities.stop_sequences and target.traits.accepts_stop and not wrapped
    if sequences and can and len(sequences) <= _MAX_STOPS:
        body["stop"] = sequences
        sequences = []
    check_stop_sequences(sequences, target.diagnostics)
    return make_text_filter(sequences, wrapped=wrapped)


def _sampling(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    limit = "max_tokens" if target.has_quirk("max_tokens") else "max_completion_tokens"
    if request.max_tokens == 0:
        target.diagnostics.note_refused("max_tokens", f"expected at least 1 for {target.spec.name}")
    elif request.max_tokens is not None:
        body[limit] = request.max_tokens
    traits = target.traits
    effort = body.get("reasoning_effort", "none" if traits.reasoning_off_by_default else None)
    samples = traits.accepts_sampling or effort == "none"
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None and samples:
            body[name] = value
        elif value is not None:
            target.diagnostics.note_dropped(name)
    if request.top_k is not None:
        target.diagnostics.note_dropped("top_k")


def _service(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    tiers = {"auto": "auto", "standard_only": "default", "flex": "flex", "priority": "priority"}
    if target.has_quirk("on_demand_tier"):
        tiers |= {"standard_only": "on_demand", "priority": "performance"}
    if request.service_tier is not None:
        tier = tiers.get(request.service_tier)
        if tier is None:
            target.diagnostics.note_dropped("service_tier")
        else:
            body["service_tier"] = tier
    for name, value in (request.metadata or {}).items():
        if name == "user_id" and isinstance(value, str) and value:
            body["user" if target.has_quirk("user") else "safety_identifier"] = anonymous_user_id(
                value
            )
        elif value is not None:
            target.diagnostics.note_dropped(f"metadata.{name}")


def _cache(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    key = cache_key(request) if "prompt_cache_key" in extensions.allowed(target.spec.id) else None
    if key is not None:
        body["prompt_cache_key"] = key
    if request.cache_control:
        if target.traits.cache_breakpoints:
            body["prompt_cache_options"] = {"mode": "implicit"}
            if "ttl" in request.cache_control:
                target.diagnostics.note_dropped("cache_control.ttl")
        else:
            target.diagnostics.note_dropped("cache_control")


def _speech(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Ask for a spoken answer, where one is wanted and the model can speak."""
    can = ("audio",) if target.capabilities.audio_output and "audio" in target.model else ()
    check_output(request, target.diagnostics, can)
    given = (request.extensions or {}).get(target.spec.id)
    asked = given.get("audio") if isinstance(given, dict) else None
    if "audio" not in requested_modalities(request):
        if asked is not None:
            target.diagnostics.note_dropped(f"extensions.{target.spec.id}.audio")
        return
    body["modalities"] = ["text", "audio"]
    body["audio"] = {"voice": _VOICE, "format": "wav"} | (asked if isinstance(asked, dict) else {})
    if request.stream and body["audio"]["format"] != _STREAMED:
        # The one format of which the pieces can be heard before the last has come.
        body["audio"]["format"] = _STREAMED
        if isinstance(asked, dict) and "format" in asked:
            target.diagnostics.note_dropped(f"extensions.{target.spec.id}.audio.format")


def _check_rest(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Members without an equivalent here."""
    is_fast = request.extra.get("speed") == "fast" and target.has_quirk("fast_tier")
    if is_fast:
        if "service_tier" in body:
            target.diagnostics.note_dropped("service_tier")
        body["service_tier"] = "fast"
    check_members(request, target.diagnostics, frozenset({"speed"} if is_fast else ()))

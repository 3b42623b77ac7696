"""A canonical request -> the body of a Chat Completions request.

`extensions.<provider>` are the client's own members for one provider: documented members of the
provider's API that have no canonical name, sent on unchanged. The list is an allow list, not a
deny list: a member that changed the model, the stream or the number of responses would make the
response unreadable here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.decode.base_adapter import TranslatedRequest
from vai.providers.decode.text_filter import QuotableText, TextFilter, make_text_filter
from vai.providers.openai.conversation import messages_from_request
from vai.providers.openai.tools import (
    may_cite,
    tool_names_by_alias,
    translate_tool_choice,
    translate_tools,
)
from vai.providers.translate.capability_override import without_unsupported_options
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

__all__ = ["allowed_extensions", "apply_extensions", "translate_request"]

_SHARED: Final = frozenset(
    {
        "parallel_tool_calls",
        "reasoning_effort",
        "seed",
        "service_tier",
        "temperature",
        "top_p",
        "user",
    }
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "openai": _SHARED
    | {
        "frequency_penalty",
        "logit_bias",
        "metadata",
        "moderation",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "verbosity",
        "web_search_options",
    },
    "groq": _SHARED
    | {"citation_options", "documents", "include_reasoning", "reasoning_format", "search_settings"},
    "cerebras": _SHARED
    | {
        "clear_thinking",
        "disable_reasoning",
        "logit_bias",
        "min_completion_tokens",
        "prediction",
        "prompt_cache_key",
        "reasoning_format",
    },
}
"""The members beside those with a canonical name: types of openai 3.54.0,
https://github.com/openai/openai-python (2026-11-17); types of groq 1.7.0,
https://github.com/groq/groq-python (2026-08-25); types of cerebras-cloud-sdk 1.91.0,
https://github.com/Cerebras/cerebras-cloud-sdk-python (2026-07-08)."""


def allowed_extensions(provider: str) -> frozenset[str]:
    """The members that `provider` documents beside those with a canonical name."""
    return _ALLOWED.get(provider, _SHARED)


def apply_extensions(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Put the provider's extension members into `body`; they win over derived ones."""
    provider = target.spec.id
    members = (request.extensions or {}).get(provider)
    if members is None:
        return
    if not isinstance(members, dict):
        target.diagnostics.note_refused(f"extensions.{provider}", "expected an object")
        return
    names = allowed_extensions(provider)
    for name, value in members.items():
        if target.traits.always_reasons and _disables_reasoning(name, value):
            target.diagnostics.note_dropped(f"extensions.{provider}.{name}")
        elif name == "reasoning" and isinstance(value, dict) and "effort" in value:
            body["reasoning_effort"] = value["effort"]
        elif name == "audio":
            continue  # goes with `output.modalities`
        elif name in names and value is not None:
            body[name] = value
        else:
            target.diagnostics.note_dropped(f"extensions.{provider}.{name}")
    if "reasoning_format" in members:
        # The two mean the same, and the server refuses them together.
        body.pop("include_reasoning", None)


def _disables_reasoning(name: str, value: Any) -> bool:
    """Whether an extension member turns the model's reasoning off."""
    if name == "reasoning" and isinstance(value, dict):
        return value.get("effort") == "none"
    return (name == "reasoning_effort" and value == "none") or (
        name == "disable_reasoning" and value is True
    )


_MAX_STOPS: Final = 4
"""Stop sequences of one request. Types of openai 3.54.0, https://github.com/openai/openai-python
(2026-11-17)."""
_TIERS: Final = {
    "auto": "auto",
    "standard_only": "default",
    "flex": "flex",
    "priority": "priority",
}
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_ON_DEMAND_TIERS: Final = _TIERS | {"standard_only": "on_demand", "priority": "performance"}
"""Types of groq 1.7.0, https://github.com/groq/groq-python (2026-08-25)."""
_VOICE: Final = "alloy"
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_STREAMED: Final = "pcm16"
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def translate_request(request: MessageRequest, spec: ProviderSpec) -> TranslatedRequest:
    """The request for the server of `spec`.

    Raises:
        InvalidRequest: the format cannot express a part that matters.
    """
    target = OpenaiTarget(spec, request.model)
    if spec.has_capability_override:
        request = without_unsupported_options(request, target.capabilities, target.diagnostics)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages_from_request(request, target),
    }
    _set_tools(request, body, target)
    _set_reasoning(request, body, target)
    text = _set_stop_sequences(
        request, body, target, wrapped=_set_output_format(request, body, target)
    )
    _set_sampling(request, body, target)
    _set_service(request, body, target)
    _set_caching(request, body, target)
    _check_remaining_members(request, body, target)
    check_nested_members(request, target.diagnostics)
    apply_extensions(request, body, target)
    _set_speech(request, body, target)
    _set_streaming(request, body, target)
    if may_cite(body):
        text = QuotableText(text)
    target.diagnostics.raise_if_refused()
    streams = body.get("stream") is True
    accept = "text/event-stream" if streams else "application/json"
    headers = (("content-type", "application/json"), ("accept", accept))
    wire = WireRequest("POST", spec.path, headers, msgspec.json.encode(body), streams)
    sound = str(body.get("audio", {}).get("format", "wav"))
    return TranslatedRequest(
        wire, tool_names_by_alias(request), text, target.diagnostics.dropped_paths, sound
    )


def _set_streaming(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.stream and not ("response_format" in body and target.has_quirk("schema_unstreamed")):
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}


def _set_tools(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    choice = request.tool_choice
    if not request.tools:
        check_unused_choice(choice, target.diagnostics)
        return
    translated, members = translate_tools(request, target)
    body |= members
    if not translated:
        if not members:
            check_unused_choice(choice, target.diagnostics)
        return
    body["tools"] = translated
    if choice is None:
        return
    chosen = translate_tool_choice(choice, request, translated, target)
    if chosen is not None:
        body["tool_choice"] = chosen
    if choice.disable_parallel_tool_use:
        body["parallel_tool_calls"] = False


def _set_reasoning(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    efforts = target.traits.efforts
    requested, path = requested_effort(request)
    if target.traits.tools_forbid_reasoning and "tools" in body and "none" in efforts:
        # These models call functions only while they do not reason.
        if requested not in (None, "none"):
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
    if requested is not None:
        effort = clamp_effort(requested, efforts)
        if effort is not None:
            body["reasoning_effort"] = effort
        if effort != requested:
            target.diagnostics.note_dropped(path)
    elif thinking is not None and target.traits.reasoning_off_by_default:
        # This model cannot choose its own amount of reasoning.
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


def _set_output_format(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> bool:
    """Set the form of the response; returns whether an object will wrap it."""
    form = request.output_format
    if form is None:
        return False
    if not target.capabilities.structured_output:
        target.diagnostics.note_refused(
            "output_config.format",
            f"{target.spec.name} cannot respond by a JSON Schema",
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


def _set_stop_sequences(
    request: MessageRequest, body: dict[str, Any], target: OpenaiTarget, *, wrapped: bool
) -> TextFilter | None:
    """Stop sequences: sent, or searched for here where the server accepts none or fewer.

    A server would also find them in the wrapping, which the client does not see.
    """
    if not request.stop_sequences:
        return make_text_filter([], wrapped=wrapped)
    sequences = [sequence for sequence in request.stop_sequences or () if sequence]
    accepted = target.capabilities.stop_sequences and target.traits.accepts_stop and not wrapped
    if sequences and accepted and len(sequences) <= _MAX_STOPS:
        body["stop"] = sequences
        sequences = []
    check_stop_sequences(sequences, target.diagnostics)
    return make_text_filter(sequences, wrapped=wrapped)


def _set_sampling(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
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


def _set_service(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    if request.service_tier is not None:
        tiers = _ON_DEMAND_TIERS if target.has_quirk("on_demand_tier") else _TIERS
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


def _set_caching(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    key = cache_key(request) if "prompt_cache_key" in allowed_extensions(target.spec.id) else None
    if key is not None:
        body["prompt_cache_key"] = key
    if request.cache_control:
        if target.traits.cache_breakpoints:
            body["prompt_cache_options"] = {"mode": "implicit"}
            if "ttl" in request.cache_control:
                target.diagnostics.note_dropped("cache_control.ttl")
        else:
            target.diagnostics.note_dropped("cache_control")


def _set_speech(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Request a spoken response, where one is wanted and the model can speak."""
    if request.output is None and request.extensions is None:
        return  # nearly every request
    modalities = ("audio",) if target.capabilities.audio_output and "audio" in target.model else ()
    check_output(request, target.diagnostics, modalities)
    members = (request.extensions or {}).get(target.spec.id)
    settings = members.get("audio") if isinstance(members, dict) else None
    if "audio" not in requested_modalities(request):
        if settings is not None:
            target.diagnostics.note_dropped(f"extensions.{target.spec.id}.audio")
        return
    body["modalities"] = ["text", "audio"]
    body["audio"] = {"voice": _VOICE, "format": "wav"} | (
        settings if isinstance(settings, dict) else {}
    )
    if request.stream and body["audio"]["format"] != _STREAMED:
        # The only format whose pieces a client can play before the last one arrives.
        body["audio"]["format"] = _STREAMED
        if isinstance(settings, dict) and "format" in settings:
            target.diagnostics.note_dropped(f"extensions.{target.spec.id}.audio.format")


def _check_remaining_members(
    request: MessageRequest, body: dict[str, Any], target: OpenaiTarget
) -> None:
    """Members without an equivalent here."""
    is_fast = request.extra.get("speed") == "fast" and target.has_quirk("fast_tier")
    if is_fast:
        if "service_tier" in body:
            target.diagnostics.note_dropped("service_tier")
        body["service_tier"] = "fast"
    check_members(request, target.diagnostics, frozenset({"speed"} if is_fast else ()))

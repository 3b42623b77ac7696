"""A canonical request -> the body of generateContent, wrapped for Code Assist.

Thinking: up to 2.5 a model has a budget in tokens, from 3 on a level; an extension's setting of
either replaces the derived one. Thinking counts against `max_tokens` in both.

Extensions: VAI passes on documented members of generateContent without a canonical name unchanged,
in camelCase or snake_case. `extensions.gemini` is an allow list: a member that changed the number
of responses or their form would make them unreadable here.

Counting with Gemini and with Code Assist: ``:countTokens`` in place of the generation.

Gemini's counter accepts the complete request. That of Code Assist accepts contents alone, so VAI
puts the system's text in front of them, and the gateway estimates the tools.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from vai.providers.decode.base_adapter import TranslatedRequest
from vai.providers.decode.text_filter import StopAt, TextFilter
from vai.providers.gemini.conversation import system_instruction, translate_contents
from vai.providers.gemini.models import GeminiTarget
from vai.providers.gemini.tools import (
    original_tool_names,
    plain_schema,
    reports_searches_last,
    translate_tool_config,
    translate_tools,
)
from vai.providers.translate.members import check_members, check_nested_members
from vai.providers.translate.options import (
    EFFORTS,
    check_output,
    check_stop_sequences,
    clamp_effort,
    requested_effort,
    requested_modalities,
    shows_reasoning,
)
from vai.providers.translate.tools import tool_family
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = [
    "apply_extensions",
    "thinking_config",
    "to_code_assist_count_request",
    "to_count_request",
    "translate_request",
]

_MAX_STOPS: Final = 5
"""Stop sequences of one request. Observed in the refusals of the API (2026-11-22)."""
_TIERS: Final = {"standard_only": "standard", "flex": "flex", "priority": "priority"}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_SIZES: Final = ("1K", "2K", "4K")
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Content(msgspec.Struct):
    parts: list[msgspec.Raw] = []


class _Request(msgspec.Struct, rename="camel"):
    contents: list[msgspec.Raw] = []
    system_instruction: _Content | None = None


class _Wrapped(msgspec.Struct):
    request: _Request


_decode_wrapped: Final = msgspec.json.Decoder(_Wrapped).decode


def to_count_request(wire: WireRequest, model: str) -> WireRequest:
    """The request to Gemini's counter, from the request for a response."""
    request: dict[str, Any] = {"model": f"models/{model}", **_decode_members(wire.body)}
    return _replace_body(wire, {"generateContentRequest": request})


def to_code_assist_count_request(wire: WireRequest, model: str) -> WireRequest:
    """The request to Code Assist's counter. It leaves the tools out."""
    request = _decode_wrapped(wire.body).request
    contents: list[Any] = list(request.contents)
    if request.system_instruction is not None and request.system_instruction.parts:
        contents.insert(0, {"role": "user", "parts": request.system_instruction.parts})
    return _replace_body(wire, {"request": {"model": f"models/{model}", "contents": contents}})


def _replace_body(wire: WireRequest, body: dict[str, Any]) -> WireRequest:
    # The method follows the last colon; a model's name may hold others.
    path = wire.target.partition("?")[0].rpartition(":")[0]
    return msgspec.structs.replace(
        wire, target=f"{path}:countTokens", body=msgspec.json.encode(body), streams=False
    )


def translate_request(
    request: MessageRequest, spec: ProviderSpec, exchange_id: str
) -> TranslatedRequest:
    """The request for the service of `spec`.

    Raises:
        InvalidRequest: the format cannot express a part that matters.
    """
    target = GeminiTarget(spec, request.model)
    body: dict[str, Any] = {"contents": translate_contents(request, target)}
    system = system_instruction(request, target)
    if system is not None:
        body["systemInstruction"] = system
    sent = translate_tools(request, target)
    if sent:
        body["tools"] = sent
    config = translate_tool_config(request, sent, target)
    if config:
        body["toolConfig"] = config
    generation: dict[str, Any] = {}
    text = _set_sampling(request, generation, target)
    thinking = thinking_config(request, target)
    if thinking:
        generation["thinkingConfig"] = thinking
    _set_output_format(request, generation, target)
    _set_modalities(request, generation, target)
    _set_service(request, body, target)
    check_members(request, target.diagnostics)
    check_nested_members(request, target.diagnostics)
    body["generationConfig"] = generation
    apply_extensions(request, body, target)
    if not generation:
        del body["generationConfig"]
    target.diagnostics.raise_if_refused()
    wire = _wire_request(request, body, target, exchange_id)
    grounds = reports_searches_last(sent, config)
    return TranslatedRequest(
        wire,
        original_tool_names(request.tools),
        text,
        target.diagnostics.dropped_paths,
        grounds=grounds,
    )


def _wire_request(
    request: MessageRequest, body: dict[str, Any], target: GeminiTarget, exchange_id: str
) -> WireRequest:
    method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    path = f"/models/{_quote_segment(target.model)}:{method}"
    if target.is_code_assist:
        path = f"/v1internal:{method}"
        body = {
            "model": target.model,
            "project": target.spec.project,
            "user_prompt_id": exchange_id,
            "request": body,
        }
    accept = "text/event-stream" if request.stream else "application/json"
    headers = (("content-type", "application/json"), ("accept", accept))
    return WireRequest("POST", path, headers, msgspec.json.encode(body), request.stream)


def _quote_segment(model: str) -> str:
    """The model as one segment of a path, whatever characters the client put into it."""
    return quote(model, safe="")


def _set_sampling(
    request: MessageRequest, generation: dict[str, Any], target: GeminiTarget
) -> TextFilter | None:
    """Limits and sampling; returns a filter for more stop sequences than Gemini accepts."""
    if request.max_tokens == 0:
        target.diagnostics.note_refused("max_tokens", f"expected at least 1 for {target.spec.name}")
    elif request.max_tokens is not None:
        generation["maxOutputTokens"] = request.max_tokens
    for name, wire in (("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK")):
        value = getattr(request, name)
        if value is not None and target.traits.accepts_sampling:
            generation[wire] = value
        elif value is not None:
            target.diagnostics.note_dropped(name)
    sequences = [sequence for sequence in request.stop_sequences or () if sequence]
    if len(sequences) > _MAX_STOPS:
        check_stop_sequences(sequences, target.diagnostics)
        return StopAt(sequences)
    if sequences:
        generation["stopSequences"] = sequences
    return None


def _set_output_format(
    request: MessageRequest, generation: dict[str, Any], target: GeminiTarget
) -> None:
    form = request.output_format
    if form is None:
        return
    if request.tools and not target.traits.tools_combinable:
        what = f"{target.model} takes either tools or a JSON Schema"
        target.diagnostics.note_refused("output_config.format", what, "unsupported_output_format")
    if form.name:
        target.diagnostics.note_dropped("output_config.format.name")
    generation["responseMimeType"] = "application/json"
    generation["responseJsonSchema"] = plain_schema(form.schema)


def _set_modalities(
    request: MessageRequest, generation: dict[str, Any], target: GeminiTarget
) -> None:
    """Pictures in the response: requested as a modality, or by the tool of that name."""
    check_output(request, target.diagnostics, ("image",) if target.traits.outputs_images else ())
    image_tools = [
        f"tools[{index}]"
        for index, tool in enumerate(request.tools or ())
        if tool_family(tool.type) == "image_generation"
    ]
    if not target.traits.outputs_images:
        for at in image_tools:
            what = f"{target.model} does not respond with images"
            target.diagnostics.note_refused(at, what, "unsupported_output_modality")
        return
    if not image_tools and "image" not in requested_modalities(request):
        return
    generation["responseModalities"] = ["TEXT", "IMAGE"]
    image = (request.output or {}).get("image")
    size = image.get("size") if isinstance(image, dict) else None
    if size in _SIZES:
        generation["imageConfig"] = {"imageSize": size}
    elif size is not None:
        target.diagnostics.note_dropped("output.image.size")


def _set_service(request: MessageRequest, body: dict[str, Any], target: GeminiTarget) -> None:
    tier = _TIERS.get(request.service_tier or "")
    if tier is not None and not target.is_code_assist:
        body["serviceTier"] = tier
    elif request.service_tier is not None:
        target.diagnostics.note_dropped("service_tier")
    for name, value in (request.metadata or {}).items():
        if value is not None:
            target.diagnostics.note_dropped(f"metadata.{name}")
    if request.cache_control:
        target.diagnostics.note_dropped("cache_control")


_GENERATION: Final = frozenset(
    {
        "audioTimestamp",
        "enableEnhancedCivicAnswers",
        "frequencyPenalty",
        "imageConfig",
        "maxOutputTokens",
        "mediaResolution",
        "presencePenalty",
        "responseModalities",
        "seed",
        "speechConfig",
        "temperature",
        "topK",
        "topP",
    }
)
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_BODY: Final = frozenset({"cachedContent", "safetySettings"})
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_BODY_OF_THE_API: Final = frozenset({"serviceTier", "store"})
"""Members that Code Assist does not have.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_BODY_OF_CODE_ASSIST: Final = frozenset({"labels"})
"""https://github.com/google-gemini/gemini-cli (2026-08-21)."""
_THINKING: Final = {
    "level": "thinkingLevel",
    "thinkingLevel": "thinkingLevel",
    "budget": "thinkingBudget",
    "thinkingBudget": "thinkingBudget",
    "includeThoughts": "includeThoughts",
}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


def apply_extensions(request: MessageRequest, body: dict[str, Any], target: GeminiTarget) -> None:
    """Put the extension members into `body`; they win over derived ones.

    `body` must hold its `generationConfig`. Code Assist prefers its own name.
    """
    extensions = request.extensions or {}
    name = target.spec.id if target.spec.id in extensions else "gemini"
    members = extensions.get(name)
    if members is None:
        return
    if not isinstance(members, dict):
        target.diagnostics.note_refused(f"extensions.{name}", "expected an object")
        return
    for member, value in members.items():
        if value is not None and not _set_member(_camel_case(member), value, body, target):
            target.diagnostics.note_dropped(f"extensions.{name}.{member}")


def _set_member(member: str, value: Any, body: dict[str, Any], target: GeminiTarget) -> bool:
    """Set the member; False where no member of the body accepts it."""
    generation = body["generationConfig"]
    body_members = _BODY_OF_CODE_ASSIST if target.is_code_assist else _BODY_OF_THE_API
    if member in _GENERATION:
        generation[member] = _camel_case_names(value)
    elif member in _BODY:
        body[member] = _camel_case_names(value)
    elif member in body_members:
        body[member] = value
    elif member == "retrievalConfig":
        body.setdefault("toolConfig", {})[member] = _camel_case_names(value)
    elif member in ("thinking", "thinkingConfig") and isinstance(value, dict):
        are_set = [
            _set_thinking(_camel_case(name), item, generation, target)
            for name, item in value.items()
        ]
        return all(are_set)
    else:
        return member in _THINKING and _set_thinking(member, value, generation, target)
    return True


def _set_thinking(
    member: str, value: Any, generation: dict[str, Any], target: GeminiTarget
) -> bool:
    name = _THINKING.get(member)
    if name is None or (not target.traits.thinking_can_be_disabled and _switches_off(name, value)):
        return False
    config = generation.setdefault("thinkingConfig", {})
    # A model has a level or a budget; Google refuses both together.
    if name != "includeThoughts":
        config.pop("thinkingBudget" if name == "thinkingLevel" else "thinkingLevel", None)
    config[name] = value.upper() if name == "thinkingLevel" and isinstance(value, str) else value
    return True


def _switches_off(name: str, value: Any) -> bool:
    """Whether a member of `thinkingConfig` turns the model's thinking off.

    JSON of protocol buffers may write a number as text:
    https://protobuf.dev/programming-guides/json/ (2026-11-28).
    """
    if name == "thinkingBudget":
        return value in (0, "0")
    return name == "thinkingLevel" and isinstance(value, str) and value.lower() == "none"


def _camel_case_names(value: Any) -> Any:
    """A value of Google's API, its names in camelCase."""
    if isinstance(value, dict):
        return {_camel_case(name): _camel_case_names(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_camel_case_names(item) for item in value]
    return value


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_BUDGETS: Final = {"minimal": 512, "low": 1024, "medium": 4096, "high": 16_384}
"""Effort -> budget; beyond them the largest."""


def thinking_config(request: MessageRequest, target: GeminiTarget) -> dict[str, Any]:
    """`thinkingConfig`; empty where the request states none or the model does not think."""
    traits = target.traits
    thinking = request.thinking
    effort, path = requested_effort(request)
    if not traits.levels and traits.budget is None:
        if effort not in (None, "none"):
            target.diagnostics.note_dropped(path)
        elif thinking is not None and thinking.type in ("enabled", "adaptive"):
            target.diagnostics.note_dropped("thinking")
        return {}
    config: dict[str, Any] = {}
    if thinking is not None and thinking.type in ("enabled", "adaptive"):
        config["includeThoughts"] = shows_reasoning(request, target.diagnostics)
    if effort is None:
        return config
    if traits.levels:
        level = clamp_effort(effort, traits.levels)
        if level is not None:
            config["thinkingLevel"] = level.upper()
        if level != effort:
            target.diagnostics.note_dropped(path)
    else:
        config |= _budget_config(request, effort, path, target)
    return config


def _budget_config(
    request: MessageRequest, effort: str, path: str, target: GeminiTarget
) -> dict[str, Any]:
    least, most = target.traits.budget or (0, 0)
    if effort == "none":
        if target.traits.thinking_can_be_disabled:
            return {"thinkingBudget": 0}
        target.diagnostics.note_dropped(path)
        return {"thinkingBudget": least}
    if effort not in EFFORTS:
        target.diagnostics.note_dropped(path)
        return {}
    wanted = _BUDGETS.get(effort, most)
    if path == "thinking.budget_tokens" and request.thinking is not None:
        wanted = request.thinking.budget_tokens or wanted
        if not least <= wanted <= most:
            target.diagnostics.note_dropped(path)
    return {"thinkingBudget": min(max(wanted, least), most)}

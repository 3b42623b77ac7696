"""A canonical request -> the body of generateContent, in Code Assist's envelope where asked."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from vai.providers.decode.text_filter import StopAt, TextFilter
from vai.providers.gemini import extensions
from vai.providers.gemini.conversation import contents, instructions
from vai.providers.gemini.names import aliases
from vai.providers.gemini.target import GeminiTarget
from vai.providers.gemini.thinking import thinking_config
from vai.providers.gemini.tools import plain_schema, tells_of_searches_last, tool_config, tools
from vai.providers.translate.members import check_members, check_nested_members
from vai.providers.translate.options import check_output, check_stop_sequences, requested_modalities
from vai.providers.translate.tools import tool_family
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["GeminiRequest", "translate"]

_MAX_STOPS: Final = 5
"""Stop sequences of one request. Observed in the refusals of the API (2026-11-22)."""
_TIERS: Final = {"standard_only": "standard", "flex": "flex", "priority": "priority"}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_SIZES: Final = ("1K", "2K", "4K")
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


class GeminiRequest(msgspec.Struct, frozen=True):
    """The upstream request, and what its answer must be read with.

    Attributes:
        names: tool alias -> the caller's name.
        text: what the answer's text passes through, if anything.
        dropped: paths of hints that were left out.
        grounds: whether Google may search and tell of it only behind the answer.
    """

    wire: WireRequest
    names: dict[str, str]
    text: TextFilter | None
    dropped: list[str]
    grounds: bool


def translate(request: MessageRequest, spec: ProviderSpec, exchange_id: str) -> GeminiRequest:
    """The request for the service of `spec`.

    Raises:
        InvalidRequest: something that matters cannot be expressed.
    """
    target = GeminiTarget(spec, request.model)
    body: dict[str, Any] = {"contents": contents(request, target)}
    system = instructions(request, target)
    if system is not None:
        body["systemInstruction"] = system
    sent = tools(request, target)
    if sent:
        body["tools"] = sent
    config = tool_config(request, sent, target)
    if config:
        body["toolConfig"] = config
    generation: dict[str, Any] = {}
    text = _sampling(request, generation, target)
    thinking = thinking_config(request, target)
    if thinking:
        generation["thinkingConfig"] = thinking
    _output(request, generation, target)
    _modalities(request, generation, target)
    _service(request, body, target)
    check_members(request, target.diagnostics)
    check_nested_members(request, target.diagnostics)
    body["generationConfig"] = generation
    extensions.apply(request, body, target)
    if not generation:
        del body["generationConfig"]
    target.diagnostics.raise_if_refused()
    wire = _wire(request, body, target, exchange_id)
    grounds = tells_of_searches_last(sent, config)
    return GeminiRequest(
        wire, aliases(request.tools), text, target.diagnostics.dropped_paths, grounds
    )


def _wire(
    request: MessageRequest, body: dict[str, Any], target: GeminiTarget, exchange_id: str
) -> WireRequest:
    method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    path = f"/models/{_segment(target.model)}:{method}"
    if target.assists:
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


def _segment(model: str) -> str:
    """The model as one segment of a path, whatever characters the caller put into it."""
    return quote(model, safe="")


def _sampling(
    request: MessageRequest, generation: dict[str, Any], target: GeminiTarget
) -> TextFilter | None:
    """Limits and sampling; gives what watches for more stop sequences than Gemini takes."""
    if request.max_tokens == 0:
        target.diagnostics.note_refused("max_tokens", f"expected at least 1 for {target.spec.name}")
    elif request.max_tokens is not None:
        generation["maxOutputTokens"] = request.max_tokens
    for name, wire in (("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK")):
        value = getattr(request, name)
        if value is not None and target.traits.samples:
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


def _output(request: MessageRequest, generation: dict[str, Any], target: GeminiTarget) -> None:
    form = request.output_format
    if form is None:
        return
    if request.tools and not target.traits.mixes:
        what = f"{target.model} takes either tools or a JSON Schema"
        target.diagnostics.note_refused("output_config.format", what, "unsupported_output_format")
    if form.name:
        target.diagnostics.note_dropped("output_config.format.name")
    generation["responseMimeType"] = "application/json"
    generation["responseJsonSchema"] = plain_schema(form.schema)


def _modalities(request: MessageRequest, generation: dict[str, Any], target: GeminiTarget) -> None:
    """Pictures in the answer: asked for as a modality, or by the tool of that name."""
    check_output(request, target.diagnostics, ("image",) if target.traits.draws else ())
    drawn = [
        f"tools[{index}]"
        for index, tool in enumerate(request.tools or ())
        if tool_family(tool.type) == "image_generation"
    ]
    if not target.traits.draws:
        for at in drawn:
            what = f"{target.model} does not answer with images"
            target.diagnostics.note_refused(at, what, "unsupported_output_modality")
        return
    if not drawn and "image" not in requested_modalities(request):
        return
    generation["responseModalities"] = ["TEXT", "IMAGE"]
    image = (request.output or {}).get("image")
    size = image.get("size") if isinstance(image, dict) else None
    if size in _SIZES:
        generation["imageConfig"] = {"imageSize": size}
    elif size is not None:
        target.diagnostics.note_dropped("output.image.size")


def _service(request: MessageRequest, body: dict[str, Any], target: GeminiTarget) -> None:
    tier = _TIERS.get(request.service_tier or "")
    if tier is not None and not target.assists:
        body["serviceTier"] = tier
    elif request.service_tier is not None:
        target.diagnostics.note_dropped("service_tier")
    for name, value in (request.metadata or {}).items():
        if value is not None:
            target.diagnostics.note_dropped(f"metadata.{name}")
    if request.cache_control:
        target.diagnostics.note_dropped("cache_control")

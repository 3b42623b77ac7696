"""The checks of generateContent, with the wording of its refusals.

Invariants: the check applies the rules of a conversation as Google's server does. It accepts a
thought signature only unchanged, or the one sentinel that stands for none. Proto-JSON: it accepts
a member by its camelCase or its snake_case name and returns it in camelCase; it refuses any other
name with its path.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.knobs import Knobs
from vai.simulator.parsed_request import (
    OfferedTool,
    ParsedRequest,
    SimulatedError,
    read_question,
    seed_of,
)
from vai.simulator.parts import is_signature, make_signature
from vai.simulator.pictures import Picture, measure_picture

__all__ = ["count_tokens", "parse_request", "token_of"]

_SENTINEL: Final = "skip_thought_signature_validator"
_DATA: Final = (
    *("text", "inlineData", "fileData", "functionCall", "functionResponse"),
    *("executableCode", "codeExecutionResult", "toolCall", "toolResponse"),
)
_BY_MODEL: Final = frozenset({"functionCall", "executableCode", "codeExecutionResult", "toolCall"})
_HOSTED: Final = ("googleSearch", "urlContext", "codeExecution", "fileSearch", "googleMaps")
_MODES: Final = ("AUTO", "ANY", "NONE", "VALIDATED")
_LEVELS: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_UNSIGNED_MODELS: Final = ("gemini-1", "gemini-2")
_FETCHLESS_MODELS: Final = ("gemini-1", "gemini-2.0")
_HELD: Final = re.compile(
    r"gs://[^/]+/.+|https://(?:(?:www\.|m\.)?youtube\.com|youtu\.be)/.+"
    r"|https://generativelanguage\.googleapis\.com/v1(?:beta)?/files/[A-Za-z0-9_-]+"
)
"""Files that Google stores itself."""
_PUBLIC: Final = re.compile(
    r"https://(?!localhost|10\.|127\.|192\.168\.|169\.254\.)(?:[\w-]+\.)+[\w-]+(?::\d+)?(?:/.*)?",
    re.IGNORECASE,
)
_FETCHED: Final = re.compile(
    r"text/(?:html|css|plain|xml|csv|rtf|javascript)|application/(?:json|pdf)"
    r"|image/(?:bmp|jpeg|png|webp)|video/(?:mp4|mpeg|quicktime|avi|x-flv|mpg|webm|wmv|3gpp)"
    r"|audio/[\w.+-]+"
)
"""https://ai.google.dev/gemini-api/docs/file-input-methods (2026-11-28); sound is not listed, and
the list is called incomplete."""
_PICTURE: Final = 258
"""Tokens of a picture."""


def _parse_shape(text: str) -> dict[str, str]:
    """``"a b:Kind"``: a plain member `a`, and `b` whose value or values are of `Kind`."""
    return {name: kind for name, _, kind in (word.partition(":") for word in text.split())}


_SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    "Request": _parse_shape(
        "model contents:Content systemInstruction:Content tools:Tool toolConfig:ToolConfig"
        " safetySettings:Safety cachedContent labels serviceTier store continuationToken"
        " generationConfig:Config"
    ),
    "Inner": _parse_shape(
        "contents:Content systemInstruction:Content tools:Tool toolConfig:ToolConfig labels"
        " safetySettings:Safety cachedContent generationConfig:Config sessionId"
    ),
    "Wrapper": _parse_shape("model project userPromptId enabledCreditTypes request:Inner"),
    "Count": _parse_shape("contents:Content generateContentRequest:Request"),
    "CountWrapper": _parse_shape("request:CountInner"),
    "CountInner": _parse_shape("model contents:Content"),
    "Content": _parse_shape("role parts:Part"),
    "Part": _parse_shape(
        "text thought thoughtSignature inlineData:Blob fileData:File functionCall:Call"
        " functionResponse:Response executableCode:Code codeExecutionResult:Result toolCall:Hosted"
        " toolResponse:HostedResult videoMetadata mediaResolution partMetadata"
    ),
    "Blob": _parse_shape("mimeType data displayName"),
    "File": _parse_shape("mimeType fileUri displayName"),
    "Call": _parse_shape("id name args"),
    "Response": _parse_shape("id name response parts:Part willContinue scheduling"),
    "Code": _parse_shape("id language code"),
    "Result": _parse_shape("id outcome output"),
    "Hosted": _parse_shape("id toolType args"),
    "HostedResult": _parse_shape("id toolType response"),
    "Tool": _parse_shape(
        "functionDeclarations:Function googleSearch:Search urlContext:Nothing"
        " codeExecution:Nothing fileSearch:FileSearch computerUse:Computer googleMaps mcpServers"
        " googleSearchRetrieval"
    ),
    "Function": _parse_shape(
        "name description parameters:Schema parametersJsonSchema response:Schema"
        " responseJsonSchema behavior"
    ),
    "Search": _parse_shape("timeRangeFilter searchTypes"),
    "Nothing": {},
    "FileSearch": _parse_shape("fileSearchStoreNames topK metadataFilter"),
    "Computer": _parse_shape("environment excludedPredefinedFunctions"),
    "Schema": _parse_shape(
        "type format title description nullable default enum items:Schema maxItems minItems"
        " properties:{Schema} required maxProperties minProperties minimum maximum minLength"
        " maxLength pattern example anyOf:Schema propertyOrdering additionalProperties ref"
        " defs:{Schema}"
    ),
    "ToolConfig": _parse_shape(
        "functionCallingConfig:Calling includeServerSideToolInvocations retrievalConfig"
    ),
    "Calling": _parse_shape("mode allowedFunctionNames"),
    "Safety": _parse_shape("category threshold"),
    "Config": _parse_shape(
        "temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty"
        " frequencyPenalty responseLogprobs logprobs responseMimeType responseSchema:Schema"
        " responseJsonSchema responseModalities mediaResolution speechConfig"
        " thinkingConfig:Thinking imageConfig:Image audioTranscriptionConfig"
        " enableEnhancedCivicAnswers"
    ),
    "Thinking": _parse_shape("includeThoughts thinkingBudget thinkingLevel"),
    "Image": _parse_shape("aspectRatio imageSize"),
}
_SNAKE: Final = re.compile(r"_([a-z])")


def to_camel_case(value: Any, kind: str, where: str = "") -> Any:
    """`value` with every member name in camelCase.

    Raises:
        SimulatedError: 400, an unknown member.
    """
    if not kind:
        return value
    if isinstance(value, list):
        return [to_camel_case(one, kind, f"{where}[{at}]") for at, one in enumerate(value)]
    if not isinstance(value, dict):
        words = f"Invalid value at '{where}': Starting an object on a scalar field"
        raise SimulatedError(400, f"Invalid JSON payload received. {words}")
    if kind.startswith("{"):
        return {
            name: to_camel_case(one, kind[1:-1], f"{where}.{name}") for name, one in value.items()
        }
    shape = _SHAPES[kind]
    members: dict[str, Any] = {}
    for name, one in value.items():
        camel = _SNAKE.sub(lambda letter: letter[1].upper(), name)
        if camel not in shape:
            location = f" at '{where}'" if where else ""
            words = f'Invalid JSON payload received. Unknown name "{name}"{location}: '
            raise SimulatedError(400, words + "Cannot find field.")
        if one is not None:
            members[camel] = to_camel_case(one, shape[camel], f"{where}.{name}".lstrip("."))
    return members


def parse_request(body: Any, provider: str, model: str | None, knobs: Knobs) -> ParsedRequest:
    """Read a request body, bare or in Code Assist's wrapper, into a `ParsedRequest`.

    Raises:
        SimulatedError: 400, in Google's words.
    """
    if provider == "gemini-oauth":
        wrapper = to_camel_case(body, "Wrapper")
        model, body = wrapper.get("model"), wrapper.get("request")
        if not model or not isinstance(model, str):
            raise SimulatedError(400, "model is required.")
    content = to_camel_case(body or {}, "Inner" if provider == "gemini-oauth" else "Request")
    name = str(model).removeprefix("models/")
    contents = _check_contents(content, signed=not name.startswith(_UNSIGNED_MODELS))
    fetches = provider == "gemini" and not name.startswith(_FETCHLESS_MODELS)
    for file in _iterate_files(contents):
        _check_file(file, fetches=fetches)
    tools = _parse_tools(content)
    config = content.get("generationConfig") or {}
    _check_config(config)
    thinking = config.get("thinkingConfig") or {}
    request = ParsedRequest(
        provider=provider,
        model=name,
        knobs=knobs,
        seed=seed_of(content | {"model": name}),
        tools=tools,
        choice=_parse_tool_choice(content, tools),
        max_tokens=config.get("maxOutputTokens"),
        stop=config.get("stopSequences") or [],
        thinks=bool(thinking) and thinking.get("thinkingBudget") != 0,
        shows_thought=thinking.get("includeThoughts") is True or bool(knobs.think),
        schema=_response_schema(config),
        hop=_hop_of_token(content.get("continuationToken")),
    )
    offered = {name for tool in content.get("tools") or [] for name in tool}
    request.searches, request.runs = "googleSearch" in offered, "codeExecution" in offered
    request.draws = "IMAGE" in (config.get("responseModalities") or [])
    pictures = _last_turn(contents[-1]["parts"], request)
    request.tokens = (
        _input_tokens(content) - tokens.estimate_tokens(pictures) + _PICTURE * len(request.pictures)
    )
    request.cache_read = min(knobs.cached, request.tokens)
    return request


def count_tokens(body: Any, provider: str, model: str | None) -> int:
    """The tokens of a countTokens request.

    Raises:
        SimulatedError: 400, as in `parse_request`.
    """
    if provider == "gemini-oauth":
        inner = to_camel_case(body, "CountWrapper").get("request") or {}
    else:
        inner = to_camel_case(body, "Count")
        inner = inner.get("generateContentRequest") or inner
    _check_contents(inner, signed=False)
    return _input_tokens(inner)


def token_of(hop: int) -> str:
    """The continuation token for request number `hop`."""
    return base64.urlsafe_b64encode(f"{hop}.{make_signature(str(hop))}".encode()).decode()


def _hop_of_token(token: Any) -> int:
    if token is None:
        return 0
    try:
        hop, _, proof = base64.urlsafe_b64decode(token).decode().partition(".")
    except (TypeError, ValueError):
        hop, proof = "", ""
    if not hop.isdigit() or proof != make_signature(hop):
        raise SimulatedError(400, "Invalid continuation token.")
    return int(hop)


def _input_tokens(request: dict[str, Any]) -> int:
    names = ("contents", "systemInstruction", "tools")
    return 1 + tokens.estimate_tokens(
        len(orjson.dumps([request[name] for name in names if name in request]))
    )


def _check_contents(request: dict[str, Any], *, signed: bool) -> list[dict[str, Any]]:
    contents = request.get("contents")
    if not isinstance(contents, list) or not contents:
        raise SimulatedError(400, "* GenerateContentRequest.contents: contents is not specified")
    for at, content in enumerate(contents):
        where = f"contents[{at}]"
        wanted = "model" if at % 2 else "user"
        if content.get("role", "user") not in ("user", "model"):
            raise SimulatedError(400, "Please use a valid role: user, model.")
        if content.get("role", "user") != wanted:
            words = "Please ensure that multiturn requests alternate between user and model."
            raise SimulatedError(400, words)
        if not content.get("parts"):
            raise SimulatedError(400, f"* GenerateContentRequest.{where}.parts: must not be empty.")
        for number, part in enumerate(content["parts"]):
            _check_part(part, f"{where}.parts[{number}]", wanted)
    if len(contents) % 2 == 0:
        raise SimulatedError(400, "Please ensure that single turn requests end with a user role.")
    for part in (request.get("systemInstruction") or {}).get("parts", []):
        if not isinstance(part.get("text"), str):
            raise SimulatedError(400, "system_instruction: only text is supported.")
    _check_call_results(contents)
    _check_signatures(contents, signed)
    return contents


def _check_part(part: dict[str, Any], where: str, role: str) -> None:
    data = [name for name in _DATA if name in part]
    if len(data) != 1:
        words = "required oneof field 'data' must have one initialized field"
        raise SimulatedError(400, f"* GenerateContentRequest.{where}.data: {words}")
    kind = data[0]
    if (kind in _BY_MODEL) != (role == "model") and kind not in ("text", "inlineData", "fileData"):
        raise SimulatedError(400, f"Please ensure that {kind} parts come from the right role.")
    if kind == "text" and not isinstance(part["text"], str):
        raise SimulatedError(400, f"Invalid value at '{where}.text' (TYPE_STRING)")
    if kind in ("functionCall", "functionResponse"):
        member = "response" if kind == "functionResponse" else "args"
        name = part[kind].get("name")
        if not name or not isinstance(name, str):
            raise SimulatedError(
                400, f"* GenerateContentRequest.{where}.{kind}.name: Name cannot be empty."
            )
        if not isinstance(part[kind].get(member, {}), dict):
            raise SimulatedError(400, f"Invalid value at '{where}.{kind}.{member}' (Struct)")
    if kind == "inlineData":
        _check_blob(part["inlineData"], where)


def _check_blob(blob: dict[str, Any], where: str) -> None:
    media = blob.get("mimeType")
    if not media:
        raise SimulatedError(400, f"* {where}.inlineData.mimeType: must be specified")
    try:
        raw = base64.b64decode(blob.get("data") or "!", validate=True)
    except (binascii.Error, ValueError):
        raise SimulatedError(
            400, f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES)"
        ) from None
    if media.startswith("image/") and measure_picture(raw) is None:
        raise SimulatedError(400, "Unable to process input image.")


def _iterate_files(contents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for content in contents:
        for part in content["parts"]:
            inner = (part.get("functionResponse") or {}).get("parts") or []
            yield from (one["fileData"] for one in (part, *inner) if "fileData" in one)


def _check_file(file: dict[str, Any], *, fetches: bool) -> None:
    uri, media = file.get("fileUri"), file.get("mimeType")
    if not uri or not isinstance(uri, str):
        raise SimulatedError(400, "* fileData.fileUri: must be specified")
    if _HELD.fullmatch(uri):
        return
    if not fetches or not _PUBLIC.fullmatch(uri):
        raise SimulatedError(400, "Invalid or unsupported file uri.")
    if not isinstance(media, str) or not _FETCHED.fullmatch(media):
        raise SimulatedError(400, f"Unsupported MIME type: {str(media)[:100]}")


def _check_call_results(contents: list[dict[str, Any]]) -> None:
    """Check that a turn of as many responses, by the same names, follows every turn of calls."""
    calls: list[dict[str, Any]] = []
    for content in contents:
        responses = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
        if content.get("role", "user") == "user":
            if len(responses) != len(calls):
                words = "Please ensure that the number of function response parts is equal to the "
                words += "number of function call parts of the function call turn."
                raise SimulatedError(400, words)
            if sorted(c["name"] for c in calls) != sorted(g["name"] for g in responses):
                raise SimulatedError(
                    400, "Function response names do not match the function calls."
                )
            call_ids = {c.get("id") for c in calls}
            if any(
                g.get("id") not in call_ids and g.get("id") and any(call_ids) for g in responses
            ):
                raise SimulatedError(400, "Function response id does not match any function call.")
        calls = [p["functionCall"] for p in content["parts"] if "functionCall" in p]


def _check_signatures(contents: list[dict[str, Any]], signed: bool) -> None:
    for content in contents:
        for part in content["parts"]:
            signature = part.get("thoughtSignature")
            if signature is not None and signature != _SENTINEL and not is_signature(signature):
                raise SimulatedError(400, "Corrupted thought signature.")
    loop = len(contents) - 1
    while loop > 0 and not any("functionResponse" not in p for p in contents[loop]["parts"]):
        loop -= 2
    for at in range(loop + 1, len(contents), 2):
        first = next((p for p in contents[at]["parts"] if "functionCall" in p), None)
        if signed and first is not None and not first.get("thoughtSignature"):
            name = first["functionCall"]["name"]
            words = "Function call is missing a thought_signature in functionCall parts. This is "
            words += f"required for tools to work correctly. Function call `default_api:{name}`, "
            raise SimulatedError(400, f"{words}position {at + 1}.")


def _parse_tools(request: dict[str, Any]) -> list[OfferedTool]:
    offered: list[OfferedTool] = []
    hosted = False
    for at, tool in enumerate(request.get("tools") or []):
        hosted = hosted or any(name in tool for name in _HOSTED)
        for number, function in enumerate(tool.get("functionDeclarations") or []):
            offered.append(
                _parse_function(function, f"tools[{at}].function_declarations[{number}]")
            )
    if len({tool.name for tool in offered}) < len(offered):
        raise SimulatedError(400, "Duplicate function declaration found.")
    mixed = (request.get("toolConfig") or {}).get("includeServerSideToolInvocations")
    if hosted and offered and not mixed:
        words = "Please enable tool_config.include_server_side_tool_invocations to use Built-in "
        raise SimulatedError(400, words + "tools with Function calling.")
    return offered


def _parse_function(function: dict[str, Any], where: str) -> OfferedTool:
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        words = "Invalid function name. Must start with a letter or an underscore."
        raise SimulatedError(400, f"* GenerateContentRequest.{where}.name: {words}")
    schema = function.get("parametersJsonSchema")
    parameters = function.get("parameters")
    if schema is not None and parameters is not None:
        raise SimulatedError(
            400, f"* {where}: parameters and parameters_json_schema exclude each other."
        )
    schema = _to_json_schema(parameters) if schema is None else schema
    if schema is not None and schema.get("type") != "object":
        words = "schema should be of type OBJECT."
        raise SimulatedError(400, f"* GenerateContentRequest.{where}.parameters: {words}")
    return OfferedTool(name, schema or {"type": "object"})


def _to_json_schema(schema: Any) -> Any:
    """A schema of Google's with the types of JSON Schema."""
    if isinstance(schema, list):
        return [_to_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else _to_json_schema(value)
        for name, value in schema.items()
    }


def _parse_tool_choice(request: dict[str, Any], tools: list[OfferedTool]) -> str:
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = str(calling.get("mode") or "AUTO").upper()
    allowed = calling.get("allowedFunctionNames") or []
    if mode not in _MODES:
        raise SimulatedError(
            400, f"Invalid value at 'tool_config.function_calling_config.mode': {mode}"
        )
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise SimulatedError(400, "allowed_function_names should be set only when mode is ANY.")
    if any(all(tool.name != name for tool in tools) for name in allowed):
        raise SimulatedError(400, "allowed_function_names: a function that was not declared.")
    if mode == "ANY" and not tools:
        raise SimulatedError(400, "Function calling mode ANY needs function declarations.")
    if mode == "ANY" and len(allowed) == 1:
        return f"={allowed[0]}"
    return {"ANY": "any", "NONE": "none"}.get(mode, "auto")


def _check_config(config: dict[str, Any]) -> None:
    for name, most in (("temperature", 2.0), ("topP", 1.0)):
        value = config.get(name)
        if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
            raise SimulatedError(
                400, f"* GenerateContentRequest.generation_config.{name}: out of range"
            )
    limit = config.get("maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise SimulatedError(400, "max_output_tokens must be positive.")
    if len(config.get("stopSequences") or []) > 5:
        raise SimulatedError(400, "The number of stop sequences must not exceed 5.")
    if config.get("candidateCount") not in (None, 1):
        raise SimulatedError(400, "Multiple candidates is not enabled for this model")
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise SimulatedError(400, "response_schema and response_json_schema exclude each other.")
    thinking = config.get("thinkingConfig") or {}
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise SimulatedError(400, "You can only set one of thinking budget and thinking level.")
    if str(thinking.get("thinkingLevel", "LOW")).upper() not in _LEVELS:
        raise SimulatedError(
            400, "Invalid value at 'generation_config.thinking_config.thinking_level'"
        )


def _response_schema(config: dict[str, Any]) -> Any:
    media = config.get("responseMimeType", "text/plain")
    schema = config.get("responseJsonSchema") or _to_json_schema(config.get("responseSchema"))
    if media not in ("text/plain", "application/json", "text/x.enum"):
        raise SimulatedError(400, "response_mime_type: allowed are text/plain, application/json.")
    if schema and media == "text/plain":
        raise SimulatedError(400, "Response schema needs response_mime_type application/json.")
    if schema is None and media == "application/json":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return schema


def _last_turn(parts: list[dict[str, Any]], request: ParsedRequest) -> int:
    """Read the last turn into `request`; returns the bytes of its pictures."""
    taken = 0
    words: list[str] = []
    for part in parts:
        if "text" in part:
            words.append(part["text"])
        elif "functionResponse" in part:
            response = part["functionResponse"].get("response") or {}
            output = response.get("output", response.get("error", response))
            request.results.append(
                output if isinstance(output, str) else orjson.dumps(output).decode()
            )
        elif "inlineData" in part and part["inlineData"]["mimeType"].startswith("image/"):
            request.pictures.append(
                measure_picture(base64.b64decode(part["inlineData"]["data"])) or Picture()
            )
            taken += len(part["inlineData"]["data"])
        elif str(part.get("fileData", {}).get("mimeType")).startswith("image/"):
            request.pictures.append(Picture())
    request.question = read_question(words)
    return taken

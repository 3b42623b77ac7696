"""What generateContent accepts, and how it words a refusal.

Invariants: the rules of a conversation as Google's server keeps them. A thought
signature is taken back only as it was given out, or as the one sentinel that stands for none.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask, Refused, Tool, read_question, seed_of
from vai.simulator.google_shape import shaped
from vai.simulator.knobs import Knobs
from vai.simulator.parts import is_sealed, seal
from vai.simulator.pictures import Picture, measure

__all__ = ["count", "read", "token_of"]

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
"""What Google holds itself."""
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


def read(body: Any, provider: str, model: str | None, knobs: Knobs) -> Ask:
    """Read a request body, bare or in Code Assist's wrapper, into an `Ask`.

    Raises:
        Refused: 400, worded as Google words it.
    """
    if provider == "gemini-oauth":
        wrapper = shaped(body, "Wrapper")
        model, body = wrapper.get("model"), wrapper.get("request")
        if not model or not isinstance(model, str):
            raise Refused(400, "model is required.")
    said = shaped(body or {}, "Inner" if provider == "gemini-oauth" else "Request")
    name = str(model).removeprefix("models/")
    contents = _contents(said, signed=not name.startswith(_UNSIGNED_MODELS))
    fetches = provider == "gemini" and not name.startswith(_FETCHLESS_MODELS)
    for file in _files(contents):
        _file(file, fetches=fetches)
    tools = _tools(said)
    config = said.get("generationConfig") or {}
    _config(config)
    thinking = config.get("thinkingConfig") or {}
    ask = Ask(
        provider=provider,
        model=name,
        knobs=knobs,
        seed=seed_of(said | {"model": name}),
        tools=tools,
        choice=_choice(said, tools),
        max_tokens=config.get("maxOutputTokens"),
        stop=config.get("stopSequences") or [],
        thinks=bool(thinking) and thinking.get("thinkingBudget") != 0,
        shows_thought=thinking.get("includeThoughts") is True or bool(knobs.think),
        schema=_schema(config),
        hop=_hop(said.get("continuationToken")),
    )
    offered = {name for tool in said.get("tools") or [] for name in tool}
    ask.searches, ask.runs = "googleSearch" in offered, "codeExecution" in offered
    ask.draws = "IMAGE" in (config.get("responseModalities") or [])
    pictures = _last_turn(contents[-1]["parts"], ask)
    ask.tokens = _size(said) - tokens.estimate(pictures) + _PICTURE * len(ask.pictures)
    ask.cache_read = min(knobs.cached, ask.tokens)
    return ask


def count(body: Any, provider: str, model: str | None) -> int:
    """The tokens of a countTokens request.

    Raises:
        Refused: 400, as of `read`.
    """
    if provider == "gemini-oauth":
        said = shaped(body, "CountWrapper").get("request") or {}
    else:
        said = shaped(body, "Count")
        said = said.get("generateContentRequest") or said
    _contents(said, signed=False)
    return _size(said)


def token_of(hop: int) -> str:
    """The token to go on with at request number `hop`."""
    return base64.urlsafe_b64encode(f"{hop}.{seal(str(hop))}".encode()).decode()


def _hop(token: Any) -> int:
    if token is None:
        return 0
    try:
        hop, _, proof = base64.urlsafe_b64decode(token).decode().partition(".")
    except (TypeError, ValueError):
        hop, proof = "", ""
    if not hop.isdigit() or proof != seal(hop):
        raise Refused(400, "Invalid continuation token.")
    return int(hop)


def _size(said: dict[str, Any]) -> int:
    names = ("contents", "systemInstruction", "tools")
    return 1 + tokens.estimate(len(orjson.dumps([said[name] for name in names if name in said])))


def _contents(said: dict[str, Any], *, signed: bool) -> list[dict[str, Any]]:
    contents = said.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Refused(400, "* GenerateContentRequest.contents: contents is not specified")
    for at, content in enumerate(contents):
        where = f"contents[{at}]"
        wanted = "model" if at % 2 else "user"
        if content.get("role", "user") not in ("user", "model"):
            raise Refused(400, "Please use a valid role: user, model.")
        if content.get("role", "user") != wanted:
            words = "Please ensure that multiturn requests alternate between user and model."
            raise Refused(400, words)
        if not content.get("parts"):
            raise Refused(400, f"* GenerateContentRequest.{where}.parts: must not be empty.")
        for number, part in enumerate(content["parts"]):
            _part(part, f"{where}.parts[{number}]", wanted)
    if len(contents) % 2 == 0:
        raise Refused(400, "Please ensure that single turn requests end with a user role.")
    for part in (said.get("systemInstruction") or {}).get("parts", []):
        if not isinstance(part.get("text"), str):
            raise Refused(400, "system_instruction: only text is supported.")
    _pairs(contents)
    _signatures(contents, signed)
    return contents


def _part(part: dict[str, Any], where: str, role: str) -> None:
    data = [name for name in _DATA if name in part]
    if len(data) != 1:
        words = "required oneof field 'data' must have one initialized field"
        raise Refused(400, f"* GenerateContentRequest.{where}.data: {words}")
    kind = data[0]
    if (kind in _BY_MODEL) != (role == "model") and kind not in ("text", "inlineData", "fileData"):
        raise Refused(400, f"Please ensure that {kind} parts come from the right role.")
    if kind == "text" and not isinstance(part["text"], str):
        raise Refused(400, f"Invalid value at '{where}.text' (TYPE_STRING)")
    if kind in ("functionCall", "functionResponse"):
        member = "response" if kind == "functionResponse" else "args"
        name = part[kind].get("name")
        if not name or not isinstance(name, str):
            raise Refused(
                400, f"* GenerateContentRequest.{where}.{kind}.name: Name cannot be empty."
            )
        if not isinstance(part[kind].get(member, {}), dict):
            raise Refused(400, f"Invalid value at '{where}.{kind}.{member}' (Struct)")
    if kind == "inlineData":
        _blob(part["inlineData"], where)


def _blob(blob: dict[str, Any], where: str) -> None:
    media = blob.get("mimeType")
    if not media:
        raise Refused(400, f"* {where}.inlineData.mimeType: must be specified")
    try:
        raw = base64.b64decode(blob.get("data") or "!", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES)") from None
    if media.startswith("image/") and measure(raw) is None:
        raise Refused(400, "Unable to process input image.")


def _files(contents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for content in contents:
        for part in content["parts"]:
            inner = (part.get("functionResponse") or {}).get("parts") or []
            yield from (one["fileData"] for one in (part, *inner) if "fileData" in one)


def _file(file: dict[str, Any], *, fetches: bool) -> None:
    uri, media = file.get("fileUri"), file.get("mimeType")
    if not uri or not isinstance(uri, str):
        raise Refused(400, "* fileData.fileUri: must be specified")
    if _HELD.fullmatch(uri):
        return
    if not fetches or not _PUBLIC.fullmatch(uri):
        raise Refused(400, "Invalid or unsupported file uri.")
    if not isinstance(media, str) or not _FETCHED.fullmatch(media):
        raise Refused(400, f"Unsupported MIME type: {str(media)[:100]}")


def _pairs(contents: list[dict[str, Any]]) -> None:
    """Every turn of calls has one turn of as many answers, by the same names, right behind it."""
    calls: list[dict[str, Any]] = []
    for content in contents:
        given = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
        if content.get("role", "user") == "user":
            if len(given) != len(calls):
                words = "Please ensure that the number of function response parts is equal to the "
                words += "number of function call parts of the function call turn."
                raise Refused(400, words)
            if sorted(c["name"] for c in calls) != sorted(g["name"] for g in given):
                raise Refused(400, "Function response names do not match the function calls.")
            known = {c.get("id") for c in calls}
            if any(g.get("id") not in known and g.get("id") and any(known) for g in given):
                raise Refused(400, "Function response id does not match any function call.")
        calls = [p["functionCall"] for p in content["parts"] if "functionCall" in p]


def _signatures(contents: list[dict[str, Any]], signed: bool) -> None:
    for content in contents:
        for part in content["parts"]:
            given = part.get("thoughtSignature")
            if given is not None and given != _SENTINEL and not is_sealed(given):
                raise Refused(400, "Corrupted thought signature.")
    loop = len(contents) - 1
    while loop > 0 and not any("functionResponse" not in p for p in contents[loop]["parts"]):
        loop -= 2
    for at in range(loop + 1, len(contents), 2):
        first = next((p for p in contents[at]["parts"] if "functionCall" in p), None)
        if signed and first is not None and not first.get("thoughtSignature"):
            name = first["functionCall"]["name"]
            words = "Function call is missing a thought_signature in functionCall parts. This is "
            words += f"required for tools to work correctly. Function call `default_api:{name}`, "
            raise Refused(400, f"{words}position {at + 1}.")


def _tools(said: dict[str, Any]) -> list[Tool]:
    found: list[Tool] = []
    hosted = False
    for at, tool in enumerate(said.get("tools") or []):
        hosted = hosted or any(name in tool for name in _HOSTED)
        for number, function in enumerate(tool.get("functionDeclarations") or []):
            found.append(_function(function, f"tools[{at}].function_declarations[{number}]"))
    if len({tool.name for tool in found}) < len(found):
        raise Refused(400, "Duplicate function declaration found.")
    mixed = (said.get("toolConfig") or {}).get("includeServerSideToolInvocations")
    if hosted and found and not mixed:
        words = "Please enable tool_config.include_server_side_tool_invocations to use Built-in "
        raise Refused(400, words + "tools with Function calling.")
    return found


def _function(function: dict[str, Any], where: str) -> Tool:
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        words = "Invalid function name. Must start with a letter or an underscore."
        raise Refused(400, f"* GenerateContentRequest.{where}.name: {words}")
    schema = function.get("parametersJsonSchema")
    given = function.get("parameters")
    if schema is not None and given is not None:
        raise Refused(400, f"* {where}: parameters and parameters_json_schema exclude each other.")
    schema = _lowered(given) if schema is None else schema
    if schema is not None and schema.get("type") != "object":
        words = "schema should be of type OBJECT."
        raise Refused(400, f"* GenerateContentRequest.{where}.parameters: {words}")
    return Tool(name, schema or {"type": "object"})


def _lowered(schema: Any) -> Any:
    """A schema of Google's, with the types as JSON Schema writes them."""
    if isinstance(schema, list):
        return [_lowered(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else _lowered(value)
        for name, value in schema.items()
    }


def _choice(said: dict[str, Any], tools: list[Tool]) -> str:
    calling = (said.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = str(calling.get("mode") or "AUTO").upper()
    allowed = calling.get("allowedFunctionNames") or []
    if mode not in _MODES:
        raise Refused(400, f"Invalid value at 'tool_config.function_calling_config.mode': {mode}")
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise Refused(400, "allowed_function_names should be set only when mode is ANY.")
    if any(all(tool.name != name for tool in tools) for name in allowed):
        raise Refused(400, "allowed_function_names: a function that was not declared.")
    if mode == "ANY" and not tools:
        raise Refused(400, "Function calling mode ANY needs function declarations.")
    if mode == "ANY" and len(allowed) == 1:
        return f"={allowed[0]}"
    return {"ANY": "any", "NONE": "none"}.get(mode, "auto")


def _config(config: dict[str, Any]) -> None:
    for name, most in (("temperature", 2.0), ("topP", 1.0)):
        value = config.get(name)
        if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
            raise Refused(400, f"* GenerateContentRequest.generation_config.{name}: out of range")
    limit = config.get("maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise Refused(400, "max_output_tokens must be positive.")
    if len(config.get("stopSequences") or []) > 5:
        raise Refused(400, "The number of stop sequences must not exceed 5.")
    if config.get("candidateCount") not in (None, 1):
        raise Refused(400, "Multiple candidates is not enabled for this model")
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise Refused(400, "response_schema and response_json_schema exclude each other.")
    thinking = config.get("thinkingConfig") or {}
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise Refused(400, "You can only set one of thinking budget and thinking level.")
    if str(thinking.get("thinkingLevel", "LOW")).upper() not in _LEVELS:
        raise Refused(400, "Invalid value at 'generation_config.thinking_config.thinking_level'")


def _schema(config: dict[str, Any]) -> Any:
    media = config.get("responseMimeType", "text/plain")
    schema = config.get("responseJsonSchema") or _lowered(config.get("responseSchema"))
    if media not in ("text/plain", "application/json", "text/x.enum"):
        raise Refused(400, "response_mime_type: allowed are text/plain, application/json.")
    if schema and media == "text/plain":
        raise Refused(400, "Response schema needs response_mime_type application/json.")
    if schema is None and media == "application/json":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return schema


def _last_turn(parts: list[dict[str, Any]], ask: Ask) -> int:
    """Note what the conversation ends with; the bytes its pictures take up are returned."""
    taken = 0
    words: list[str] = []
    for part in parts:
        if "text" in part:
            words.append(part["text"])
        elif "functionResponse" in part:
            given = part["functionResponse"].get("response") or {}
            said = given.get("output", given.get("error", given))
            ask.results.append(said if isinstance(said, str) else orjson.dumps(said).decode())
        elif "inlineData" in part and part["inlineData"]["mimeType"].startswith("image/"):
            ask.pictures.append(measure(base64.b64decode(part["inlineData"]["data"])) or Picture())
            taken += len(part["inlineData"]["data"])
        elif str(part.get("fileData", {}).get("mimeType")).startswith("image/"):
            ask.pictures.append(Picture())
    ask.question = read_question(words)
    return taken

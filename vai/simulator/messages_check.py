"""The checks of the Messages endpoint, with the wording of its refusals.

Invariants: the check refuses an undocumented field, as the real endpoint does, so a field that a
gateway invents or forgets to remove becomes visible here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.composer import signature_of
from vai.simulator.knobs import Knobs
from vai.simulator.parsed_request import (
    OfferedTool,
    ParsedRequest,
    SimulatedError,
    read_question,
    seed_of,
)
from vai.simulator.parts import is_signature
from vai.simulator.pictures import Picture, measure_picture
from vai.simulator.request_errors import split_names
from vai.simulator.threads import PromptCache

__all__ = ["parse_request"]


_FIELDS: Final = split_names(
    "model max_tokens messages system cache_control container diagnostics inference_geo metadata"
    " output_config service_tier speed stop_sequences stream thinking tool_choice tools"
    " temperature top_p top_k betas billing_policy compaction context_management fallbacks"
    " fallback_credit_token mcp_servers thread"
)
_BLOCKS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text", "citations"}),
    "image": frozenset({"source", "transformations"}),
    "document": frozenset({"source", "title", "context", "citations"}),
    "search_result": frozenset({"source", "title", "content", "citations"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "tool_use": frozenset({"id", "name", "input", "caller", "toolset_name"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error", "toolset_name"}),
}
_SERVER_BLOCKS: Final = re.compile(
    r"server_tool_use|container_upload|mcp_tool_use|[a-z_]+_tool_result|compaction|fallback"
)
_SOURCES: Final = frozenset({"base64", "url", "file", "text", "content"})
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NO_SAMPLING: Final = "2026-10-21"
_MOST_BREAKPOINTS: Final = 4
_PICTURE: Final = 800
"""Tokens of a picture."""


def parse_request(
    body: Any,
    headers: Mapping[str, str],
    knobs: Knobs,
    prefixes: PromptCache,
    *,
    counting: bool = False,
) -> ParsedRequest:
    """Read a request body into a `ParsedRequest`.

    Raises:
        SimulatedError: 400, in the endpoint's words.
    """
    version = headers.get("anthropic-version")
    if not version:
        raise _invalid_request("anthropic-version: header is required")
    for name in body:
        if name not in _FIELDS:
            raise _invalid_request(f"{name}: Extra inputs are not permitted")
    _check_numbers(body, version, counting)
    messages = _check_messages(body)
    _check_call_results(messages)
    tools = _parse_tools(body)
    _check_cache_marks(body)
    request = ParsedRequest(
        provider="anthropic",
        model=body["model"],
        knobs=knobs,
        seed=seed_of(body),
        tools=tools,
        choice=_parse_tool_choice(body),
        parallel=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use", False),
        max_tokens=body.get("max_tokens"),
        stop=_parse_stops(body),
        stream=body.get("stream") is True,
        schema=_response_schema(body),
        tokens=_count_tokens(body),
    )
    _parse_thinking(body, request)
    offered = [str(tool.get("type")) for tool in body.get("tools") or []]
    request.searches = any(kind.startswith("web_search_") for kind in offered)
    request.runs = any(kind.startswith("code_execution_") for kind in offered)
    _last_turn(messages, request)
    prefixes.split_input_tokens(request, body)
    return request


def _invalid_request(message: str) -> SimulatedError:
    return SimulatedError(400, message)


def _check_numbers(body: dict[str, Any], version: str, counting: bool) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise _invalid_request(
            "model: Field required"
            if "model" not in body
            else "model: Input should be a valid string"
        )
    if not counting:
        limit = body.get("max_tokens")
        if "max_tokens" not in body:
            raise _invalid_request("max_tokens: Field required")
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise _invalid_request("max_tokens: Input should be a valid integer")
        if limit < 0:
            raise _invalid_request("max_tokens: must be greater than or equal to 0")
    for name, most in (("temperature", 1.0), ("top_p", 1.0), ("top_k", 1e9)):
        value = body.get(name)
        if value is None:
            continue
        if version == _NO_SAMPLING:
            raise _invalid_request(
                f"{name}: sampling parameters are not supported in version {version}"
            )
        if not isinstance(value, int | float) or not 0 <= value <= most:
            raise _invalid_request(f"{name}: range: 0..{most:g}")
    if "stream" in body and not isinstance(body["stream"], bool):
        raise _invalid_request("stream: Input should be a valid boolean")
    metadata = body.get("metadata") or {}
    for name in metadata:
        if name != "user_id":
            raise _invalid_request(f"metadata.{name}: Extra inputs are not permitted")


def _check_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        raise _invalid_request("messages: Field required")
    if not isinstance(messages, list):
        raise _invalid_request("messages: Input should be a valid list")
    if not messages:
        raise _invalid_request("messages: at least one message is required")
    for at, message in enumerate(messages):
        where = f"messages.{at}"
        if not isinstance(message, dict):
            raise _invalid_request(f"{where}: Input should be a valid dictionary")
        if message.get("role") not in ("user", "assistant", "system"):
            raise _invalid_request(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
        for name in message:
            if name not in ("role", "content"):
                raise _invalid_request(f"{where}.{name}: Extra inputs are not permitted")
        _check_content(message.get("content"), f"{where}.content", message["role"])
    if messages[0]["role"] == "assistant":
        raise _invalid_request('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant" and not body["model"].startswith("claude-3"):
        raise _invalid_request(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    if isinstance(body.get("system"), list):
        _check_content(body["system"], "system", "system")
    return messages


def _check_content(content: Any, where: str, role: str) -> None:
    if isinstance(content, str):
        if not content and role != "assistant":
            raise _invalid_request(f"{where}: user messages must have non-empty content")
        return
    if not isinstance(content, list):
        raise _invalid_request(f"{where}: Input should be a valid list")
    if not content and role == "user":
        raise _invalid_request(f"{where}: user messages must have non-empty content")
    for at, block in enumerate(content):
        _check_block(block, f"{where}.{at}", role)


def _check_block(block: Any, where: str, role: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise _invalid_request(f"{where}.type: Field required")
    allowed = _BLOCKS.get(kind)
    if allowed is None:
        if _SERVER_BLOCKS.fullmatch(kind):
            return
        tags = ", ".join(f"'{name}'" for name in _BLOCKS)
        raise _invalid_request(
            f"{where}: Input tag '{kind}' found using 'type' does not match any of the "
            f"expected tags: {tags}"
        )
    for name in block:
        if name not in allowed and name not in ("type", "cache_control"):
            raise _invalid_request(f"{where}.{kind}.{name}: Extra inputs are not permitted")
    if kind in ("tool_use", "thinking", "redacted_thinking") and role != "assistant":
        raise _invalid_request(f"{where}: `{kind}` blocks may only be in `assistant` messages")
    if kind in ("tool_result", "image", "document") and role != "user":
        raise _invalid_request(f"{where}: `{kind}` blocks are not permitted in `{role}` messages")
    match kind:
        case "text":
            if not isinstance(block.get("text"), str):
                raise _invalid_request(f"{where}.text.text: Field required")
            if not block["text"]:
                raise _invalid_request("messages: text content blocks must be non-empty")
        case "image" | "document":
            _check_source(block, f"{where}.{kind}.source", kind)
        case "thinking":
            _check_signature(block, where)
        case "redacted_thinking" if not is_signature(block.get("data")):
            raise _invalid_request(f"{where}: Invalid `data` in `redacted_thinking` block")
        case "tool_use":
            _check_tool_use(block, where)
        case "tool_result":
            if not isinstance(block.get("tool_use_id"), str):
                raise _invalid_request(f"{where}.tool_result.tool_use_id: Field required")
            if isinstance(block.get("content"), list):
                for at, part in enumerate(block["content"]):
                    _check_block(part, f"{where}.tool_result.content.{at}", "user")


def _check_tool_use(block: dict[str, Any], where: str) -> None:
    for name, kind, words in (
        ("id", str, "string"),
        ("name", str, "string"),
        ("input", dict, "dictionary"),
    ):
        if name not in block:
            raise _invalid_request(f"{where}.tool_use.{name}: Field required")
        if not isinstance(block[name], kind):
            raise _invalid_request(f"{where}.tool_use.{name}: Input should be a valid {words}")
    if not _TOOL_NAME.fullmatch(block["id"]):
        raise _invalid_request(
            f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        )


def _check_signature(block: dict[str, Any], where: str) -> None:
    thought, signature = block.get("thinking"), block.get("signature")
    if not isinstance(thought, str) or not isinstance(signature, str):
        raise _invalid_request(f"{where}.thinking.signature: Field required")
    if signature != signature_of(thought):
        raise _invalid_request(f"{where}: Invalid `signature` in `thinking` block")


def _check_source(block: dict[str, Any], where: str, kind: str) -> None:
    source = block.get("source")
    if not isinstance(source, dict) or source.get("type") not in _SOURCES:
        raise _invalid_request(f"{where}: Field required")
    if source["type"] != "base64":
        return
    media, data = source.get("media_type"), source.get("data")
    if kind == "image" and media not in _IMAGES:
        raise _invalid_request(
            f"{where}.base64.media_type: Input should be 'image/jpeg', 'image/png', "
            "'image/gif' or 'image/webp'"
        )
    try:
        raw = base64.b64decode(data if isinstance(data, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise _invalid_request(f"{where}.base64: invalid base64 data") from None
    if kind == "image":
        picture = measure_picture(raw)
        if picture is None:
            raise _invalid_request(f"{where}.base64.data: Could not process image")
        if picture.media_type != media:
            raise _invalid_request(
                f"{where}.base64.data: The image was specified using the {media} media type, "
                f"but the image appears to be a {picture.media_type} image"
            )


def _content_blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return content if isinstance(content, list) else []


def _check_call_results(messages: list[dict[str, Any]]) -> None:
    """Every call has its result in the next message, every result its call before it."""
    talk = [(at, m) for at, m in enumerate(messages) if m["role"] != "system"]
    open_calls: list[str] = []
    for at, message in talk:
        results = [b["tool_use_id"] for b in _content_blocks(message) if b["type"] == "tool_result"]
        for result in results:
            if result not in open_calls:
                raise _invalid_request(
                    f"messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {result}. Each `tool_result` block must have a corresponding "
                    "`tool_use` block in the previous message."
                )
        missing = [call for call in open_calls if call not in results]
        if missing:
            raise _invalid_request(
                f"messages.{at - 1}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}. Each `tool_use` block must have a "
                "corresponding `tool_result` block in the next message."
            )
        if len(set(results)) < len(results):
            raise _invalid_request(
                f"messages.{at}: each tool_use must have a single result. "
                "Found multiple `tool_result` blocks"
            )
        open_calls = [b["id"] for b in _content_blocks(message) if b["type"] == "tool_use"]
        if len(set(open_calls)) < len(open_calls):
            raise _invalid_request(f"messages.{at}: `tool_use` ids must be unique")
    if open_calls:
        raise _invalid_request(
            f"messages.{len(messages) - 1}: `tool_use` ids were found without `tool_result` blocks"
        )


def _parse_tools(body: dict[str, Any]) -> list[OfferedTool]:
    offered: list[OfferedTool] = []
    for at, tool in enumerate(body.get("tools") or []):
        if not isinstance(tool, dict):
            raise _invalid_request(f"tools.{at}: Input should be a valid dictionary")
        if tool.get("type", "custom") not in (None, "custom"):
            continue
        name, schema = tool.get("name"), tool.get("input_schema")
        if not isinstance(name, str):
            raise _invalid_request(f"tools.{at}.custom.name: Field required")
        if not _TOOL_NAME.fullmatch(name):
            raise _invalid_request(
                f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        if not isinstance(schema, dict):
            raise _invalid_request(f"tools.{at}.custom.input_schema: Field required")
        if schema.get("type") != "object":
            raise _invalid_request(f"tools.{at}.custom.input_schema.type: Field required")
        offered.append(OfferedTool(name, schema))
    if len({tool.name for tool in offered}) < len(offered):
        raise _invalid_request("tools: Tool names must be unique.")
    return offered


def _parse_tool_choice(body: dict[str, Any]) -> str:
    choice = body.get("tool_choice")
    if choice is None:
        return "auto"
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("auto", "any", "tool", "none"):
        raise _invalid_request(
            "tool_choice: Input tag does not match any of the expected tags: "
            "'auto', 'any', 'tool', 'none'"
        )
    if not body.get("tools"):
        raise _invalid_request("tool_choice: may only be specified while providing tools")
    if kind != "tool":
        return str(kind)
    if all(tool.get("name") != choice.get("name") for tool in body["tools"]):
        raise _invalid_request(
            f"tool_choice: Tool '{choice.get('name')}' not found in provided tools"
        )
    return f"={choice['name']}"


def _parse_stops(body: dict[str, Any]) -> list[str]:
    stops = body.get("stop_sequences") or []
    for at, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise _invalid_request(f"stop_sequences.{at}: Input should be a valid string")
        if not stop.strip():
            raise _invalid_request("stop_sequences: each stop sequence must contain non-whitespace")
    return list(stops)


def _response_schema(body: dict[str, Any]) -> Any:
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is None:
        return None
    if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
        raise _invalid_request("output_config.format.schema: Field required")
    return wanted["schema"]


def _parse_thinking(body: dict[str, Any], request: ParsedRequest) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in ("enabled", "adaptive", "disabled", "between_tools"):
        raise _invalid_request(
            "thinking: Input tag does not match any of the expected tags: "
            "'enabled', 'disabled', 'adaptive', 'between_tools'"
        )
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise _invalid_request("thinking.enabled.budget_tokens: Field required")
        if budget < 1024:
            raise _invalid_request(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if request.max_tokens is not None and budget >= request.max_tokens:
            raise _invalid_request("`max_tokens` must be greater than `thinking.budget_tokens`")
        if request.choice == "any" or request.choice.startswith("="):
            raise _invalid_request("Thinking may not be enabled when tool_choice forces tool use.")
    request.thinks = kind in ("enabled", "adaptive")
    request.shows_thought = thinking.get("display") != "omitted"


def _last_turn(messages: list[dict[str, Any]], request: ParsedRequest) -> None:
    """Read the last turn into `request`: the question, its pictures, the tools' results."""
    ends = [m for m in messages if m["role"] != "system"][-1]
    if isinstance(ends["content"], str):
        request.question = read_question([ends["content"]])
        return
    words: list[str] = []
    for block in ends["content"]:
        match block["type"]:
            case "text":
                words.append(block["text"])
            case "image":
                request.pictures.append(_parse_picture(block["source"]))
            case "tool_result":
                content = block.get("content") or ""
                parts: list[Any] = (
                    content if isinstance(content, list) else [{"type": "text", "text": content}]
                )
                request.results.append(" ".join(p["text"] for p in parts if p["type"] == "text"))
                request.pictures += [
                    _parse_picture(p["source"]) for p in parts if p["type"] == "image"
                ]
    request.question = read_question(words)


def _parse_picture(source: dict[str, Any]) -> Picture:
    if source["type"] != "base64":
        return Picture()
    return measure_picture(base64.b64decode(source["data"])) or Picture()


def _check_cache_marks(body: dict[str, Any]) -> None:
    """Refuse more than four cache breakpoints."""
    system = body.get("system")
    blocks = list(body.get("tools") or []) + (system if isinstance(system, list) else [])
    for message in body["messages"]:
        blocks += _content_blocks(message)
    count = sum(1 for block in blocks if block.get("cache_control"))
    if count > _MOST_BREAKPOINTS:
        raise _invalid_request(
            f"A maximum of 4 blocks with cache_control may be provided. Found {count}."
        )


def _count_tokens(body: dict[str, Any]) -> int:
    """Input tokens: all JSON of the request, pictures at a flat rate."""
    members = [part for name in ("system", "tools", "messages") if (part := body.get(name))]
    size, pictures = len(orjson.dumps(members)), 0
    for message in body["messages"]:
        for block in _content_blocks(message):
            source = block.get("source")
            if block["type"] == "image" and isinstance(source, dict):
                size -= len(source.get("data") or "")
                pictures += 1
    return 3 + tokens.estimate_tokens(size) + _PICTURE * pictures

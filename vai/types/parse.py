"""JSON values -> wire objects, with the path of each mistake.

Invariants: a value that does not fit raises an `InvalidRequest` whose `param` is the JSON path
and whose message states what was expected; it never quotes the value. The parser keeps unknown
members and types and refuses none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from vai.errors import InvalidRequest, ThreadUnsupported
from vai.types import blocks, events
from vai.types.base import OpenStruct, build_struct
from vai.types.blocks import Block, Source
from vai.types.events import Delta, Event
from vai.types.message import MAX_COUNT, Message, Usage, parse_counter
from vai.types.request import (
    InputMessage,
    MessageRequest,
    OutputConfig,
    OutputFormat,
    Thinking,
    Tool,
    ToolChoice,
)

__all__ = [
    "MAX_TOOLS",
    "check_tools",
    "parse_block",
    "parse_event",
    "parse_message",
    "parse_request",
    "parse_usage",
]

MAX_TOOLS = 10_000
"""Tools of one request, those that are loaded later included. Processes exchange their names, and
60,000 of them blocked a worker's loop for 60 ms (measured)."""

T = TypeVar("T")
O = TypeVar("O", bound=OpenStruct)  # noqa: E741

_WITH_SOURCE: dict[str, type[OpenStruct]] = {
    "image": blocks.ImageBlock,
    "audio": blocks.AudioBlock,
    "video": blocks.VideoBlock,
    "document": blocks.DocumentBlock,
}
_PLAIN: dict[str, type[OpenStruct]] = {
    "text": blocks.TextBlock,
    "tool_use": blocks.ToolUseBlock,
    "thinking": blocks.ThinkingBlock,
    "redacted_thinking": blocks.RedactedThinkingBlock,
    "server_tool_use": blocks.ServerToolUseBlock,
    "web_search_tool_result": blocks.WebSearchToolResultBlock,
}
_DELTAS: dict[str, type[OpenStruct]] = {
    "text_delta": events.TextDelta,
    "input_json_delta": events.InputJsonDelta,
    "thinking_delta": events.ThinkingDelta,
    "signature_delta": events.SignatureDelta,
    "citations_delta": events.CitationsDelta,
    "audio_delta": events.AudioDelta,
    "transcript_delta": events.TranscriptDelta,
}


def parse_request(raw: Any) -> MessageRequest:
    """A request body. The gateway has removed `provider_keys` before.

    Raises:
        ThreadUnsupported: it has a `thread`. VAI parses only requests that it translates, and
            none of the target formats keeps a conversation as a thread does.
        InvalidRequest: some part of it breaks a rule of the API; see this module.
    """
    body = _require_object(raw, "")
    if body.get("thread") is not None:
        raise ThreadUnsupported
    if "provider_keys" in body:
        body = {name: value for name, value in body.items() if name != "provider_keys"}
    if not body.get("model"):
        raise InvalidRequest("model: expected a non-empty string", param="model")
    parsed: dict[str, Any] = {"messages": _parse_messages(body.get("messages"))}
    parsed["output_config"] = _parse_output_config(body)
    if "output_format" in body:
        body = {name: value for name, value in body.items() if name != "output_format"}
    if body.get("system") is not None:
        parsed["system"] = _parse_content(body["system"], "system")
    if body.get("tools") is not None:
        check_tools(body["tools"])
        parsed["tools"] = _parse_array(body["tools"], "tools", _parse_tool)
    for name, cls in (("tool_choice", ToolChoice), ("thinking", Thinking)):
        if body.get(name) is not None:
            parsed[name] = _make_struct(cls, body[name], name)
    request = _make_struct(MessageRequest, body, "", **parsed)
    _check_cache_control(body, "")
    _check_ranges(request)
    return request


def check_tools(raw: Any) -> None:
    """Limit the number of tools: VAI keeps their names to read the response.

    Raises:
        InvalidRequest: there are more than `MAX_TOOLS`.
    """
    if isinstance(raw, list) and len(raw) > MAX_TOOLS:
        raise InvalidRequest(f"tools: expected at most {MAX_TOOLS}", param="tools")


def parse_block(raw: Any, at: str = "") -> Block:
    """One content block; `at` is its JSON path."""
    item = _require_object(raw, at)
    kind = item.get("type")
    if kind == "text" and len(item) == 2 and type(text := item.get("text")) is str:
        return blocks.TextBlock(text=text)  # nearly every block needs no converter
    if not isinstance(kind, str):
        raise _expected_error(f"{at}.type", f"one of {', '.join(blocks.BLOCK_TYPES)}")
    plain = _PLAIN.get(kind)
    if plain is not None:
        return _make_struct(plain, item, at)  # type: ignore[return-value]
    with_source = _WITH_SOURCE.get(kind)
    if with_source is not None:
        source = _make_struct(Source, item.get("source"), f"{at}.source")
        return _make_struct(with_source, item, at, source=source)  # type: ignore[return-value]
    if kind == "tool_result":
        if item.get("content") is None:
            return _make_struct(blocks.ToolResultBlock, item, at)
        content = _parse_content(item["content"], f"{at}.content")
        return _make_struct(blocks.ToolResultBlock, item, at, content=content)
    return blocks.UnknownBlock(raw=item)


def parse_usage(raw: Any, at: str = "usage") -> Usage:
    """Usage as the Messages API reports it; an impossible counter is unknown."""
    extra: dict[str, Any] = {}
    members: dict[str, Any] = {"extra": extra}
    for name, value in _require_object(raw, at).items():
        if name in _COUNTERS:
            is_usual = type(value) is int and 0 <= value <= MAX_COUNT  # nearly every counter
            members[name] = value if is_usual else parse_counter(value)
        else:
            extra[name] = value
    details = extra.get("output_tokens_details") if extra else None
    if isinstance(details, dict) and "thinking_tokens" in details:
        members["thinking_tokens"] = parse_counter(details["thinking_tokens"])
    # Not by the converter, which has nothing left to check and takes longer than all of this.
    return Usage(**members)


_COUNTERS = frozenset(Usage.__struct_fields__) - {"extra"}


def parse_message(raw: Any) -> Message:
    """A complete response."""
    item = _require_object(raw, "")
    content = _parse_array(item.get("content"), "content", parse_block)
    return _make_struct(Message, item, "", content=content, usage=parse_usage(item.get("usage")))


def parse_event(raw: Any) -> Event:
    """One event of a stream."""
    item = _require_object(raw, "")
    kind = item.get("type")
    if kind == "content_block_delta":
        delta, index = _parse_delta(item.get("delta")), item.get("index")
        if len(item) == 3 and type(index) is int:
            return events.ContentBlockDelta(index=index, delta=delta)  # nearly every delta
        return _make_struct(events.ContentBlockDelta, item, "", delta=delta)
    if kind == "content_block_start":
        opened = parse_block(item.get("content_block"), "content_block")
        return _make_struct(events.ContentBlockStart, item, "", content_block=opened)
    if kind == "content_block_stop":
        return _make_struct(events.ContentBlockStop, item, "")
    if kind == "message_start":
        return _make_struct(
            events.MessageStart, item, "", message=parse_message(item.get("message"))
        )
    if kind == "message_delta":
        return _parse_message_delta(item)
    if kind == "message_stop":
        return _make_struct(events.MessageStop, item, "")
    if kind == "ping":
        return _make_struct(events.Ping, item, "")
    if kind == "error":
        return _make_struct(events.ErrorEvent, item, "")
    return events.UnknownEvent(raw=item)


def _parse_message_delta(item: dict[str, Any]) -> events.MessageDelta:
    end = _require_object(item.get("delta"), "delta")
    body = _make_struct(
        events.MessageDeltaBody, {"stop_reason": None, "stop_sequence": None, **end}, "delta"
    )
    # Some servers send a message_delta without usage; the running totals then remain.
    totals = parse_usage(item["usage"]) if item.get("usage") is not None else None
    return _make_struct(events.MessageDelta, item, "", delta=body, usage=totals)


def _parse_delta(raw: Any) -> Delta:
    item = _require_object(raw, "delta")
    kind = item.get("type")
    if kind == "text_delta" and len(item) == 2 and type(text := item.get("text")) is str:
        return events.TextDelta(text=text)  # nearly every delta needs no converter
    cls = _DELTAS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return events.UnknownDelta(raw=item)
    return _make_struct(cls, item, "delta")  # type: ignore[return-value]


def _parse_messages(raw: Any) -> list[InputMessage]:
    if not isinstance(raw, list):
        raise _expected_error("messages", "an array")
    if not raw:
        raise _expected_error("messages", "at least one message")
    turns = []
    for index, item in enumerate(raw):
        turns.append(_parse_turn(item, f"messages[{index}]"))
    return turns


def _parse_turn(raw: Any, at: str) -> InputMessage:
    fields = _require_object(raw, at)
    role, text = fields.get("role"), fields.get("content")
    if len(fields) == 2 and type(text) is str and role in ("user", "assistant"):
        return InputMessage(role=role, content=text)  # nearly every turn needs no converter
    content = _parse_content(text, f"{at}.content")
    return _make_struct(InputMessage, fields, at, content=content)


def _parse_content(raw: Any, at: str) -> str | list[Block]:
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, list):
        raise _expected_error(at, "a string or an array of content blocks")
    content = [parse_block(item, f"{at}[{index}]") for index, item in enumerate(raw)]
    for index, item in enumerate(raw):
        if "cache_control" in item:
            _check_cache_control(item, f"{at}[{index}]")
    return content


def _check_cache_control(raw: dict[str, Any], at: str) -> None:
    """Refuse a cache breakpoint of an unknown type: its meaning is not known."""
    mark = raw.get("cache_control")
    if isinstance(mark, dict) and mark.get("type", "ephemeral") != "ephemeral":
        raise _expected_error(f"{at}.cache_control.type", "ephemeral")


def _parse_tool(raw: Any, at: str) -> Tool:
    tool = _make_struct(Tool, raw, at)
    if tool.cache_control is not None:
        _check_cache_control(raw, at)
    return tool


def _parse_output_config(body: dict[str, Any]) -> OutputConfig | None:
    """`output_config`, with VAI's documented `output_format` as its `format`."""
    config = body.get("output_config")
    legacy = body.get("output_format")
    if config is None and legacy is None:
        return None
    fields = _require_object(config if config is not None else {}, "output_config")
    form = fields.get("format")
    if legacy is not None and form is not None:
        raise InvalidRequest(
            "output_format: expected either output_format or output_config.format, not both",
            param="output_format",
        )
    if legacy is not None:
        return _make_struct(
            OutputConfig, fields, "output_config", format=_parse_output_format(legacy)
        )
    if form is not None:
        parsed = _parse_output_format(form, "output_config.format")
        return _make_struct(OutputConfig, fields, "output_config", format=parsed)
    return _make_struct(OutputConfig, fields, "output_config")


def _parse_output_format(raw: Any, at: str = "output_format") -> OutputFormat:
    fields = dict(_require_object(raw, at))
    # The schema has three spellings: `schema` (Messages API), `json_schema` (VAI's own
    # documents) and `json_schema.schema` (Chat Completions).
    nested = fields.pop("json_schema", None)
    if isinstance(nested, dict) and "schema" not in fields:
        inner = nested.get("schema")
        fields["schema"] = inner if isinstance(inner, dict) else nested
        if isinstance(inner, dict) and isinstance(nested.get("name"), str):
            fields.setdefault("name", nested["name"])
    return _make_struct(OutputFormat, fields, at)


def _check_ranges(request: MessageRequest) -> None:
    if request.max_tokens is not None and request.max_tokens < 0:
        raise _expected_error("max_tokens", "an integer of at least 0")
    if request.temperature is not None and not 0 <= request.temperature <= 2:
        raise _expected_error("temperature", "a number from 0 to 2")
    if request.top_p is not None and not 0 <= request.top_p <= 1:
        raise _expected_error("top_p", "a number from 0 to 1")
    choice = request.tool_choice
    if choice is not None and choice.type == "tool" and not choice.name:
        raise _expected_error("tool_choice.name", "the name of a tool")


def _parse_array(raw: Any, at: str, parse: Callable[[Any, str], T]) -> list[T]:
    if not isinstance(raw, list):
        raise _expected_error(at, "an array")
    return [parse(item, f"{at}[{index}]") for index, item in enumerate(raw)]


def _require_object(raw: Any, at: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _expected_error(at or "body", "an object")
    return raw


def _make_struct(cls: type[O], raw: Any, at: str, **parsed: Any) -> O:
    try:
        return build_struct(cls, _require_object(raw, at), **parsed)
    except msgspec.ValidationError as exc:
        raise _error_from_violation(cls, at, str(exc)) from None


_JSON_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>\w+)`")
_WRONG_TYPE = re.compile(r"^Expected `(?P<wanted>[\w |]+)`")


def _error_from_violation(cls: type[OpenStruct], at: str, text: str) -> InvalidRequest:
    """The converter's complaint as an `InvalidRequest`: path, and what was expected."""
    match = _PATH.search(text)
    path = at + (match["path"] if match else "")
    missing = _MISSING.search(text)
    if missing:
        values = _allowed_values(cls, missing["name"])
        return InvalidRequest(
            f"{_join_path(path, missing['name'])}: this field is required; expected "
            + (f"one of {', '.join(values)}" if values else "a value"),
            param=_join_path(path, missing["name"]),
            code="missing_required_field",
        )
    values = _allowed_values(cls, match["path"].lstrip(".")) if match else ()
    if values:
        return _expected_error(path, f"one of {', '.join(values)}")
    wanted = _WRONG_TYPE.match(text)
    if wanted:
        names = [_JSON_TYPES.get(name, name) for name in wanted["wanted"].split(" | ")]
        return _expected_error(path, " or ".join(name for name in names if name != "null"))
    return _expected_error(path, "one of the documented values")


def _allowed_values(cls: type[OpenStruct], name: str) -> tuple[str, ...]:
    """The values that a field accepts, where there are only a few."""
    if cls is Source and name == "type":
        return blocks.SOURCE_TYPES
    hints = get_type_hints(cls)
    return get_args(hints[name]) if get_origin(hints.get(name)) is Literal else ()


def _join_path(path: str, name: str) -> str:
    return f"{path.lstrip('.')}.{name}".lstrip(".")


def _expected_error(path: str, what: str) -> InvalidRequest:
    param = path.lstrip(".")
    return InvalidRequest(f"{param}: expected {what}", param=param)

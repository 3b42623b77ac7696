"""JSON values -> wire objects, with the path of whatever is wrong.

Invariants: a value that does not fit raises `InvalidRequest` whose `param`
is the JSON path and whose message says what was expected; the offending value is never
quoted. Unknown members and unknown types are kept, not refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from vai.errors import InvalidRequest, ThreadUnsupported
from vai.types import blocks, events
from vai.types.base import OpenStruct, build
from vai.types.blocks import Block, Source
from vai.types.events import Delta, Event
from vai.types.message import Message, Usage, counted
from vai.types.request import (
    InputMessage,
    MessageRequest,
    OutputConfig,
    OutputFormat,
    Thinking,
    Tool,
    ToolChoice,
)

__all__ = ["MAX_TOOLS", "block", "check_tools", "event", "message", "request", "usage"]

MAX_TOOLS = 10_000
"""Tools of one request, those that are loaded later included. Their names go from process to
process, and 60,000 of them held a worker's loop for 60 ms (measured)."""

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


def request(raw: Any) -> MessageRequest:
    """A request body. `provider_keys` must have been taken out before.

    Raises:
        ThreadUnsupported: it has a `thread`. A request is read where it is translated, and
            none of the formats it is translated to keeps a conversation as a thread does.
        InvalidRequest: something in it is not as the API has it; see this module.
    """
    body = _object(raw, "")
    if body.get("thread") is not None:
        raise ThreadUnsupported
    if "provider_keys" in body:
        body = {name: value for name, value in body.items() if name != "provider_keys"}
    if not body.get("model"):
        raise InvalidRequest("model: expected a non-empty string", param="model")
    parsed: dict[str, Any] = {"messages": _messages(body.get("messages"))}
    parsed["output_config"] = _output_config(body)
    if "output_format" in body:
        body = {name: value for name, value in body.items() if name != "output_format"}
    if body.get("system") is not None:
        parsed["system"] = _content(body["system"], "system")
    if body.get("tools") is not None:
        check_tools(body["tools"])
        parsed["tools"] = _each(body["tools"], "tools", _tool)
    for name, cls in (("tool_choice", ToolChoice), ("thinking", Thinking)):
        if body.get(name) is not None:
            parsed[name] = _make(cls, body[name], name)
    found = _make(MessageRequest, body, "", **parsed)
    _check_mark(body, "")
    _check_ranges(found)
    return found


def check_tools(raw: Any) -> None:
    """Bound the number of tools, whose names are kept to read the answer by.

    Raises:
        InvalidRequest: there are more than `MAX_TOOLS`.
    """
    if isinstance(raw, list) and len(raw) > MAX_TOOLS:
        raise InvalidRequest(f"tools: expected at most {MAX_TOOLS}", param="tools")


def block(raw: Any, at: str = "") -> Block:
    """One content block; `at` is its JSON path."""
    item = _object(raw, at)
    kind = item.get("type")
    if not isinstance(kind, str):
        raise _expected(f"{at}.type", f"one of {', '.join(blocks.BLOCK_TYPES)}")
    plain = _PLAIN.get(kind)
    if plain is not None:
        return _make(plain, item, at)  # type: ignore[return-value]
    with_source = _WITH_SOURCE.get(kind)
    if with_source is not None:
        source = _make(Source, item.get("source"), f"{at}.source")
        return _make(with_source, item, at, source=source)  # type: ignore[return-value]
    if kind == "tool_result":
        if item.get("content") is None:
            return _make(blocks.ToolResultBlock, item, at)
        content = _content(item["content"], f"{at}.content")
        return _make(blocks.ToolResultBlock, item, at, content=content)
    return blocks.UnknownBlock(raw=item)


def usage(raw: Any, at: str = "usage") -> Usage:
    """Usage as the Messages API reports it; a counter that cannot be one is unknown."""
    item = _object(raw, at)
    details = item.get("output_tokens_details")
    known = {name: counted(item[name]) for name in _COUNTERS if name in item}
    if isinstance(details, dict) and "thinking_tokens" in details:
        known["thinking_tokens"] = counted(details["thinking_tokens"])
    return _make(Usage, item, at, **known)


_COUNTERS = tuple(name for name in Usage.__struct_fields__ if name != "extra")


def message(raw: Any) -> Message:
    """A complete answer."""
    item = _object(raw, "")
    content = _each(item.get("content"), "content", block)
    return _make(Message, item, "", content=content, usage=usage(item.get("usage")))


def event(raw: Any) -> Event:
    """One event of a stream."""
    item = _object(raw, "")
    kind = item.get("type")
    if kind == "content_block_delta":
        return _make(events.ContentBlockDelta, item, "", delta=_delta(item.get("delta")))
    if kind == "content_block_start":
        opened = block(item.get("content_block"), "content_block")
        return _make(events.ContentBlockStart, item, "", content_block=opened)
    if kind == "content_block_stop":
        return _make(events.ContentBlockStop, item, "")
    if kind == "message_start":
        return _make(events.MessageStart, item, "", message=message(item.get("message")))
    if kind == "message_delta":
        return _message_delta(item)
    if kind == "message_stop":
        return _make(events.MessageStop, item, "")
    if kind == "ping":
        return _make(events.Ping, item, "")
    if kind == "error":
        return _make(events.ErrorEvent, item, "")
    return events.UnknownEvent(raw=item)


def _message_delta(item: dict[str, Any]) -> events.MessageDelta:
    end = _object(item.get("delta"), "delta")
    body = _make(
        events.MessageDeltaBody, {"stop_reason": None, "stop_sequence": None, **end}, "delta"
    )
    # A message_delta without usage exists in the wild; the running totals then stand.
    counted = usage(item["usage"]) if item.get("usage") is not None else None
    return _make(events.MessageDelta, item, "", delta=body, usage=counted)


def _delta(raw: Any) -> Delta:
    item = _object(raw, "delta")
    kind = item.get("type")
    cls = _DELTAS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return events.UnknownDelta(raw=item)
    return _make(cls, item, "delta")  # type: ignore[return-value]


def _messages(raw: Any) -> list[InputMessage]:
    def turn(item: Any, at: str) -> InputMessage:
        fields = _object(item, at)
        content = _content(fields.get("content"), f"{at}.content")
        return _make(InputMessage, fields, at, content=content)

    found = _each(raw, "messages", turn)
    if not found:
        raise _expected("messages", "at least one message")
    return found


def _content(raw: Any, at: str) -> str | list[Block]:
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, list):
        raise _expected(at, "a string or an array of content blocks")
    found = [block(item, f"{at}[{index}]") for index, item in enumerate(raw)]
    for index, item in enumerate(raw):
        if "cache_control" in item:
            _check_mark(item, f"{at}[{index}]")
    return found


def _check_mark(raw: dict[str, Any], at: str) -> None:
    """Refuse a cache breakpoint of an unknown type: what it asks for is not known."""
    mark = raw.get("cache_control")
    if isinstance(mark, dict) and mark.get("type", "ephemeral") != "ephemeral":
        raise _expected(f"{at}.cache_control.type", "ephemeral")


def _tool(raw: Any, at: str) -> Tool:
    tool = _make(Tool, raw, at)
    if tool.cache_control is not None:
        _check_mark(raw, at)
    return tool


def _output_config(body: dict[str, Any]) -> OutputConfig | None:
    """`output_config`, with VAI's documented `output_format` read as its `format`."""
    config = body.get("output_config")
    legacy = body.get("output_format")
    if config is None and legacy is None:
        return None
    fields = _object(config if config is not None else {}, "output_config")
    form = fields.get("format")
    if legacy is not None and form is not None:
        raise InvalidRequest(
            "output_format: expected either output_format or output_config.format, not both",
            param="output_format",
        )
    if legacy is not None:
        return _make(OutputConfig, fields, "output_config", format=_output_format(legacy))
    if form is not None:
        parsed = _output_format(form, "output_config.format")
        return _make(OutputConfig, fields, "output_config", format=parsed)
    return _make(OutputConfig, fields, "output_config")


def _output_format(raw: Any, at: str = "output_format") -> OutputFormat:
    fields = dict(_object(raw, at))
    # The schema has three spellings: `schema` (Messages API), `json_schema` (VAI's own
    # documents) and `json_schema.schema` (Chat Completions).
    nested = fields.pop("json_schema", None)
    if isinstance(nested, dict) and "schema" not in fields:
        inner = nested.get("schema")
        fields["schema"] = inner if isinstance(inner, dict) else nested
        if isinstance(inner, dict) and isinstance(nested.get("name"), str):
            fields.setdefault("name", nested["name"])
    return _make(OutputFormat, fields, at)


def _check_ranges(found: MessageRequest) -> None:
    if found.max_tokens is not None and found.max_tokens < 0:
        raise _expected("max_tokens", "an integer of at least 0")
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1)):
        value = getattr(found, name)
        if value is not None and not low <= value <= high:
            raise _expected(name, f"a number from {low} to {high}")
    choice = found.tool_choice
    if choice is not None and choice.type == "tool" and not choice.name:
        raise _expected("tool_choice.name", "the name of a tool")


def _each(raw: Any, at: str, parse: Callable[[Any, str], T]) -> list[T]:
    if not isinstance(raw, list):
        raise _expected(at, "an array")
    return [parse(item, f"{at}[{index}]") for index, item in enumerate(raw)]


def _object(raw: Any, at: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _expected(at or "body", "an object")
    return raw


def _make(cls: type[O], raw: Any, at: str, **parsed: Any) -> O:
    try:
        return build(cls, _object(raw, at), **parsed)
    except msgspec.ValidationError as exc:
        raise _violation(cls, at, str(exc)) from None


_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_AT = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>\w+)`")
_WRONG_TYPE = re.compile(r"^Expected `(?P<wanted>[\w |]+)`")


def _violation(cls: type[OpenStruct], at: str, text: str) -> InvalidRequest:
    """The converter's complaint as an error of ours: path, and what was expected."""
    place = _AT.search(text)
    path = at + (place["path"] if place else "")
    missing = _MISSING.search(text)
    if missing:
        known = _known_values(cls, missing["name"])
        return InvalidRequest(
            f"{_join(path, missing['name'])}: this field is required; expected "
            + (f"one of {', '.join(known)}" if known else "a value"),
            param=_join(path, missing["name"]),
            code="missing_required_field",
        )
    known = _known_values(cls, place["path"].lstrip(".")) if place else ()
    if known:
        return _expected(path, f"one of {', '.join(known)}")
    wanted = _WRONG_TYPE.match(text)
    if wanted:
        names = [_TYPES.get(name, name) for name in wanted["wanted"].split(" | ")]
        return _expected(path, " or ".join(name for name in names if name != "null"))
    return _expected(path, "one of the documented values")


def _known_values(cls: type[OpenStruct], name: str) -> tuple[str, ...]:
    """The words that a field can hold, where there are only a few."""
    if cls is Source and name == "type":
        return blocks.SOURCE_TYPES
    hints = get_type_hints(cls)
    return get_args(hints[name]) if get_origin(hints.get(name)) is Literal else ()


def _join(path: str, name: str) -> str:
    return f"{path.lstrip('.')}.{name}".lstrip(".")


def _expected(path: str, what: str) -> InvalidRequest:
    param = path.lstrip(".")
    return InvalidRequest(f"{param}: expected {what}", param=param)

"""Wire objects that are built or rendered without a converter are those that it would make."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from vai.errors import InvalidRequest
from vai.types import parse
from vai.types.base import OpenStruct, build_struct, to_wire
from vai.types.blocks import Source, TextBlock, ToolResultBlock, UnknownBlock
from vai.types.events import (
    ContentBlockDelta,
    ContentBlockStart,
    MessageDelta,
    MessageDeltaBody,
    MessageStart,
)
from vai.types.message import Message, Usage, parse_counter
from vai.types.render import (
    event_to_wire,
    message_to_wire,
    usage_to_wire,
    vai_counters,
    without_vai_counters,
)
from vai.types.request import InputMessage, MessageRequest

ODD: list[Any] = ["", "text", "\u00e9", None, 7, True, [], {}, [{"type": "text", "text": "x"}]]
ABSENT = object()


def outcome(make: Any, *args: Any) -> Any:
    try:
        made = make(*args)
    except (InvalidRequest, msgspec.ValidationError) as error:
        return type(error), str(error), getattr(error, "param", None)
    return made, to_wire(made), made.extra


@pytest.mark.parametrize("more", [{}, {"cache_control": {"type": "ephemeral"}}, {"x": 1}])
@pytest.mark.parametrize("text", [*ODD, ABSENT])
def test_a_text_block(text: Any, more: dict[str, Any]) -> None:
    raw = {"type": "text", **({} if text is ABSENT else {"text": text}), **more}
    made = outcome(lambda: parse._make_struct(TextBlock, raw, "at"))
    assert outcome(parse.parse_block, raw, "at") == made


@pytest.mark.parametrize("more", [{}, {"x": 1}])
@pytest.mark.parametrize("index", [0, 7, 1 << 70, -1, True, 1.0, 1.5, "0", None, ABSENT])
@pytest.mark.parametrize("text", [*ODD, ABSENT])
@pytest.mark.parametrize("kind", ["text_delta", "thinking_delta"])
def test_a_delta(kind: str, text: Any, index: Any, more: dict[str, Any]) -> None:
    for of_delta, of_event in ((more, {}), ({}, more)):
        name = kind.removesuffix("_delta")
        delta = {"type": kind, **({} if text is ABSENT else {name: text}), **of_delta}
        raw = {"type": "content_block_delta", "delta": delta, **of_event}
        if index is not ABSENT:
            raw["index"] = index

        def convert(raw: dict[str, Any] = raw, delta: dict[str, Any] = delta) -> ContentBlockDelta:
            made = parse._make_struct(parse._DELTAS[kind], delta, "delta")
            return parse._make_struct(ContentBlockDelta, raw, "", delta=made)

        assert outcome(parse.parse_event, raw) == outcome(convert)


@pytest.mark.parametrize("more", [{}, {"x": 1}])
@pytest.mark.parametrize("content", [*ODD, ABSENT])
@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer", None, 7, [], ABSENT])
def test_a_turn(role: Any, content: Any, more: dict[str, Any]) -> None:
    raw = {"role": role, "content": content, **more}
    raw = {name: value for name, value in raw.items() if value is not ABSENT}

    def convert() -> InputMessage:
        parsed = parse._parse_content(raw.get("content"), "messages[0].content")
        return parse._make_struct(InputMessage, raw, "messages[0]", content=parsed)

    assert outcome(lambda: parse._parse_messages([raw])[0]) == outcome(convert)


@pytest.mark.parametrize("messages", [ABSENT, None, {}, "text", [], [None], ["text"], [[]]])
def test_messages_of_a_wrong_type(messages: Any) -> None:
    raw = {"model": "m", **({} if messages is ABSENT else {"messages": messages})}
    with pytest.raises(InvalidRequest) as caught:
        parse.parse_request(raw)
    assert caught.value.param in ("messages", "messages[0]")


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_ranges_name_their_member(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse.parse_request(
            {"model": "m", "messages": [{"role": "user", "content": "x"}], name: 2.5}
        )
    assert caught.value.param == name


def by_the_fields(value: Any) -> Any:
    """What `to_wire` has to give, from the definition of the struct."""
    if isinstance(value, list):
        return [by_the_fields(item) for item in value]
    if isinstance(value, UnknownBlock):
        return value.raw
    if not isinstance(value, OpenStruct):
        return value
    tag = value.__struct_config__.tag
    wire = {} if tag is None else {"type": tag}
    for field in msgspec.structs.fields(type(value)):
        member = getattr(value, field.name)
        if field.name != "extra" and member != field.default:
            wire[field.name] = by_the_fields(member)
    return wire | value.extra


BLOCKS = [
    TextBlock(text="a", citations=[{"type": "x"}], extra={"y": [1]}),
    TextBlock(text=""),
    UnknownBlock(raw={"type": "new", "x": {}}),
    ToolResultBlock(tool_use_id="t", content=[TextBlock(text="b", extra={"z": None})]),
    ToolResultBlock(tool_use_id="t", content="b", is_error=False),
]
FULL = Usage(
    input_tokens=1,
    output_tokens=2,
    cache_read_input_tokens=3,
    cache_creation_input_tokens=4,
    thinking_tokens=5,
    extra={"service_tier": "flex"},
)
MESSAGE = Message(
    id="msg_1",
    role="assistant",
    model="p/m",
    content=BLOCKS,
    stop_reason="refusal",
    stop_sequence="###",
    stop_details={"type": "refusal"},
    usage=FULL,
    metadata={"x": 1},
    extra={"container": {"id": "c"}},
)


@pytest.mark.parametrize(
    "value",
    [
        *BLOCKS,
        BLOCKS,
        FULL,
        MESSAGE,
        ContentBlockStart(index=0, content_block=BLOCKS[0]),
        Source(type="content", content=[{"type": "text"}, "x", 1.5, None, True]),
        MessageRequest(
            model="m", messages=[InputMessage(role="user", content=BLOCKS)], stream=True
        ),
        MessageRequest(model="m", messages=[]),
        [{"a": 1}, "x", 7, None, [BLOCKS[0]]],
        "text",
        None,
        {"a": [1]},
    ],
)
def test_to_wire_is_what_the_fields_say(value: Any) -> None:
    # As text, because the order of the members is a part of the bytes.
    for _ in range(2):
        assert repr(to_wire(value)) == repr(by_the_fields(value))


@pytest.mark.parametrize("left_out", [None, *Message.__struct_fields__])
def test_a_message_has_the_members_of_its_fields(left_out: str | None) -> None:
    optional = {
        field.name: field.default
        for field in msgspec.structs.fields(Message)
        if field.default is None
    }
    changes = {left_out: optional[left_out]} if left_out in optional else {}
    if left_out == "extra":
        changes["extra"] = {}
    message = msgspec.structs.replace(MESSAGE, **changes)
    expected = by_the_fields(message)
    expected["usage"] = usage_to_wire(message.usage)
    expected.setdefault("stop_sequence", None)
    assert repr(message_to_wire(message)) == repr(expected)


@pytest.mark.parametrize("extra", [{}, {"x": 1}])
@pytest.mark.parametrize("usage", [FULL, Usage()])
def test_a_message_start_is_what_its_fields_say(usage: Usage, extra: dict[str, Any]) -> None:
    event = MessageStart(message=msgspec.structs.replace(MESSAGE, usage=usage), extra=extra)
    expected = by_the_fields(event)
    expected["message"] = message_to_wire(event.message)
    counters = without_vai_counters(usage_to_wire(usage))
    expected["message"]["usage"] = counters | {
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    assert repr(event_to_wire(event)) == repr(expected)


@pytest.mark.parametrize("extra", [{}, {"x": 1}])
@pytest.mark.parametrize("usage", [FULL, Usage(), None])
@pytest.mark.parametrize(
    "delta",
    [
        MessageDeltaBody(stop_reason="end_turn", stop_sequence=None),
        MessageDeltaBody(stop_reason=None, stop_sequence="#", stop_details={}, extra={"y": 2}),
    ],
)
def test_a_message_delta_is_what_its_fields_say(
    delta: MessageDeltaBody, usage: Usage | None, extra: dict[str, Any]
) -> None:
    event = MessageDelta(delta=delta, usage=usage, extra=extra)
    expected = by_the_fields(event)
    counters = {} if usage is None else usage_to_wire(usage, lambda _: 0.25)
    expected["usage"] = counters | {"output_tokens": (usage and usage.output_tokens) or 0}
    assert repr(event_to_wire(event, lambda _: 0.25)) == repr(expected)


def test_every_counter_of_a_usage_is_rendered() -> None:
    assert usage_to_wire(FULL) == {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 5},
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
        "total_tokens": 3,
        "service_tier": "flex",
    }
    assert usage_to_wire(Usage()) == vai_counters(Usage()) == {}


@pytest.mark.parametrize("name", [*Usage.__struct_fields__])
def test_a_later_usage_replaces_what_it_knows(name: str) -> None:
    value: Any = {"x": 1} if name == "extra" else 9
    merged = FULL.merged_with(Usage(**{name: value}))
    expected = {**FULL.extra, **value} if name == "extra" else value
    assert merged == msgspec.structs.replace(FULL, **{name: expected})
    assert Usage().merged_with(FULL) == FULL


@pytest.mark.parametrize(
    "raw", [{}, {"id": "x", "name": "n", "input": {}}, {"type": "tool_use", "x": 1}]
)
def test_members_without_a_field_are_extra(raw: dict[str, Any]) -> None:
    made = build_struct(MessageRequest, {"model": "m", "messages": [], **raw})
    assert made.extra == raw


@pytest.mark.parametrize("more", [{}, {"service_tier": "standard"}, {"extra": {"x": 1}}])
@pytest.mark.parametrize("details", [ABSENT, None, [], {}, {"thinking_tokens": 5}])
@pytest.mark.parametrize("count", [0, 7, 7.0, "7", True, -1, 1.5, "x", 1 << 70, None, [], ABSENT])
@pytest.mark.parametrize("name", ["input_tokens", "thinking_tokens", "cache_read_input_tokens"])
def test_a_usage(name: str, count: Any, details: Any, more: dict[str, Any]) -> None:
    given = {name: count, "output_tokens": 3, **more, "output_tokens_details": details}
    raw = {name: value for name, value in given.items() if value is not ABSENT}
    counters = {name: parse_counter(raw[name]) for name in (name, "output_tokens") if name in raw}
    if isinstance(details, dict) and details:
        counters["thinking_tokens"] = 5
    made = outcome(lambda: parse._make_struct(Usage, raw, "usage", **counters))
    assert outcome(parse.parse_usage, raw) == made

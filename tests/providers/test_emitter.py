"""Whatever a reader says, the stream is well formed, and nothing that was said is lost."""

from __future__ import annotations

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.providers.validator import check_events
from vai.errors import UpstreamBroken
from vai.providers.decode import emitter as module
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.emitter import MAX_CALLS, Emitter
from vai.types.blocks import ServerToolUseBlock
from vai.types.message import Usage

OFFICIAL = TypeAdapter(RawMessageStreamEvent)
WORDS = st.text(st.sampled_from('ab \n{}"é'), min_size=1, max_size=4)
INPUTS = st.dictionaries(st.sampled_from("xyz"), WORDS, max_size=2)


def make(estimate=None):
    return Emitter("msg_01TEST", "openai/m", "openai", estimate)


@st.composite
def answers(draw):
    """A list of operations, and the calls they make in the order of their opening."""
    ops = []
    calls = []
    for kind in draw(
        st.lists(st.sampled_from(["text", "thinking", "call", "block", "usage"]), max_size=12)
    ):
        if kind in ("text", "thinking"):
            ops.append((kind, draw(WORDS)))
        elif kind == "call":
            calls.append((f"id{len(calls)}", f"tool{len(calls)}", draw(INPUTS)))
            ops.append(("call", len(calls) - 1))
        else:
            ops.append((kind, None))
    return ops, calls


def cut(draw, text):
    at = draw(st.integers(0, len(text)))
    return [text[:at], text[at:]]


@pytest.mark.exhaustive
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_operations(data):
    ops, calls = data.draw(answers())
    emitter = make()
    late = []
    for kind, value in ops:
        if kind == "text":
            emitter.add_text(value)
        elif kind == "thinking":
            emitter.add_thinking(value)
        elif kind == "usage":
            emitter.report_usage(Usage(input_tokens=3))
        elif kind == "block":
            emitter.add_block(ServerToolUseBlock(id="s", name="web_search", input={}))
        else:
            call_id, name, given_input = calls[value]
            emitter.open_tool_call(value, call_id, name)
            text = orjson.dumps(given_input).decode()
            now, later = cut(data.draw, text)
            emitter.add_arguments(value, now)
            if data.draw(st.booleans()):
                late.append((value, later))
            else:
                emitter.add_arguments(value, later)
    for value, later in late:
        emitter.add_arguments(value, later)
    emitter.set_stop_reason("tool_use" if calls else "end_turn")
    emitter.end_message()
    assert emitter.fault is None
    events = emitter.take_events()
    wire = check_events(events)
    message = message_from_events(events)
    made = [
        (b.id, b.name, b.input) for b in message.content if b.__struct_config__.tag == "tool_use"
    ]
    assert made == calls
    said = "".join(value for kind, value in ops if kind == "thinking")
    shown = "".join(getattr(b, "thinking", "") for b in message.content)
    # Reasoning behind the last text of an answer without calls is left out.
    assert shown == said if calls else said.startswith(shown)
    said = "".join(value for kind, value in ops if kind == "text")
    shown = "".join(b.text for b in message.content if b.__struct_config__.tag == "text")
    assert "".join(shown.split()) == "".join(said.split())
    assert_official_reading(wire, message)


def assert_official_reading(wire, message):
    snapshot, buffers = None, {}
    for event in wire:
        parsed = OFFICIAL.validate_python(event)
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    assert [block.type for block in snapshot.content] == [
        block.__struct_config__.tag for block in message.content
    ]
    for theirs, ours in zip(snapshot.content, message.content, strict=True):
        if theirs.type == "text":
            assert theirs.text == ours.text
        elif theirs.type == "tool_use":
            assert theirs.input == ours.input


def test_the_estimate_is_shown_but_never_counted():
    emitter = make(estimate=77)
    emitter.add_text("x")
    assert emitter.take_events()[0].message.usage.input_tokens == 77
    assert emitter.usage == Usage()


def test_usage_alone_starts_nothing():
    emitter = make(estimate=77)
    emitter.report_usage(Usage(input_tokens=5))
    assert emitter.take_events() == []
    emitter.start_message("real")
    start = emitter.take_events()[0].message
    assert (start.model, start.usage.input_tokens) == ("openai/real", 5)


def test_what_follows_an_incomplete_call_waits_for_it():
    emitter = make()
    emitter.open_tool_call(0, "a", "f")
    emitter.add_arguments(0, '{"x":')
    emitter.add_text("after")
    emitter.add_arguments(0, "1}")
    emitter.set_stop_reason("tool_use")
    emitter.end_message()
    events = emitter.take_events()
    check_events(events)
    assert [block.__struct_config__.tag for block in message_from_events(events).content] == [
        "tool_use",
        "text",
    ]


def test_a_signature_belongs_to_the_reasoning_it_came_behind():
    emitter = make()
    emitter.open_tool_call(0, "a", "f")
    emitter.add_arguments(0, '{"x":')
    emitter.add_thinking("why")
    emitter.add_signature("sig")
    emitter.add_text("so")
    emitter.add_arguments(0, "1}")
    emitter.add_signature("alone")
    emitter.set_stop_reason("tool_use")
    emitter.end_message()
    events = emitter.take_events()
    check_events(events)
    _, thinking, text, redacted = message_from_events(events).content
    assert (thinking.thinking, thinking.signature) == ("why", "sig")
    assert (text.text, redacted.data) == ("so", "alone")


def test_a_generated_id_follows_from_the_message():
    emitter = make()
    emitter.open_tool_call(0, None, "f")
    emitter.open_tool_call(1, None, "f")
    emitter.set_stop_reason("tool_use")
    emitter.end_message()
    ids = [block.id for block in message_from_events(emitter.take_events()).content]
    assert ids == ["toolu_01TEST_0", "toolu_01TEST_1"]


@pytest.mark.parametrize(
    ("say", "code"),
    [
        (lambda e: e.open_tool_call(0, "a", None), "upstream_invalid_tool_call"),
        (
            lambda e: (e.open_tool_call(0, "a", "f"), e.add_arguments(0, "[1]")),
            "upstream_invalid_tool_input",
        ),
        (
            lambda e: (e.open_tool_call(0, "a", "f"), e.add_arguments(0, '{"a"')),
            "upstream_invalid_tool_input",
        ),
        (
            lambda e: (
                e.open_tool_call(0, "a", "f"),
                e.add_arguments(0, "{}"),
                e.open_tool_call(1, "b", "f"),
                e.add_arguments(0, '{"a":1}'),
            ),
            "upstream_invalid_tool_input",
        ),
    ],
)
def test_a_call_that_cannot_be_completed_is_a_fault(say, code):
    emitter = make()
    say(emitter)
    emitter.set_stop_reason("tool_use")
    emitter.end_message()
    assert isinstance(emitter.fault, UpstreamBroken)
    assert emitter.fault.code == code
    check_events(emitter.take_events(), complete=False)


def test_a_call_cut_off_by_the_limit_is_left_as_it_is():
    emitter = make()
    emitter.open_tool_call(0, "a", "f")
    emitter.add_arguments(0, '{"a"')
    emitter.set_stop_reason("max_tokens")
    emitter.end_message()
    events = emitter.take_events()
    check_events(events)
    assert message_from_events(events).content[0].input == {}


def test_blanks_open_no_block_but_are_not_lost():
    emitter = make()
    emitter.add_text("\n")
    emitter.add_text(" ")
    assert len(emitter.take_events()) == 1
    emitter.add_text("x")
    assert emitter.take_events()[1].delta.text == "\n x"
    emitter = make()
    emitter.add_text(" " * 1000)
    assert len(emitter.take_events()) == 3


def test_nothing_is_held_without_a_bound(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_CHARACTERS", 1000)
    for say in (
        lambda e: e.add_arguments(0, "x" * 100),
        lambda e: e.add_text("x" * 100),
        lambda e: e.add_thinking("x" * 100),
    ):
        emitter = make()
        emitter.open_tool_call(0, "a", "f")
        for _ in range(11):
            say(emitter)
        assert emitter.fault is not None
        assert emitter.fault.code == "upstream_too_large"
        say(emitter)
        check_events(emitter.take_events(), complete=False)


def test_the_number_of_calls_is_bounded():
    emitter = make()
    for key in range(MAX_CALLS + 1):
        assert emitter.fault is None
        emitter.open_tool_call(key, f"i{key}", "f")
        emitter.add_arguments(key, "{}")
    assert emitter.fault is not None


def test_two_calls_that_alternate_cost_no_square():
    emitter = make()
    emitter.open_tool_call(0, "a", "f")
    emitter.open_tool_call(1, "b", "f")
    emitter.add_arguments(0, '{"x":"')
    for _ in range(20_000):
        emitter.add_arguments(0, "}")
        emitter.add_arguments(1, " ")
    emitter.add_arguments(0, '"}')
    emitter.set_stop_reason("tool_use")
    emitter.end_message()
    assert [len(block.input) for block in message_from_events(emitter.take_events()).content] == [
        1,
        0,
    ]


def test_nothing_after_the_end():
    emitter = make()
    emitter.set_stop_reason("end_turn")
    emitter.end_message()
    emitter.take_events()
    emitter.add_text("x")
    emitter.add_thinking("x")
    emitter.open_tool_call(0, "a", "f")
    emitter.add_arguments(0, "{}")
    emitter.end_message()
    emitter.fail(UpstreamBroken("x"))
    assert emitter.take_events() == []
    assert emitter.fault is None
    emitter.report_usage(Usage(output_tokens=5))
    assert emitter.usage.output_tokens == 5


def test_two_texts_are_two_blocks_also_behind_a_call():
    emitter = make()
    emitter.end_text()
    emitter.add_text("a")
    emitter.end_text()
    emitter.end_text()
    emitter.add_text("b")
    emitter.open_tool_call(0, "c", "f")
    emitter.add_text("d")
    emitter.end_text()
    emitter.add_text("e")
    emitter.add_arguments(0, "{}")
    emitter.set_stop_reason("tool_use")
    emitter.end_message()
    events = emitter.take_events()
    check_events(events)
    found = [getattr(block, "text", None) for block in message_from_events(events).content]
    assert found == ["a", "b", None, "d", "e"]


def test_the_input_of_a_providers_own_call_comes_in_a_delta():
    emitter = make()
    emitter.add_block(ServerToolUseBlock(id="s", name="web_search", input={"query": "x"}))
    emitter.add_block(ServerToolUseBlock(id="t", name="web_search", input={}))
    emitter.set_stop_reason("pause_turn")
    emitter.end_message()
    events = emitter.take_events()
    start = check_events(events)[1]
    assert start["content_block"]["input"] == {}
    assert [block.input for block in message_from_events(events).content] == [{"query": "x"}, {}]


def test_the_first_event_has_the_metadata():
    emitter = make()
    emitter.start_message("m", {"p": {"response_id": "r"}})
    assert emitter.take_events()[0].message.metadata == {"p": {"response_id": "r"}}

"""Faults that translators of these formats are known for, by number.

Each number is one documented way in which some gateway lost or bent an answer.
"""

from __future__ import annotations

import orjson
import pytest

from tests.providers.oracle import check_chat
from tests.providers.validator import check_events
from vai.errors import UpstreamBroken, UpstreamFault, UpstreamRejected
from vai.providers.decode.accumulate import message_from_events
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.reasoning import without_reasoning, wrap_signature
from vai.types import parse
from vai.types.base import to_wire

USER = {"role": "user", "content": "go"}
CHECKS = {}
NUMBERS = [
    *(1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20),
    *(27, 28, 29, 30, 31, 32, 33, 34, 37, 38, 39, 40, 42, 44, 45, 47, 48, 49, 50),
]
"""All that concern these formats; the others are in the tests of the other formats."""


def bug(number):
    def keep(check):
        assert number not in CHECKS
        CHECKS[number] = check
        return check

    return keep


@pytest.mark.parametrize("number", NUMBERS)
def test_bug(number):
    CHECKS[number]()


def chunk(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice], **more}


def sse(*chunks, end=b"data: [DONE]\n\n"):
    return b"".join(b"data: %b\n\n" % orjson.dumps(item) for item in chunks) + end


def piece(index, id=None, name=None, arguments=None):
    function = {"name": name, "arguments": arguments}
    return {
        "index": index,
        "id": id,
        "function": {k: v for k, v in function.items() if v is not None},
    }


def read(*chunks, provider="openai", end=b"data: [DONE]\n\n"):
    """The events of a stream, which must be complete."""
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    events = adapter.feed_bytes(sse(*chunks, end=end)) + adapter.end_stream()
    assert adapter.fault is None, adapter.fault
    return check_events(events), message_from_events(events), adapter


def fault_of(*chunks, provider="openai", end=b""):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    events = adapter.feed_bytes(sse(*chunks, end=end)) + adapter.end_stream()
    check_events(events, complete=False)
    assert adapter.fault is not None
    return adapter.fault


def message(fields, provider="openai", finish="stop", **more):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    choice = {"index": 0, "message": fields, "finish_reason": finish}
    return adapter.parse_message(orjson.dumps({"model": "m", "choices": [choice], **more}))


def blocks(answer):
    return [
        (block.__struct_config__.tag, getattr(block, "text", None) or getattr(block, "input", None))
        for block in answer.content
    ]


def sent(*messages, provider="openai", model="gpt-4o", **fields):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    request = parse.parse_request(
        {"model": model, "max_tokens": 99, "messages": list(messages), **fields}
    )
    body = orjson.loads(adapter.build_request(request).body)
    if provider == "openai":
        check_chat(body)
    return body


def user(*found):
    return {"role": "user", "content": list(found)}


def called(*ids, before=()):
    calls = [{"type": "tool_use", "id": one, "name": "f", "input": {}} for one in ids]
    return {"role": "assistant", "content": [*before, *calls]}


def result(id, content="r", **more):
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def text(value):
    return {"type": "text", "text": value}


@bug(1)
def text_in_the_first_chunk():
    events, answer, _ = read(chunk({"role": "assistant", "content": "Hi"}), chunk({}, "stop"))
    assert [event["type"] for event in events[:3]] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
    ]
    assert answer.content[0].text == "Hi"


@bug(2)
def an_empty_list_of_calls_is_no_call():
    _, answer, _ = read(chunk({"content": "Hi", "tool_calls": []}), chunk({}, "stop"))
    assert blocks(answer) == [("text", "Hi")]
    assert answer.stop_reason == "end_turn"


@bug(3)
def a_turn_of_calls_has_no_empty_text():
    for content in (None, "", "\n\n"):
        events, answer, _ = read(
            chunk({"role": "assistant", "content": content}),
            chunk({"tool_calls": [piece(0, "a", "f", "{}")]}),
            chunk({}, "tool_calls"),
        )
        assert blocks(answer) == [("tool_use", {})]
        assert events[1]["index"] == 0


@bug(4)
def stop_after_calls_is_tool_use():
    call = piece(0, "a", "f", "{}")
    assert read(chunk({"tool_calls": [call]}), chunk({}, "stop"))[1].stop_reason == "tool_use"
    assert message({"tool_calls": [call]}).stop_reason == "tool_use"
    assert message({"content": "x"}, finish="tool_calls").stop_reason == "end_turn"


@bug(7)
def arguments_in_the_opening_piece():
    _, answer, _ = read(chunk({"tool_calls": [piece(0, "a", "f", '{"x":1}')]}), chunk({}, "stop"))
    assert answer.content[0].input == {"x": 1}


@bug(8)
def two_calls_in_one_chunk():
    calls = [piece(0, "a", "f", '{"x":1}'), piece(1, "b", "g", '{"x":2}')]
    _, answer, _ = read(chunk({"tool_calls": calls}), chunk({}, "tool_calls"))
    assert [(block.id, block.input["x"]) for block in answer.content] == [("a", 1), ("b", 2)]


@bug(9)
def the_same_index_for_two_calls():
    _, answer, _ = read(
        chunk({"tool_calls": [piece(0, "a", "f", '{"x":1}')]}),
        chunk({"tool_calls": [piece(0, "b", "f", '{"x":2}')]}),
        chunk({}, "tool_calls"),
    )
    assert [(block.id, block.input["x"]) for block in answer.content] == [("a", 1), ("b", 2)]


@bug(10)
def alternating_arguments():
    pieces = [
        piece(0, "a", "f", ""), piece(1, "b", "g", ""), piece(0, None, None, '{"x":'),
        piece(1, None, None, '{"x":'), piece(0, None, None, "1}"), piece(1, None, None, "2}"),
    ]  # fmt: skip
    _, answer, _ = read(
        *(chunk({"tool_calls": [item]}) for item in pieces), chunk({}, "tool_calls")
    )
    assert [block.input for block in answer.content] == [{"x": 1}, {"x": 2}]


@bug(11)
def a_call_without_arguments():
    for arguments in ("", None, {}, "  "):
        _, answer, _ = read(
            chunk({"tool_calls": [piece(0, "a", "f", arguments)]}), chunk({}, "stop")
        )
        assert answer.content[0].input == {}


@bug(12)
def joined_objects_are_never_passed_off_as_json():
    call = piece(0, "a", "f", '{"a":1}{"a":2}')
    found = fault_of(
        chunk({"tool_calls": [call]}), chunk({}, "tool_calls"), end=b"data: [DONE]\n\n"
    )
    assert found.code == "upstream_invalid_tool_input"
    with pytest.raises(UpstreamBroken):
        message({"tool_calls": [call]}, finish="tool_calls")


@bug(13)
def broken_arguments_are_not_an_empty_input():
    with pytest.raises(UpstreamBroken) as caught:
        message({"tool_calls": [piece(0, "a", "f", '{"a":')]})
    assert caught.value.status == 502


@bug(14)
def every_block_and_stream_is_closed():
    events, _, _ = read(
        chunk({"content": "x"}),
        chunk({"tool_calls": [piece(0, "a", "f", "{}")]}),
        chunk({}, "stop"),
    )
    kinds = [event["type"] for event in events]
    assert kinds.count("content_block_stop") == kinds.count("content_block_start") == 2
    assert kinds[-2:] == ["message_delta", "message_stop"]


@bug(15)
def usage_after_the_end():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    last = {"choices": [], "usage": usage}
    events, _, _ = read(chunk({"content": "x"}), chunk({}, "stop"), last)
    counted = events[-2]["usage"]
    assert (counted["input_tokens"], counted["output_tokens"]) == (5, 2)
    assert counted["cache_read_input_tokens"] == 4


@bug(16)
def cached_tokens_are_counted_once():
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 800},
    }
    found = message({"content": "x"}, usage=usage).usage
    assert (found.input_tokens, found.cache_read_input_tokens) == (200, 800)
    usage["prompt_tokens_details"] = {"cached_tokens": 2000}
    assert message({"content": "x"}, usage=usage).usage.input_tokens == 0


@bug(18)
def an_end_without_done():
    assert read(chunk({"content": "x"}), chunk({}, "stop"), end=b"")[1].stop_reason == "end_turn"


@bug(19)
def a_cut_is_a_fault():
    found = fault_of(chunk({"content": "Half a sent"}))
    assert (found.status, found.code) == (502, "upstream_truncated")


@bug(20)
def an_error_inside_the_stream():
    error = {"error": {"type": "rate_limit_exceeded", "message": "slow", "code": None}}
    found = fault_of(chunk({"content": "x"}), error)
    assert isinstance(found, UpstreamRejected)
    assert (found.type, found.provider_error) == ("rate_limit_error", error["error"])
    error = {"error": {"message": "m", "code": "x", "type": "t"}, "status_code": 503}
    assert fault_of(chunk({"content": "x"}), error, provider="cerebras").type == "overloaded_error"
    fault_of(error, provider="cerebras")


@bug(27)
def text_beside_a_result():
    body = sent(USER, called("a"), user(text("note"), result("a")))
    assert body["messages"][2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "r"},
        {"role": "user", "content": "note"},
    ]


@bug(28)
def results_on_both_sides_of_text():
    body = sent(USER, called("a", "b"), user(result("a"), text("note"), result("b")))
    assert [item["role"] for item in body["messages"][2:]] == ["tool", "tool", "user"]


@bug(29)
def texts_keep_their_order():
    body = sent(USER, called("a"), user(text("1"), result("a"), text("2")))
    assert body["messages"][-1]["content"] == [text("1"), text("2")]


@bug(30)
def an_image_in_a_result():
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    image = {"type": "image", "source": source}
    body = sent(USER, called("a"), user(result("a", [text("see"), image]), text("and?")))
    tool, after = body["messages"][2:]
    assert tool["content"] == "see\n[image 1 attached below]"
    assert [part["type"] for part in after["content"]] == ["text", "image_url", "text"]
    body = sent(
        USER, called("a"), user(result("a", [image])), provider="groq", model="qwen/qwen3.8-27b"
    )
    assert [part["type"] for part in body["messages"][2]["content"]] == ["image_url"]
    assert len(body["messages"]) == 3


@bug(31)
def a_failed_tool_is_visible():
    for provider in ("openai", "groq", "cerebras"):
        body = sent(USER, called("a"), user(result("a", "no", is_error=True)), provider=provider)
        assert body["messages"][2]["content"] == "Error: no"
    body = sent(USER, called("a"), user(result("a", "no", is_error=True)), provider="anthropic")
    assert body["messages"][2]["content"][0]["is_error"] is True


@bug(32)
def reasoning_goes_back_to_its_maker_unchanged():
    thinking = {"type": "thinking", "thinking": "a\n b", "signature": "Eq/+=="}
    body = sent(
        USER,
        called("a", before=[thinking]),
        user(result("a")),
        provider="anthropic",
        model="claude-sonnet-4-5",
    )
    assert body["messages"][1]["content"][0] == thinking
    _, answer, _ = read(
        chunk({"reasoning": "Hm."}),
        chunk({"tool_calls": [piece(0, "a", "f", "{}")]}),
        chunk({}, "stop"),
        provider="groq",
    )
    thought = answer.content[0]
    back = {"type": "thinking", "thinking": thought.thinking, "signature": thought.signature}
    body = sent(USER, called("a", before=[back]), user(result("a")), provider="groq")
    assert body["messages"][1]["reasoning"] == "Hm."


@bug(33)
def foreign_reasoning_is_left_out_at_once():
    thinking = {"type": "thinking", "thinking": "t", "signature": wrap_signature("groq", "chat")}
    history = [USER, {"role": "assistant", "content": [thinking, text("x")]}, USER]
    for provider in ("anthropic", "openai", "cerebras"):
        body = sent(*history, provider=provider)
        assert body["messages"][1]["content"] in ("x", [text("x")])
        assert "reasoning" not in body["messages"][1]
    # Where a provider refuses what is its own, the second try differs from the first.
    own = {**thinking, "signature": "Eq=="}
    history[1] = {"role": "assistant", "content": [own, text("x")]}
    request = parse.parse_request(
        {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": history}
    )
    again = without_reasoning(request)
    first, second = (
        make_adapter(PROVIDER_SPECS["anthropic"], "01TEST").build_request(asked).body
        for asked in (request, again)
    )
    assert b"Eq==" in first
    assert b"Eq==" not in second
    assert without_reasoning(again) is None


@bug(34)
def thinking_is_given_up_only_if_no_turn_has_any():
    asked = {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    thinking = {"type": "thinking", "thinking": "t", "signature": "Eq=="}
    assert "thinking" not in sent(USER, called("a"), user(result("a")), **asked)
    assert "thinking" in sent(USER, called("a", before=[thinking]), user(result("a")), **asked)
    early = [USER, {"role": "assistant", "content": [thinking, text("x")]}]
    assert "thinking" in sent(*early, USER, called("a"), user(result("a")), **asked)


@bug(37)
def a_schema_without_properties():
    body = sent(USER, tools=[{"name": "f", "input_schema": {"type": "object"}}])
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@bug(38)
def functions_only_while_it_does_not_reason():
    tools = [{"name": "f"}]
    body = sent(USER, model="gpt-5.6-sol", tools=tools, output_config={"effort": "high"})
    assert body["reasoning_effort"] == "none"
    assert sent(USER, model="gpt-5.6-sol")["messages"]
    assert "reasoning_effort" not in sent(USER, model="gpt-4o", tools=tools)


@bug(39)
def a_servers_own_tool_is_no_call_and_keeps_its_place():
    thinking = {"type": "thinking", "thinking": "t", "signature": "Eq=="}
    run = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": 1}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    content = [thinking, run, found, text("x")]
    history = [USER, {"role": "assistant", "content": content}, USER]
    body = sent(*history, provider="anthropic", model="claude-sonnet-4-5")
    assert body["messages"][1]["content"] == content
    started = {
        "type": "message_start",
        "message": {
            "id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [],
            "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    }  # fmt: skip
    stream = [started]
    for index, block in enumerate(({**run, "input": {}}, found)):
        stream.append({"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            delta = {"type": "input_json_delta", "partial_json": '{"q":1}'}
            stream.append({"type": "content_block_delta", "index": 0, "delta": delta})
        stream.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": "pause_turn", "stop_sequence": None}
    stream += [{"type": "message_delta", "delta": end, "usage": {"output_tokens": 2}}]
    stream += [{"type": "message_stop"}]
    events, answer, _ = read(*stream, provider="anthropic", end=b"")
    assert [to_wire(block) for block in answer.content] == [run, found]
    assert [event["type"] for event in events] == [event["type"] for event in stream]
    assert answer.stop_reason == "pause_turn"


@bug(40)
def a_very_long_line():
    data = sse(chunk({"content": "ü" * 2_500_000}), chunk({}, "stop"))
    adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST")
    events = [
        event
        for at in range(0, len(data), 65_537)
        for event in adapter.feed_bytes(data[at : at + 65_537])
    ]
    assert len(message_from_events(events).content[0].text) == 2_500_000


@bug(42)
def no_nulls_for_groq():
    body = sent(USER, called("a"), user(result("a")), provider="groq")
    assert "null" not in orjson.dumps(body).decode()
    assert "name" not in body["messages"][1]


@bug(44)
def an_error_page():
    adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST")
    found = adapter.parse_error(500, {}, b"<html>oops</html>")
    assert found.type == "api_error"
    page = b"<!DOCTYPE html>\n<html>oops</html>\n"
    assert adapter.feed_bytes(page) + adapter.end_stream() == []
    assert isinstance(adapter.fault, UpstreamFault)
    with pytest.raises(UpstreamBroken):
        make_adapter(PROVIDER_SPECS["openai"], "01TEST").parse_message(page)


@bug(45)
def model_ids_keep_their_slashes():
    body = sent(USER, provider="groq", model="openai/gpt-oss-120b")
    assert body["model"] == "openai/gpt-oss-120b"
    _, answer, _ = read(
        {**chunk({"content": "x"}, "stop"), "model": "openai/gpt-oss-120b"}, provider="groq"
    )
    assert answer.model == "groq/openai/gpt-oss-120b"


@bug(47)
def only_canonical_events_leave():
    events, _, _ = read(
        chunk({"content": "x", "provider_specific": {"a": 1}}, "stop", obfuscation="zz")
    )
    assert b"obfuscation" not in orjson.dumps(events)
    assert b"provider_specific" not in orjson.dumps(events)


@bug(48)
def a_limit_used_up_by_reasoning():
    _, answer, _ = read(chunk({"reasoning": "Hm"}), chunk({}, "length"), provider="groq")
    assert answer.stop_reason == "max_tokens"
    assert [block.__struct_config__.tag for block in answer.content] == ["thinking"]


@bug(49)
def stream_options_only_in_streams():
    assert "stream_options" not in sent(USER)
    assert "stream" not in sent(USER)
    assert sent(USER, stream=True)["stream_options"] == {"include_usage": True}


@bug(50)
def one_id_for_the_stream():
    first, second = {**chunk({"content": "x"}), "id": "1"}, {**chunk({}, "stop"), "id": "2"}
    events, answer, _ = read(first, second)
    assert answer.id == "msg_01TEST"
    assert sum(event["type"] == "message_start" for event in events) == 1

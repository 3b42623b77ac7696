"""Calls of servers that are careless of ids, names and arguments: both ways, every provider."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from tests.providers.upstreams import MODELS, OWN_ROWS, ask, body_of, stream_of, told
from vai.errors import UpstreamFault
from vai.providers.decode import call_ids as callids
from vai.providers.decode.tool_names import ToolNames
from vai.types.request import Tool

LEGAL = re.compile(r"[a-zA-Z0-9_-]+")
MEMBERS = {"x": {"type": "integer"}}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": MEMBERS}}
TOOLS = [TOOL, {"name": "get_weather", "input_schema": {"type": "object"}}]
ODD_IDS = {
    "kimi": "functions.look:0",
    "short": "0",
    "spaces": "call 1",
    "unicode": "aufruf-ä-🌊",
    "signed": "call_1__thought__" + "x" * 300,
    "long": "c" * 200,
    "mark": "toolu_vai_aaaaaa_0_YQ",
    "slash": "a/b+c=",
    "plain": "call_abc",
    "nine": "a1B2c3D4e",
}
ANSWERING = [name for name in OWN_ROWS if name != "anthropic"]
"""All but the one whose ids are the Messages API's own."""


def calls_of(wire: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in wire["content"] if block["type"] == "tool_use"]


def given_back(sent: Any) -> list[tuple[str, str]]:
    """The ids in a request, those of calls and those of results, in their order."""
    found: list[tuple[str, str]] = []

    def visit(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                visit(item)
        elif isinstance(value, dict):
            for call in value.get("tool_calls") or ():
                found.append(("call", call["id"]))
            if "functionCall" in value:
                found.append(("call", value["functionCall"]["id"]))
            if "functionResponse" in value:
                found.append(("result", value["functionResponse"]["id"]))
            if "tool_call_id" in value:
                found.append(("result", value["tool_call_id"]))
            kind = value.get("type")
            if kind in ("function_call", "function_call_output"):
                found.append(("call" if kind == "function_call" else "result", value["call_id"]))
            if kind == "tool_use":
                found.append(("call", value["id"]))
            if kind == "tool_result":
                found.append(("result", value["tool_use_id"]))
            for item in value.values():
                visit(item)

    visit(sent)
    return found


def second_turn(wire: dict[str, Any]) -> list[dict[str, Any]]:
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": "r"}
        for call in calls_of(wire)
    ]
    said = [block for block in wire["content"] if block["type"] in ("text", "tool_use")]
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": results},
    ]


def turn(provider: str, calls: list[Any], *, stream: bool, turns: Any = None) -> dict[str, Any]:
    """What a client is told when the server answers with these calls."""
    kind = OWN_ROWS[provider].kind
    adapter, _ = ask(provider, turns, tools=TOOLS, stream=stream)
    return told(adapter, (stream_of if stream else body_of)(kind, calls), stream=stream)


def value_of(provider: str) -> Any:
    """Arguments as the format has them."""
    return {"x": 1} if OWN_ROWS[provider].kind not in ("openai", "responses") else '{"x":1}'


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("odd", ODD_IDS)
@pytest.mark.parametrize("provider", ANSWERING)
def test_a_server_gets_its_own_id_back_and_the_client_a_legal_one(provider, odd, stream):
    given = ODD_IDS[odd]
    wire = turn(provider, [(given, "look", value_of(provider))], stream=stream)
    (call,) = calls_of(wire)
    assert LEGAL.fullmatch(call["id"])
    assert (call["name"], call["input"]) == ("look", {"x": 1})
    _, sent = ask(provider, second_turn(wire), tools=TOOLS)
    found = {one for _, one in given_back(sent)}
    if provider == "own-mistral" and given == call["id"] and odd != "nine":
        assert all(re.fullmatch(r"[a-zA-Z0-9]{9}", one) for one in found)  # never one of its own
    else:
        assert found == {given}
    assert len(found) == 1


@pytest.mark.parametrize("odd", ODD_IDS)
@pytest.mark.parametrize("provider", OWN_ROWS)
def test_a_history_with_such_ids_is_valid_everywhere(provider, odd):
    rules = {"oai-resp": r".{1,64}", "own-mistral": r"[a-zA-Z0-9]{9}"}
    rule = re.compile(rules.get(provider, r"[a-zA-Z0-9_-]{1,64}"))
    if OWN_ROWS[provider].kind == "openai" and provider != "own-mistral":
        rule = re.compile(r"[a-zA-Z0-9_-]{1,40}")
    wire = turn("own", [(ODD_IDS[odd], "look", '{"x":1}')], stream=False)
    asked = [second_turn(wire)]
    if odd != "mark":  # as another gateway would have left it; ours are none of its
        raw = {**wire, "content": [{**calls_of(wire)[0], "id": ODD_IDS[odd]}]}
        asked.append(second_turn(raw))
    for turns in asked:
        if provider == "own" and turns is asked[0]:
            continue  # it gets its own back
        _, sent = ask(provider, turns, tools=TOOLS)
        found = given_back(sent)
        assert [kind for kind, _ in found] == ["call", "result"]
        assert len({name for _, name in found}) == 1
        assert all(rule.fullmatch(name) for _, name in found), found


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    "given", ["call_0", "functions.look:0", "", None, 0, 7, {"a": 1}, [], True]
)
@pytest.mark.parametrize("provider", ["own", "oai-resp", "gemini", "own-messages"])
def test_ids_are_unique_in_the_answer_and_against_the_history(provider, given, stream):
    value = value_of(provider)
    other = {"x": 2} if isinstance(value, dict) else '{"x":2}'
    calls = [(given, "look", value), (given, "look", other)]
    seen: list[str] = []
    turns = None
    for _ in range(3):
        wire = turn(provider, calls, stream=stream, turns=turns)
        ids = [call["id"] for call in calls_of(wire)]
        assert [call["input"] for call in calls_of(wire)] == [{"x": 1}, {"x": 2}]
        assert all(LEGAL.fullmatch(one) for one in ids)
        if given in ("call_0", "functions.look:0"):
            assert not set(seen) & set(ids)
            assert len(set(ids)) == 2
            seen += ids
            turns = [*turns, *second_turn(wire)[1:]] if turns else second_turn(wire)
            _, sent = ask(provider, turns, tools=TOOLS)
            assert {found for _, found in given_back(sent)} == {given}
        else:
            assert len(set(ids)) == 2
            if given == 7:
                _, sent = ask(provider, second_turn(wire), tools=TOOLS)
                assert {found for _, found in given_back(sent)} == {"7"}


def test_a_thousand_calls_of_one_id_cost_no_more_than_their_number():
    ids = callids.CallIds("own", "01TEST", (f"call_{number}" for number in range(20_000)))
    shown = [ids.to_client_id("call_0") for _ in range(20_000)]
    assert len(set(shown)) == len(shown)
    assert {callids.decode_call_id(one, "own") for one in shown} == {"call_0"}


def test_an_id_goes_back_to_the_server_that_made_it_and_to_no_other():
    shown = callids.CallIds("own", "01TEST").to_client_id("functions.f:0")
    assert callids.to_upstream_id(shown, "own") == "functions.f:0"
    for other in ("openai", "own2", "anthropic"):
        assert callids.to_upstream_id(shown, other) == shown
    for damaged in (shown + "!", shown[:-1] + "_", callids.MARK, callids.MARK + "aaaaaa_0_"):
        assert callids.to_upstream_id(damaged, "own") != ""


NAMES = {
    "look": "look",
    " look\n": "look",
    "functions.look": "look",
    "default_api.look": "look",
    "functions.look:0": "look",
    "look<|channel|>commentary": "look",
    "Look": "look",
    "getWeather": "get_weather",
    "get-weather": "get_weather",
    "tools/get weather": "get_weather",
    '"look"': "look",
    "odd name!": "odd_name_",
    "ünknown": "_nknown",
    "n" * 300: "n" * 128,
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("provider", ["own", "openai", "oai-resp", "gemini", "own-messages"])
def test_a_name_is_the_one_the_client_declared(provider, name, stream):
    wire = turn(provider, [("c1", name, value_of(provider))], stream=stream)
    (call,) = calls_of(wire)
    assert call["name"] == NAMES[name]
    ask(provider, second_turn(wire), tools=TOOLS)


def test_names_that_differ_in_their_case_alone_are_not_mixed_up():
    names = ToolNames({}, [Tool(name="look"), Tool(name="Look"), Tool(name="a.b")])
    assert [names.to_client_name(one) for one in ("look", "Look", "LOOK", "a.b")] == [
        *("look", "Look", "LOOK", "a.b"),
    ]


def test_a_call_without_a_name_is_of_the_only_tool_there_is():
    adapter, _ = ask("own", tools=[TOOL])
    wire = told(adapter, body_of("openai", [("c", "", '{"x":1}')]), stream=False)
    assert calls_of(wire)[0]["name"] == "look"
    adapter, _ = ask("own", tools=TOOLS)
    with pytest.raises(UpstreamFault):
        told(adapter, body_of("openai", [("c", "", '{"x":1}')]), stream=False)


ARGUMENTS = {
    "text": ('{"x":1}', {"x": 1}),
    "blanks": ('\n {"x" : 1} \n', {"x": 1}),
    "object": ({"x": 1}, {"x": 1}),
    "quoted": ('"{\\"x\\":1}"', {"x": 1}),
    "fenced": ('```json\n{"x":1}\n```', {"x": 1}),
    "listed": ('[{"x":1}]', {"x": 1}),
    "empty": ("", {}),
    "null": (None, {}),
    "null in text": ("null", {}),
    "empty list": ([], {}),
    "empty list in text": ("[]", {}),
    "empty string in text": ('""', {}),
    "missing half": ('{"x":"\\ud83d!"}', {"x": "\ufffd!"}),
    "whole character": ('{"x":"\\ud83d\\ude00"}', {"x": "😀"}),
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("provider", ["own", "oai-resp", "gemini"])
def test_arguments_are_an_object(provider, name, stream):
    given, expected = ARGUMENTS[name]
    wire = turn(provider, [("c1", "look", given)], stream=stream)
    assert [call["input"] for call in calls_of(wire)] == [expected]
    assert wire["stop_reason"] == "tool_use"


@pytest.mark.parametrize("given", ["nonsense", "[1,2]", "7", '{"x":', '{"x":1}{"x":2}', "[]]"])
@pytest.mark.parametrize("provider", ["own", "oai-resp"])
def test_what_is_no_object_at_all_is_a_fault(provider, given):
    with pytest.raises(UpstreamFault):
        turn(provider, [("c1", "look", given)], stream=False)


def pieces(*said: Any, finish: str = "tool_calls") -> bytes:
    """A Chat stream of these pieces of calls, each in a chunk of its own."""
    deltas = [{"tool_calls": [piece]} for piece in said]
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def said(**function: Any) -> dict[str, Any]:
    return {"function": function}


STREAMS = {
    "id after the name": [
        {"index": 0, **said(name="look")},
        {"index": 0, "id": "a.b", **said(arguments='{"x":1}')},
    ],
    "arguments said twice": [
        {"index": 0, "id": "a.b", **said(name="look", arguments='{"x"')},
        {"index": 0, **said(arguments=":1}")},
        {"index": 0, "id": "a.b", **said(name="look", arguments='{"x":1}')},
    ],
    "no object around them": [{"index": 0, "id": "a.b", "name": "look", "arguments": '{"x":1}'}],
    "a filler first": [
        {"index": 0, "id": "", **said(name="", arguments="")},
        {"index": 0, "id": "a.b", **said(name="look", arguments='{"x":1}')},
    ],
    "another id on every piece": [
        {"index": 0, "id": "a.b", **said(name="look", arguments="")},
        {"index": 0, "id": "c.d", **said(name=None, arguments='{"x"')},
        {"index": 0, "id": "e.f", **said(arguments=":1}")},
    ],
    "another id and the name on every piece": [
        {"index": 0, "id": "a.b", **said(name="look", arguments="")},
        {"index": 0, "id": "c.d", **said(name="look", arguments='{"x"')},
        {"index": 0, "id": "e.f", **said(name="look", arguments=":1}")},
    ],
    "a half at the seam": [
        {"index": 0, "id": "a.b", **said(name="look", arguments='{"x":1,"y":"\\\\\\ud83')},
        {"index": 0, **said(arguments="d")},
        {"index": 0, **said(arguments="\\ude")},
        {"index": 0, **said(arguments='00\\ude00"}')},
    ],
}


@pytest.mark.parametrize("name", STREAMS)
def test_pieces_make_one_call(name):
    adapter, _ = ask("own", tools=TOOLS)
    (call,) = calls_of(told(adapter, pieces(*STREAMS[name]), stream=True))
    expected = {"x": 1, "y": "\\😀\ufffd"} if "half" in name else {"x": 1}
    assert (call["name"], call["input"]) == ("look", expected)
    assert callids.to_upstream_id(call["id"], "own") == "a.b"


def test_two_calls_of_one_id_and_number_are_two():
    adapter, _ = ask("own", tools=TOOLS)
    stream = pieces(
        {"index": 0, "id": "c", **said(name="look", arguments='{"x":1}')},
        {"index": 0, "id": "c", **said(name="look", arguments='{"x":2}')},
    )
    calls = calls_of(told(adapter, stream, stream=True))
    assert [call["input"] for call in calls] == [{"x": 1}, {"x": 2}]
    assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize("first", ["", '{"x":1}'])
@pytest.mark.parametrize("second", ["", '{"x":2}'])
def test_two_calls_of_one_number_and_tool_are_two(first, second):
    adapter, _ = ask("own", tools=TOOLS)
    stream = pieces(
        {"index": 0, "id": "c", **said(name="look", arguments=first)},
        {"index": 0, "id": "d", **said(name="look", arguments=second)},
    )
    calls = calls_of(told(adapter, stream, stream=True))
    assert [call["input"] for call in calls] == [
        {"x": 1} if "1" in first else {},
        {"x": 2} if second else {},
    ]


def test_every_provider_is_here():
    assert set(MODELS) == set(OWN_ROWS)

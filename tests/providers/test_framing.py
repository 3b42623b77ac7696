"""Servers that speak the Messages API nearly right: clients get its order, in both modes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.providers.test_nearly_right import shown
from tests.providers.upstreams import OWN_ROWS, ask, told
from tests.providers.validator import check_message, check_stream
from vai.exchange.verbatim_mode import VerbatimMode
from vai.providers.anthropic.calls import make_call_repairer
from vai.providers.anthropic.framing import EventSequencer
from vai.providers.decode.accumulate import message_from_events
from vai.types import parse
from vai.types.provider import WireRequest
from vai.types.render import message_to_wire

Wire = dict[str, Any]

TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]
ROW = OWN_ROWS["own-messages"]
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
USAGE = {"input_tokens": 3, "output_tokens": 1}
BEGIN = {"type": "message_start", "message": {**MESSAGE, "stop_reason": None, "usage": USAGE}}
STOP = {"type": "message_stop"}
LOOK = ("look", {"x": 1})


def opens(index: Any, block: Wire) -> Wire:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: Any, **delta: Any) -> Wire:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closes(index: Any) -> Wire:
    return {"type": "content_block_stop", "index": index}


def text(index: int, said: str = "Hi") -> list[Wire]:
    started = opens(index, {"type": "text", "text": ""})
    return [started, piece(index, type="text_delta", text=said), closes(index)]


def call(index: int, given: str = "c1", said: str = '{"x":1}') -> list[Wire]:
    block = {"type": "tool_use", "id": given, "name": "look", "input": {}}
    delta = piece(index, type="input_json_delta", partial_json=said)
    return [opens(index, block), delta, closes(index)]


def thought(index: int) -> list[Wire]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    delta = piece(index, type="thinking_delta", thinking="Hm")
    return [opens(index, block), delta, closes(index)]


def ends(reason: str | None = "end_turn") -> Wire:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}


def started_call(given: Any) -> Wire:
    return opens(0, {"type": "tool_use", "id": "c", "name": "look", "input": given})


DONE = b"data: [DONE]\n\n"
STREAMS: dict[str, tuple[list[Any], list[Any]]] = {
    "all right": ([BEGIN, *text(0), *call(1), ends("tool_use"), STOP], ["Hi", LOOK]),
    "reasoning behind the text": ([BEGIN, *text(0), *thought(1), ends(), STOP], ["Hi"]),
    "reasoning between texts": (
        [BEGIN, *text(0), *thought(1), *text(2, "Ho"), ends(), STOP],
        ["Hi", "(Hm)", "Ho"],
    ),
    "reasoning before a call": (
        [BEGIN, *text(0), *thought(1), *call(2), ends("tool_use"), STOP],
        ["Hi", "(Hm)", LOOK],
    ),
    "reasoning alone": ([BEGIN, *thought(0), ends(), STOP], ["(Hm)", ""]),
    "a call that ends the turn": ([BEGIN, *call(0), ends(), STOP], [LOOK]),
    "tools without a call": ([BEGIN, *text(0), ends("tool_use"), STOP], ["Hi"]),
    "one number": ([BEGIN, *text(0), *call(0), ends("tool_use"), STOP], ["Hi", LOOK]),
    "numbers from 5": ([BEGIN, *text(5), *call(9), ends("tool_use"), STOP], ["Hi", LOOK]),
    "no ends of blocks": (
        [BEGIN, *text(0)[:2], *call(1)[:2], ends("tool_use"), STOP],
        ["Hi", LOOK],
    ),
    "no beginning of a block": ([BEGIN, *text(0)[1:], ends(), STOP], ["Hi"]),
    "blocks at once": (
        [
            BEGIN,
            text(0)[0],
            call(1)[0],
            call(1)[1],
            text(0)[1],
            closes(1),
            closes(0),
            ends("tool_use"),
            STOP,
        ],
        ["Hi", LOOK],
    ),
    "no end of the message": ([BEGIN, *text(0), ends()], ["Hi"]),
    "DONE for the end": ([BEGIN, *text(0), ends(), DONE], ["Hi"]),
    "DONE for all of the end": ([BEGIN, *text(0), DONE], ["Hi"]),
    "DONE behind the end": ([BEGIN, *text(0), ends(), STOP, DONE], ["Hi"]),
    "no reason": ([BEGIN, *text(0), ends(None), STOP], ["Hi"]),
    "a reason at last": ([BEGIN, *text(0), ends(None), ends(), STOP], ["Hi"]),
    "two beginnings": ([BEGIN, BEGIN, *text(0), ends(), STOP], ["Hi"]),
    "content in the beginning": (
        [
            {
                **BEGIN,
                "message": {**BEGIN["message"], "content": [{"type": "text", "text": "Hi"}]},
            },
            ends(),
            STOP,
        ],
        ["Hi"],
    ),
    "input at the start": ([BEGIN, started_call({"x": 1}), closes(0), ends(), STOP], [LOOK]),
    "input as text": ([BEGIN, started_call('{"x":1}'), closes(0), ends(), STOP], [LOOK]),
    "input twice": ([BEGIN, started_call({"x": 1}), *call(0)[1:], ends(), STOP], [LOOK]),
}


def written(events: list[Any]) -> bytes:
    return b"".join(
        event
        if isinstance(event, bytes)
        else b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )


def passing(*, stream: bool) -> VerbatimMode:
    wire = WireRequest("POST", "/v1/messages", (), b"{}", stream)
    calls = make_call_repairer({"tools": TOOLS}, ROW.id, "01TEST")
    return VerbatimMode(wire, ROW, streaming=stream, edited=True, calls=calls)


def passed(data: bytes, step: int) -> Wire:
    """What a client of the verbatim mode collects."""
    mode, found = passing(stream=True), b""
    for at in range(0, len(data), step):
        if not mode.is_complete:
            found += mode.feed_stream(data[at : at + step]) or b""
    if not mode.is_complete:
        found += mode.end_stream() or b""
    assert mode.stream_error is None
    events = [orjson.loads(line[5:]) for line in found.splitlines() if line.startswith(b"data:")]
    check_stream(events)
    wire: Wire = message_to_wire(message_from_events(parse.parse_event(event) for event in events))
    return wire


@pytest.mark.parametrize("step", [1 << 20, 7], ids=["at once", "cut"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_the_order_of_the_api(name, step):
    events, expected = STREAMS[name]
    data = written(events)
    adapter, _ = ask("own-messages", tools=TOOLS, stream=True)
    for wire in (passed(data, step), told(adapter, data, stream=True)):
        assert shown(wire) == expected
        assert wire["stop_reason"] == ("tool_use" if LOOK in expected else "end_turn")


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_for_json_is_read_alike(name):
    events, expected = STREAMS[name]
    adapter, _ = ask("own-messages", tools=TOOLS)
    whole = orjson.loads(passing(stream=False).decode_json_body(written(events)))
    for wire in (whole, told(adapter, written(events), stream=False)):
        assert shown(check_message(wire)) == expected


@pytest.mark.parametrize("given", ["a.b", "functions.look:0"])
def test_ids_in_a_stream_for_json_are_shown_once(given):
    data = written([BEGIN, *call(0, given), *call(1, given, '{"x":2}'), ends("tool_use"), STOP])
    adapter, _ = ask("own-messages", tools=TOOLS)
    expected = [block["id"] for block in told(adapter, data, stream=False)["content"]]
    found = orjson.loads(passing(stream=False).decode_json_body(data))["content"]
    assert [block["id"] for block in found] == expected


WHOLE = [
    ([{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "Hm"}], "end_turn"),
    ([{"type": "text", "text": "Hi"}], "tool_use"),
    ([{"type": "text", "text": "Hi"}], None),
    ([{"type": "thinking", "thinking": "Hm", "signature": ""}], "end_turn"),
    ([{"type": "tool_use", "id": "c", "name": "look", "input": {"x": 1}}], "end_turn"),
]


@pytest.mark.parametrize(("content", "reason"), WHOLE, ids=range(len(WHOLE)))
def test_a_whole_answer_has_an_end_that_fits(content, reason):
    body = orjson.dumps({**MESSAGE, "content": content, "stop_reason": reason, "usage": USAGE})
    adapter, _ = ask("own-messages", tools=TOOLS)
    is_call = content[0]["type"] == "tool_use"
    for wire in (
        orjson.loads(passing(stream=False).decode_json_body(body)),
        told(adapter, body, stream=False),
    ):
        check_message(wire)
        assert wire["stop_reason"] == ("tool_use" if is_call else "end_turn")
        assert wire["content"][0]["type"] == content[0]["type"]


def test_events_that_fit_are_the_same_objects():
    framing = EventSequencer()
    events = [BEGIN, *text(0), *thought(1), *call(2), ends("tool_use"), STOP]
    found = [one for event in events for one in framing.feed_event(event)]
    assert all(one is event for one, event in zip(found, events, strict=True))


def test_blocks_that_wait_are_bounded():
    framing = EventSequencer()
    framing.feed_event(BEGIN)
    framing.feed_event(text(0)[0])
    sent = 0
    for _ in range(100):
        sent += len(framing.feed_event(piece(1, type="text_delta", text="x" * (1 << 16))))
    assert sent

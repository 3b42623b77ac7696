"""The judge says no where it must."""

from __future__ import annotations

import copy

import pytest
from pydantic import ValidationError

from tests.providers.validator import StreamError, check_message, check_stream

START = {
    "type": "message_start",
    "message": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "p/m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 5},
    },
}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
TOOL = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
}
SAID = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
STOP = {"type": "content_block_stop", "index": 0}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 6},
}
CALLED = {**END, "delta": {"stop_reason": "tool_use", "stop_sequence": None}}
ENDED_BY_WORD = {**END, "delta": {"stop_reason": "stop_sequence", "stop_sequence": "w"}}
SEALED = {**TEXT, "content_block": {"type": "redacted_thinking", "data": "d"}}
DONE = {"type": "message_stop"}
PING = {"type": "ping"}
ERROR = {"type": "error", "error": {"type": "api_error", "message": "m"}}
GOOD = [START, PING, TEXT, SAID, STOP, END, DONE]


def json_piece(text):
    return {**SAID, "delta": {"type": "input_json_delta", "partial_json": text}}


def test_a_good_stream_passes():
    assert check_stream(GOOD) is GOOD
    check_stream([START, TOOL, json_piece('{"a":'), json_piece("1}"), STOP, CALLED, DONE])
    check_stream([START, TOOL, STOP, CALLED, DONE])
    check_stream([START, TEXT, SAID, ERROR], complete=False)
    check_stream([], complete=False)


@pytest.mark.parametrize("missing", [0, 2, 4, 5, 6])
def test_nothing_may_be_missing(missing):
    with pytest.raises(StreamError):
        check_stream(GOOD[:missing] + GOOD[missing + 1 :])


@pytest.mark.parametrize("place", [0, 2, 3, 4, 5, 6])
def test_only_pings_and_deltas_may_come_twice(place):
    doubled = [*GOOD[: place + 1], *GOOD[place:]]
    if place == 3:
        check_stream(doubled)
    else:
        with pytest.raises(StreamError):
            check_stream(doubled)


@pytest.mark.parametrize(
    "events",
    [
        [START, {**TEXT, "index": 1}, {**STOP, "index": 1}, END, DONE],
        [START, TEXT, {**SAID, "index": 1}, STOP, END, DONE],
        [START, TOOL, SAID, STOP, END, DONE],
        [START, TEXT, json_piece("{}"), STOP, END, DONE],
        [START, TOOL, json_piece('{"a"'), STOP, CALLED, DONE],
        [START, TOOL, json_piece("[1]"), STOP, CALLED, DONE],
        [START, TOOL, STOP, END, DONE],
        [*GOOD[:5], {**TOOL, "index": 1}, {**STOP, "index": 1}, END, DONE],
        [*GOOD[:5], {**SEALED, "index": 1}, {**STOP, "index": 1}, END, DONE],
        [START, SEALED, STOP, ENDED_BY_WORD, DONE],
        [START, {**END, "usage": {"output_tokens": 2}}, DONE],
        [*GOOD, PING],
        [START, ERROR, END],
    ],
)
def test_broken_streams(events):
    with pytest.raises(StreamError):
        check_stream(events)


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking", "server_tool_use", "tool_use"])
@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence"])
def test_a_whole_answer_that_ends_by_itself_ends_with_its_text(reason, kind):
    text, other = {"type": "text", "text": "x"}, {"type": kind}
    check_message({"stop_reason": reason, "content": [other, text]})
    check_message({"stop_reason": reason, "content": []})
    check_message({"stop_reason": "max_tokens", "content": [text, other]})
    with pytest.raises(StreamError):
        check_message({"stop_reason": reason, "content": [text, other]})


def test_complete_and_incomplete_are_told_apart():
    with pytest.raises(StreamError):
        check_stream(GOOD, complete=False)
    with pytest.raises(StreamError):
        check_stream(GOOD[:-1])


def test_the_official_types_judge_too():
    bad = copy.deepcopy(GOOD)
    del bad[3]["delta"]["text"]
    with pytest.raises(ValidationError):
        check_stream(bad)
    bad = copy.deepcopy(GOOD)
    bad[5]["delta"]["stop_reason"] = "because"
    with pytest.raises(ValidationError):
        check_stream(bad)

"""Events that contradict each other are a fault, not a crash."""

from __future__ import annotations

import msgspec
import pytest

from vai.errors import UpstreamBroken
from vai.providers.decode.accumulate import events_from_message, message_from_events
from vai.types import parse
from vai.types.events import (
    AudioDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    TextDelta,
    TranscriptDelta,
)
from vai.types.message import Usage

MESSAGE = parse.parse_message(
    {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "p/m",
        "content": [
            {"type": "text", "text": "a", "citations": [{"type": "char_location"}]},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
            {"type": "image", "source": {"type": "base64", "data": "aGk="}},
            {
                "type": "audio",
                "source": {"type": "base64", "media_type": "audio/wav", "data": "aGk="},
                "transcript": "hi",
            },
            {"type": "brand_new", "x": [1]},
        ],
        "stop_reason": "refusal",
        "stop_details": {"type": "refusal"},
        "usage": {"input_tokens": 1, "output_tokens": 2, "service_tier": "standard"},
    }
)


def test_there_and_back():
    assert message_from_events(events_from_message(MESSAGE)) == MESSAGE


@pytest.mark.parametrize("count", range(12))
def test_an_unfinished_stream_is_no_message(count):
    with pytest.raises(UpstreamBroken):
        message_from_events(events_from_message(MESSAGE)[:count])


def test_a_delta_of_no_block_is_a_fault():
    events = events_from_message(MESSAGE)
    events.insert(1, ContentBlockDelta(index=7, delta=TextDelta(text="x")))
    with pytest.raises(UpstreamBroken):
        message_from_events(events)


def test_pieces_of_sound_are_joined_as_bytes():
    shell = parse.parse_block({"type": "audio", "source": {"type": "base64", "data": ""}})
    deltas = [AudioDelta(data="aA=="), TranscriptDelta(text="h"), AudioDelta(data="aQ==")]
    events = events_from_message(msgspec.structs.replace(MESSAGE, content=[]))
    events[1:1] = [
        ContentBlockStart(index=0, content_block=shell),
        *(ContentBlockDelta(index=0, delta=delta) for delta in deltas),
        ContentBlockStop(index=0),
    ]
    (block,) = message_from_events(events).content
    assert (block.source.data, block.transcript) == ("aGk=", "h")
    events[2] = ContentBlockDelta(index=0, delta=AudioDelta(data="a"))
    with pytest.raises(UpstreamBroken):
        message_from_events(events)


def test_later_counters_replace_earlier_ones_and_unknown_replaces_nothing():
    first = Usage(input_tokens=5, output_tokens=1)
    assert first.merged_with(Usage(output_tokens=9)) == Usage(input_tokens=5, output_tokens=9)

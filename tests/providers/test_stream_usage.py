"""What the official SDK takes for the usage of a streamed answer, on every provider and mode.

The SDK keeps what it does not know of `message_start.usage` and overwrites what it knows with
the totals of `message_delta`: so nothing may be told at the start that is not told at the end.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from tests.providers.test_streams import STREAMS, run
from vai.codec import sse as codec
from vai.codec.sse import SseDecoder
from vai.providers.anthropic.verbatim import VerbatimStreamObserver
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types.message import Usage

OFFICIAL = TypeAdapter(RawMessageStreamEvent)
COMPLETE = [path for path in STREAMS if "-fault-" not in path.stem]
IDS = [path.stem for path in COMPLETE]


def cost(usage: Usage) -> float | None:
    return 0.25


def decoded(data: bytes) -> list[dict[str, Any]]:
    decoder = SseDecoder()
    return [orjson.loads(text) for _, text in decoder.feed(data) + decoder.flush()]


def seen_by_the_sdk(wire: list[dict[str, Any]]) -> dict[str, Any]:
    """The usage of the message that the SDK accumulates; content does not matter here."""
    snapshot = None
    for event in wire:
        if event["type"] in ("message_start", "message_delta", "message_stop"):
            parsed = OFFICIAL.validate_python(event)
            snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs={})
    assert snapshot is not None
    return {name: value for name, value in snapshot.usage.to_dict().items() if value is not None}


def check_usage(wire: list[dict[str, Any]]) -> None:
    (end,) = [event for event in wire if event["type"] == "message_delta"]
    counted = seen_by_the_sdk(wire)
    own = {"total_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd", "audio_tokens"}
    assert not own & counted.keys()
    for name in counted.keys() & end["usage"].keys():
        assert counted[name] == end["usage"][name], name


@pytest.mark.parametrize("path", COMPLETE, ids=IDS)
def test_the_sdk_has_the_final_figures(path):
    events, _ = run(path, [path.read_bytes()])
    wire = decoded(codec.encode_events(events, cost))
    check_usage(wire)
    (end,) = [event for event in wire if event["type"] == "message_delta"]
    assert end["usage"]["cost_usd"] == 0.25


def edited(frames):
    """A stream that is passed on, in VAI's dialect."""
    row = PROVIDER_SPECS["anthropic"]
    sniffer = VerbatimStreamObserver(
        row, cost, edited=True, generated=lambda _: None, estimate=dict
    )
    return sniffer.feed_frames(frames)


@pytest.mark.parametrize("path", COMPLETE, ids=IDS)
def test_the_sdk_has_them_of_a_verbatim_answer(path):
    """Of another VAI too, which tells its own members to whoever asks it."""
    events, _ = run(path, [path.read_bytes()])
    sent = codec.encode_events(events, cost)
    start, _, rest = sent.partition(b"\n\n")
    told = orjson.loads(start.partition(b"data: ")[2])
    told["message"]["usage"] |= {"total_tokens": 1, "cache_read_tokens": 1, "cost_usd": 1.0}
    frames = b"event: message_start\ndata: %b\n\n%b" % (orjson.dumps(told), rest)
    check_usage(decoded(edited(frames)))


@pytest.mark.parametrize("name", ["anthropic-text", "anthropic-tools"])
def test_the_sdk_has_them_of_anthropics_own_stream(name):
    (path,) = [path for path in COMPLETE if path.stem == name]
    wire = decoded(edited(path.read_bytes()))
    check_usage(wire)
    (end,) = [event for event in wire if event["type"] == "message_delta"]
    assert end["usage"]["total_tokens"] > 0
    assert end["usage"]["cost_usd"] == 0.25


def test_usage_in_every_chunk_is_told_once():
    """Servers can report running totals with every chunk, the first one included."""
    adapter = make_adapter(PROVIDER_SPECS["openai"], "x1", input_estimate=3)
    text = b"".join(
        b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"a"}%b}],'
        b'"usage":{"prompt_tokens":7,"completion_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":2,"audio_tokens":1}}}\n\n' % (end, number)
        for number, end in enumerate((b"", b"", b',"finish_reason":"stop"'), 1)
    )
    wire = decoded(codec.encode_events(adapter.feed_bytes(text) + adapter.end_stream(), cost))
    check_usage(wire)
    assert wire[-2]["usage"]["total_tokens"] == 8

"""Event streams: the same events however the bytes are cut, at a cost of their length."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai.codec.json import dumps
from vai.codec.sse import (
    PING,
    FrameSplitter,
    SseDecoder,
    encode_events,
    encode_frame,
    split_frames,
)
from vai.errors import UpstreamBroken
from vai.types.blocks import (
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
)
from vai.types.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageStop,
    Ping,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
)
from vai.types.render import event_to_wire


def decode(*chunks: bytes, max_frame: int = 1 << 20) -> list[tuple[str, bytes]]:
    decoder = SseDecoder(max_frame)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


LINES = st.sampled_from(
    [
        b'data: {"a":1}',
        b"data:x",
        b"data:  two",
        b"data",
        b"data:",
        "data: \u00e9\u20ac\U0001f600".encode(),
        b"data: trailing  ",
        b"event: ping",
        b"event:message_stop",
        b"event",
        b"event:",
        b": comment",
        b":",
        b"id: 7",
        b"retry: 10",
        b"unknown",
        b"da",
        b"\xff\xfe",
        b"",
    ]
)
STREAMS = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=14),
    st.sampled_from([b"", b"data: open", b"data: half\r"]),
).map(lambda parts: parts[0] + b"".join(a + b for a, b in parts[1]) + parts[2])


def by_the_book(stream: bytes) -> list[tuple[str, bytes]]:
    """The standard's algorithm, line by line over the whole stream."""
    stream = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[tuple[str, bytes]] = []
    name = b""
    data: list[bytes] = []
    for line in [*stream.split(b"\n"), b""]:
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if line == b"":
            if data:
                events.append((name.decode() or "message", b"\n".join(data)))
            name, data = b"", []
        elif field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    return events


@given(STREAMS, st.data())
def test_the_cut_is_invisible(stream: bytes, data: st.DataObject) -> None:
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    expected = by_the_book(stream)
    assert decode(stream) == expected
    assert decode(*cut(stream, at)) == expected
    assert decode(*[stream[i : i + 1] for i in range(len(stream))]) == expected


FIXTURE = (
    b"\xef\xbb\xbf: hello\r\n\r\n"
    + encode_frame("message_start", '{"t":"\u00fcber \U0001f600"}'.encode())
    + b"data: a\r\ndata: b\r\n\r\n"
    + PING
    + b"data: [DONE]  \n\ndata: last"
)


def test_every_single_cut() -> None:
    expected = [
        ("message_start", '{"t":"\u00fcber \U0001f600"}'.encode()),
        ("message", b"a\nb"),
        ("message", b"[DONE]  "),
        ("message", b"last"),
    ]
    for at in range(len(FIXTURE) + 1):
        assert decode(FIXTURE[:at], FIXTURE[at:]) == expected


@pytest.mark.parametrize(
    "frame", [b"data: x\n\n", b"data: x\r\n\r\n", b"data: x\r\r", b"event: e\ndata: x\n\n"]
)
def test_an_event_is_out_as_soon_as_it_is_complete(frame: bytes) -> None:
    decoder = SseDecoder()
    assert decoder.feed(frame[:-1]) in ([], [("message", b"x")])  # "\r\n\r" is complete already
    decoder = SseDecoder()
    assert len(decoder.feed(frame)) == 1
    assert decoder.flush() == []
    assert decoder.flush() == []


def test_a_frame_beyond_the_limit_is_a_fault() -> None:
    fits, over = b"data: " + b"x" * 94, b"data: " + b"x" * 95
    for size in (1, 7, 1000):
        decoder = SseDecoder(100)
        stream = b"data: first\n\n" + fits + b"\n\n" + over + b"\n\ndata: late\n\n"
        events = [
            e for i in range(0, len(stream), size) for e in decoder.feed(stream[i : i + size])
        ]
        assert events == [("message", b"first"), ("message", b"x" * 94)]
        assert isinstance(decoder.fault, UpstreamBroken)
        assert decoder.feed(b"data: more\n\n") == decoder.flush() == []


def test_an_endless_line_is_not_kept() -> None:
    decoder, splitter = SseDecoder(10_000), FrameSplitter(10_000)
    for _ in range(100):
        decoder.feed(b"x" * 1000)
        splitter.feed(b"x" * 1000)
    assert decoder.fault is not None
    assert splitter.fault is not None
    assert len(decoder._tail) <= 10_001
    assert len(splitter.get_rest()) <= 11_000


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_long_line_in_small_pieces_costs_its_length(end: bytes) -> None:
    def cost(size: int) -> float:
        line = b"data: " + b"x" * size + end
        chunks = [line[i : i + 1024] for i in range(0, len(line), 1024)]
        decoder, splitter = SseDecoder(), FrameSplitter()
        start = time.perf_counter()
        got = sum(len(decoder.feed(chunk)) for chunk in chunks)
        out = sum(len(splitter.feed(chunk)) for chunk in chunks)
        took = time.perf_counter() - start
        assert (got, out) == (1, len(line))
        return took

    assert min(cost(5_000_000) for _ in range(3)) < 0.5  # measured 0.03 s


@given(STREAMS, st.data())
def test_the_splitter_loses_and_adds_nothing(stream: bytes, data: st.DataObject) -> None:
    splitter = FrameSplitter()
    whole = b""
    for chunk in cut(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8))):
        part = splitter.feed(chunk)
        assert part == b"" or part.endswith((b"\n", b"\r"))
        whole += part
    assert whole + splitter.get_rest() == stream
    # What is held back is less than a frame, so it holds no event that is complete.
    decoder = SseDecoder()
    assert decoder.feed(b"\n\n" + splitter.get_rest()) == []


@given(STREAMS)
def test_what_the_splitter_lets_out_is_whole(stream: bytes) -> None:
    splitter = FrameSplitter()
    out = splitter.feed(stream)
    decoder = SseDecoder()
    assert decoder.feed(out) == SseDecoder().feed(stream)
    assert decoder.flush() == []


@given(STREAMS)
def test_frames_are_the_stream_in_pieces(stream: bytes) -> None:
    pieces = list(split_frames(stream))
    assert b"".join(pieces) == stream
    assert all(pieces)
    events = [event for piece in pieces for event in decode(piece)]
    assert events == decode(stream)


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_any_bytes_are_decoded(chunks: list[bytes]) -> None:
    decode(*chunks)
    splitter = FrameSplitter()
    assert b"".join([splitter.feed(chunk) for chunk in chunks]) + splitter.get_rest() == b"".join(
        chunks
    )


@given(STREAMS)
def test_a_frame_at_a_time_is_the_same(stream: bytes) -> None:
    # The decoder has a way of its own for reads of exactly one frame.
    assert decode(*split_frames(stream)) == by_the_book(stream)


USUAL = [
    b"data: {}\n\n",
    b"event: e\ndata: {}\n\n",
    b"event: \ndata: {}\n\n",
    b"event: e\ndata: {}\ndata: {}\n\n",
    b"data: {\rdata: }\n\n",
    b"data: {}\r\n\r\n",
    b"event: e\n\n",
    b"data: \n\n",
    b"data: {}\n\n\n",
    b"data: {}\n\ndata: {}\n\n",
    b": c\n\n",
    "data: \u00e9\n\n".encode(),
    b"event: \xc3\xa9\ndata: \xff\n\n",
    b"data: half",
    b"\n",
]


def test_usual_frames_in_any_order_and_any_cut_are_the_same() -> None:
    for frames in itertools.product(USUAL, repeat=3):
        stream = b"".join(frames)
        expected = by_the_book(stream)
        assert decode(*frames) == expected
        assert decode(stream) == expected
        assert decode(*[stream[at : at + 1] for at in range(len(stream))]) == expected


@pytest.mark.parametrize("head", [b"data: ", b"event: e\ndata: "])
def test_the_limit_is_exact_for_a_read_of_one_frame(head: bytes) -> None:
    for size in range(30, 40):
        frame = head.ljust(size, b"x") + b"\n\n"
        whole, single = SseDecoder(35), SseDecoder(35)
        whole.feed(b"data: a\n\n" + frame)
        single.feed(b"data: a\n\n")
        assert len(single.feed(frame)) == (size <= 35)
        assert (single.fault is None) == (whole.fault is None) == (size <= 35)
        assert single.feed(b"data: a\n\n") == ([("message", b"a")] if size <= 35 else [])


DELTAS = [
    TextDelta(text="a\n\u00e9\u2028\U0001f600"),
    TextDelta(text=""),
    ThinkingDelta(thinking="t"),
    InputJsonDelta(partial_json='{"a":'),
    SignatureDelta(signature="s"),
    CitationsDelta(citation={"type": "x", "y": [1, None]}),
    TextDelta(text="a", extra={"logprobs": [1]}),
    UnknownDelta(raw={"type": "new", "x": 1}),
]


@pytest.mark.parametrize("extra", [{}, {"x": 1}])
def test_a_delta_is_encoded_like_any_event(extra: dict[str, int]) -> None:
    events = [
        ContentBlockDelta(index=at, delta=delta, extra=extra) for at, delta in enumerate(DELTAS)
    ]
    frames = [encode_frame("content_block_delta", dumps(event_to_wire(event))) for event in events]
    assert [encode_events([event]) for event in events] == frames
    assert encode_events([*events, MessageStop()]) == b"".join(frames) + encode_frame(
        "message_stop", b'{"type":"message_stop"}'
    )
    assert encode_events([]) == b""


BLOCKS = [
    TextBlock(text=""),
    TextBlock(text="a\n\u00e9\u2028", citations=[{"url": "u", "score": 0.1}], cache_control={}),
    TextBlock(text="", extra={"x": 1}),
    ThinkingBlock(thinking="", signature=""),
    ThinkingBlock(thinking="t", signature="s", summary="auto"),
    ToolUseBlock(id="i", name="n", input={}),
    RedactedThinkingBlock(data="d"),
    UnknownBlock(raw={"type": "new", "x": 1}),
]


@pytest.mark.parametrize("extra", [{}, {"x": 1}])
def test_an_event_without_usage_is_encoded_like_any_other(extra: dict[str, int]) -> None:
    events = [
        *(ContentBlockStart(index=1, content_block=block, extra=extra) for block in BLOCKS),
        ContentBlockStop(index=2, extra=extra),
        MessageStop(extra=extra),
        Ping(extra=extra),
    ]
    for event in events:
        wire = event_to_wire(event)
        assert encode_events([event]) == encode_frame(wire["type"], dumps(wire))


def test_encode() -> None:
    assert encode_frame("ping", b'{"type":"ping"}') == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert decode(encode_frame("e", b"a\r\nb\nc")) == [("e", b"a\nb\nc")]
    with pytest.raises(ValueError, match="one line"):
        encode_frame("a\nb", b"")
    assert decode(PING) == []

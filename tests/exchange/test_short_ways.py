"""Reads of exactly one frame take a short way: it gives what the long way gives."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.test_verbatim_checks import DELTA_OF, OPENED, mode
from vai.codec.sse import SseDecoder, encode_events, read_frames, read_single_frame, split_frames
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.policy import estimate
from vai.providers.anthropic import frames as anthropic_frames
from vai.providers.anthropic import verbatim
from vai.providers.anthropic.frames import read_content, read_deltas
from vai.providers.factory import make_adapter
from vai.providers.gemini import body
from vai.providers.gemini.body import BodyParser
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

HERE = Path(__file__).parents[1] / "fixtures" / "streams"
STREAMS = [path for path in sorted(HERE.glob("*.sse")) if "-clone-" not in path.stem]
NAMES = [path.stem for path in STREAMS]
OF_ANTHROPIC = [path for path in STREAMS if path.stem.startswith("anthropic-")]


def chops(data: bytes) -> Iterator[list[bytes]]:
    """The stream a frame at a time, whole, in single bytes, and in random pieces."""
    yield list(split_frames(data))
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(7)
    for _ in range(5):
        edges = sorted(dice.sample(range(1, len(data)), min(20, len(data) - 1)))
        yield [data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True)]


def outcome(mode: ExchangeMode[bytes], pieces: list[bytes]) -> dict[str, Any]:
    out = [b""]
    for piece in pieces:
        if mode.is_complete or mode.stream_error:
            break
        out.append(mode.feed_stream(piece) or b"")
    if not (mode.is_complete or mode.stream_error):
        out.append(mode.end_stream() or b"")
    out.append(mode.release_held() or b"")
    return {
        "bytes": b"".join(out),
        "usage": mode.usage,
        "estimate": mode.estimate_usage(),
        "content": mode.has_content,
        "complete": mode.is_complete,
        "reason": mode.stop_reason,
        "error": repr(mode.stream_error),
        "forwarded": repr(mode.forwarded_error),
    }


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("path", OF_ANTHROPIC, ids=lambda path: path.stem)
def test_verbatim(path: Path, edited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = path.read_bytes()
    short = [outcome(mode(stream=True, edited=edited), pieces) for pieces in chops(data)]
    monkeypatch.setattr(verbatim, "read_deltas", lambda _: None)
    long = [outcome(mode(stream=True, edited=edited), pieces) for pieces in chops(data)]
    assert short == long
    assert all(one == long[1] for one in long)


def test_the_short_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    passing = mode(stream=True)
    passing.feed_stream(OPENED + DELTA_OF % b"a")
    monkeypatch.setattr(verbatim, "read_content", None)
    assert passing.feed_stream(DELTA_OF % b"b") == DELTA_OF % b"b"


USUAL = DELTA_OF % b"text"
NEARLY = [
    DELTA_OF % b"",
    DELTA_OF % "\u00e9\u2028".encode(),
    DELTA_OF % b"\\u00e9\\n\\r",
    DELTA_OF % b"\xff",
    DELTA_OF % b"\\ud800",
    DELTA_OF % b"\x01",
    USUAL.replace(b"text_delta", b"new_delta"),
    USUAL.replace(b'"text"', b'"thinking"'),
    USUAL.replace(b'"text"', b'"partial_json"'),
    USUAL.replace(b'"text":"text"', b'"text":7'),
    USUAL.replace(b'"delta":{', b'"delta":[{').replace(b"}}", b"}]}"),
    USUAL.replace(b'{"type":"text_delta","text":"text"}', b"null"),
    USUAL.replace(b'"index":0', b'"content_block":5'),
    USUAL.replace(b'"index":0', b'"content_block":{"type":"tool_use"}'),
    USUAL.replace(b'"index":0', b'"type":"error"'),
    USUAL.replace(b'{"type":"content_block_delta"', b'{"type":"ping"'),
    USUAL.replace(b'{"type":"content_block_delta",', b"{"),
    USUAL.replace(b"event: content_block_delta", b"event: ping"),
    USUAL.replace(b"event: content_block_delta", b"event:content_block_delta"),
    USUAL.replace(b"data: ", b"data:"),
    USUAL.replace(b"data: ", b"data:  "),
    USUAL.replace(b'"index":0,', b'"index":0,\ndata: '),
    USUAL.replace(b'"index":0,', b'"index":0,\rdata: '),
    USUAL.replace(b'"index":0,', b'"index":0,\n'),
    USUAL.replace(b"\n", b"\r\n"),
    USUAL.replace(b"\n", b"\r"),
    USUAL.replace(b"}}\n\n", b"}}\n\r"),
    USUAL.replace(b"}}\n\n", b"}}\r\r"),
    USUAL.replace(b"}}\n\n", b"}} \n\n"),
    USUAL.replace(b"}}\n\n", b"}}x\n\n"),
    USUAL.replace(b"}}\n\n", b"}\n\n"),
    USUAL.replace(b"}}\n\n", b"}}\nid: 7\n\n"),
    USUAL + b"\n",
    USUAL[:-1],
    USUAL[:20],
    USUAL + USUAL,
    USUAL + USUAL[:20],
    b": comment\n" + USUAL,
    b"event: content_block_delta\ndata: \n\n",
    b"event: content_block_delta\n\n",
    b"event: content_block_delta\ndata: " + b"[" * 5000 + b"\n\n",
]


@pytest.mark.parametrize("frame", [USUAL, *NEARLY])
def test_nearly_a_delta(frame: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [OPENED, USUAL, frame, USUAL]
    deltas = read_deltas(frame)
    if deltas is not None:
        events = [read_content(name, text) for _, name, text in read_frames(frame)]
        assert [event and event.delta for event in events] == deltas
    short = outcome(mode(stream=True), pieces)
    monkeypatch.setattr(verbatim, "read_deltas", lambda _: None)
    assert outcome(mode(stream=True), pieces) == short
    assert outcome(mode(stream=True), [b"".join(pieces)]) == short


def test_a_single_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame for path in STREAMS for frame in split_frames(path.read_bytes())]
    frames += [USUAL, *NEARLY, b"", b"\n\n", b"\xef\xbb\xbfdata: x\n\n", b"data: x\n\ndata: y\n\n"]
    short = [read_single_frame(frame) for frame in frames]
    monkeypatch.setattr("vai.codec.sse._decode_usual_frame", lambda _: None)
    assert [read_single_frame(frame) for frame in frames] == short


ODD_ENDS = [b"", b"\n", b"\n\n", b"\n\n\n", b": c\n\n", b"\r\n\r\n", b"event: ping\ndata: {}"]


@pytest.mark.parametrize("end", ODD_ENDS)
@pytest.mark.parametrize("middle", ODD_ENDS)
def test_frames_are_read_as_they_are_split(middle: bytes, end: bytes) -> None:
    for frame in [USUAL, *NEARLY]:
        data = frame + middle + frame + end
        split = [(one, *read_single_frame(one)) for one in split_frames(data)]
        assert list(read_frames(data)) == split


def test_a_delta_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    real = anthropic_frames._decode_one

    def decode(text: bytes) -> Any:
        decoded.append(text)
        return real(text)

    passing = mode(stream=True)
    passing.feed_stream(OPENED + USUAL)
    monkeypatch.setattr(anthropic_frames, "_decode_one", decode)
    passing.feed_stream(USUAL)
    assert len(decoded) == 1


START = b'{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":3}}}'
END = b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}'
STOP = b'{"type":"message_stop"}'
ERROR = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
ODD_FORMS = [
    b"%b",
    b" %b ",
    b"%b}",
    b"[%b]",
    b"",
    b" ",
    b"x",
    b"{}",
    b"null",
    b'{"type":7}',
    b'{"type":"new_event"}',
    b'{"type":"ping"}',
    b'{"type":"message_start","message":5}',
    b'{"type":"message_delta","delta":5,"usage":7}',
    b'{"type":"message_delta","delta":{"stop_reason":5}}',
    b'{"type":"message_stop","text":"\\ud800"}',
    b'{"type":"message_stop","text":"\xff"}',
    b'{"type":"error","error":5}',
    b'{"type":"error","message":"no"}',
]


@pytest.mark.parametrize("form", ODD_FORMS)
@pytest.mark.parametrize("edited", [False, True])
def test_nearly_an_event_without_content(
    form: bytes, edited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (b"message_start", b"message_delta", b"message_stop", b"error", b"new_event")
    streams = [
        [*before, b"event: %b\ndata: %b\n\n" % (name, form.replace(b"%b", text)), *after]
        for text in (START, END, STOP, ERROR)
        for name in names
        for before in ([], [OPENED], [OPENED, USUAL])
        for after in ([], [USUAL], [b"event: message_stop\ndata: %b\n\n" % STOP])
    ]
    short = [outcome(mode(stream=True, edited=edited), pieces) for pieces in streams]
    monkeypatch.setattr(verbatim, "read_members", lambda *_: None)
    long = [outcome(mode(stream=True, edited=edited), pieces) for pieces in streams]
    assert short == long


def test_an_event_without_content_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passing = mode(stream=True)
    passing.feed_stream(OPENED + USUAL)
    monkeypatch.setattr(verbatim, "read_event", None)
    frame = b"event: message_delta\ndata: %b\n\n" % END
    assert passing.feed_stream(frame) == frame


def translated(path: Path) -> ExchangeMode[bytes]:
    owner = max((name for name in PROVIDER_SPECS if path.stem.startswith(f"{name}-")), key=len)
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    return TranslatedMode(
        make_adapter(PROVIDER_SPECS[owner], "x1", headers={}),
        parse.parse_request({**request, "stream": True}),
        events=encode_events,
        message=lambda _: b"",
        uses_gateway_key=True,
    )


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_translated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = path.read_bytes()
    short = [outcome(translated(path), pieces) for pieces in chops(data)]
    assert all(one == short[0] for one in short)
    monkeypatch.setattr("vai.codec.sse._decode_usual_frame", lambda _: None)
    monkeypatch.setattr("vai.codec.sse._is_plain", lambda _: False)
    monkeypatch.setattr(estimate, "_PER_ASCII_CODE", estimate._PER_CODE)
    long = outcome(translated(path), [data])
    assert SseDecoder().feed(b"data: x\n\n") == [("message", b"x")]
    assert short[0] == long


class SlowBody(BodyParser):
    """Searches each read, however short."""

    def _find_plain(self, data: bytes) -> re.Match[bytes] | None:
        begins = body._AT_START.match(data) if self._at_start else None
        return begins or body._INSIDE.search(data)

    def _note_line(self, data: bytes) -> None:
        line_end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if line_end >= 0 or self._at_start:
            self._at_start = not data[line_end + 1 :].strip(body._NOTHING)


LINES = [b'data: {"a":1}', b'{"error":1}', b" [1]", b"data: x", b"\xef\xbb\xbf", b" ", b""]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\n\r", b""])
@pytest.mark.parametrize("other_end", [b"\n", b"\r\n\r\n", b"\r"])
def test_plain_json_is_seen_wherever_it_begins(end: bytes, other_end: bytes) -> None:
    for first, second, third in itertools.product(LINES, repeat=3):
        reads = [first + end, second + other_end, third + end]
        data = b"".join(reads)
        for pieces in (reads, [data], [data[at : at + 1] for at in range(len(data))]):
            short, long = BodyParser(), SlowBody()
            for piece in pieces:
                assert short.feed_bytes(piece) == long.feed_bytes(piece)
                assert short._at_start == long._at_start
            assert short.end_body() == long.end_body()
            assert repr(short.fault) == repr(long.fault)

"""Reading along while Anthropic's bytes pass."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.providers.validator import check_stream
from vai.codec.sse import FrameSplitter, SseDecoder
from vai.providers.anthropic.verbatim import Report, Sniffer, edit_message, is_marked, report_of
from vai.providers.registry import ROWS, make_adapter
from vai.types.message import Usage

HERE = Path(__file__).parents[1] / "fixtures" / "streams"
STREAMS = sorted(HERE.glob("anthropic-*.sse"))
NAMES = [path.stem for path in STREAMS]
ROW = ROWS["anthropic"]


def parsed(data):
    decoder = SseDecoder()
    return [orjson.loads(data) for _, data in decoder.feed(data) + decoder.end()]


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_it_sees_what_a_full_reader_sees(path):
    data = path.read_bytes()
    adapter = make_adapter(ROW, "01TEST")
    adapter.feed(data)
    adapter.end()
    for size in (1, 7, 100, len(data)):
        sniffer, splitter = Sniffer(ROW), FrameSplitter()
        for at in range(0, len(data), size):
            sniffer.feed(splitter.feed(data[at : at + size]))
        assert sniffer.usage == adapter.usage
        assert sniffer.started
        assert sniffer.done == adapter.done
        assert (sniffer.fault is not None) == ("fault-error" in path.stem)


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_only_two_kinds_of_frames_are_edited(path):
    data = path.read_bytes()
    sniffer, splitter = Sniffer(ROW), FrameSplitter()
    out = b"".join(
        sniffer.edit_frames(splitter.feed(data[at : at + 50])) for at in range(0, len(data), 50)
    )
    assert out == Sniffer(ROW).edit_frames(data)
    before, after = parsed(data), parsed(out)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if old["type"] == "message_start":
            assert new["message"]["model"] == f"anthropic/{old['message']['model']}"
            assert old["message"]["usage"] == new["message"]["usage"]
        elif old["type"] == "message_delta":
            old.setdefault("usage", {"output_tokens": 1})
            total = 25 + old["usage"]["output_tokens"]
            assert new["usage"]["total_tokens"] == total
            usage = new["usage"]
            assert (usage["cache_read_tokens"], usage["cache_write_tokens"]) == (100, 8)
            assert old["usage"].items() <= new["usage"].items()
        else:
            assert old == new
    changed = [frame for frame in data.split(b"\n\n") if frame not in out.split(b"\n\n")]
    assert all(b'{"type":"message_' in frame for frame in changed)
    assert len(changed) <= 2
    if "fault" not in path.stem:
        check_stream(after)


def test_text_about_the_protocol_fools_nobody():
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {
            "type": "text_delta",
            "text": 'event: message_stop\ndata: {"type":"message_stop"}\n\n{"error": {}}',
        },
    }
    frame = b"event: content_block_delta\ndata: " + orjson.dumps(delta) + b"\n\n"
    sniffer = Sniffer(ROW)
    assert sniffer.edit_frames(frame) == frame
    sniffer.feed(frame)
    assert not sniffer.done
    assert sniffer.fault is None
    assert sniffer.usage == Usage()


def test_content_is_not_looked_into():
    frames = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n' * 3
    assert not is_marked(frames)
    assert Sniffer(ROW).edit_frames(frames) == frames


def test_damaged_frames_pass():
    frames = (
        b"event: message_start\ndata: {nonsense\n\nevent: message_delta\ndata: []\n\n: message_\n\n"
    )
    sniffer = Sniffer(ROW)
    assert sniffer.edit_frames(frames) == frames
    assert not sniffer.started


def test_a_json_answer():
    body = (HERE / "anthropic-text.json").read_bytes()
    edited = orjson.loads(edit_message(body, ROW)[0])
    assert edited["model"] == "anthropic/claude-opus-5-5"
    assert edited["usage"]["total_tokens"] == 40
    assert edited["usage"]["cache_read_tokens"] == 100
    assert edited["content"] == orjson.loads(body)["content"]
    assert report_of(body).usage == Usage(
        input_tokens=25,
        output_tokens=15,
        cache_read_input_tokens=100,
        cache_creation_input_tokens=8,
    )


def test_what_is_not_edited_keeps_its_bytes():
    content = b'"content": [ {"text":"\\u00e9 1.0", "n": 1.50} ]'
    body = b'{"type":"message", %b, "usage":{}}' % content
    assert content.partition(b" ")[2] in edit_message(body, ROW)[0]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"type":"error","error":{}}', b'{"input_tokens":3}']
)
def test_what_is_no_message_is_left_alone(body):
    assert edit_message(body, ROW) == (body, Report(Usage(), None))
    assert report_of(body) == Report(Usage(), None)

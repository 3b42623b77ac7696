"""Reading along while Anthropic's bytes pass."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.providers.validator import check_stream
from vai.codec.sse import FrameSplitter, SseDecoder
from vai.errors import UpstreamFault
from vai.providers.anthropic.verbatim import VerbatimStreamObserver, is_passed_on, read_message
from vai.providers.decode.upstream_errors import fault_from_response
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types.message import Usage

HERE = Path(__file__).parents[1] / "fixtures" / "streams"
STREAMS = [path for path in sorted(HERE.glob("anthropic-*.sse")) if "-clone-" not in path.stem]
NAMES = [path.stem for path in STREAMS]
ROW = PROVIDER_SPECS["anthropic"]


def sniffer_of(*, edited=False):
    said = []
    guess = {"output_tokens": 7, "estimated": True}
    return VerbatimStreamObserver(
        ROW, edited=edited, generated=said.append, estimate=lambda: guess
    ), said


def parsed(data):
    decoder = SseDecoder()
    return [orjson.loads(data) for _, data in decoder.feed(data) + decoder.flush()]


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_it_sees_what_a_full_reader_sees(path):
    data = path.read_bytes()
    adapter = make_adapter(ROW, "01TEST")
    adapter.feed_bytes(data)
    adapter.end_stream()
    for size in (1, 7, 100, len(data)):
        (sniffer, _), splitter = sniffer_of(), FrameSplitter()
        for at in range(0, len(data), size):
            sniffer.feed_frames(splitter.feed(data[at : at + size]))
        assert sniffer.usage == adapter.usage
        assert sniffer.has_started
        assert sniffer.is_complete == adapter.is_complete
        assert (sniffer.fault is not None) == ("fault-error" in path.stem)


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_only_two_kinds_of_frames_are_edited(path):
    data = path.read_bytes()
    (sniffer, _), splitter = sniffer_of(edited=True), FrameSplitter()
    out = b"".join(
        sniffer.feed_frames(splitter.feed(data[at : at + 50])) for at in range(0, len(data), 50)
    )
    assert out == sniffer_of(edited=True)[0].feed_frames(data)
    out += sniffer.error_frame
    before, after = parsed(data), parsed(out)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if old["type"] == "message_start":
            assert new["message"]["model"] == f"anthropic/{old['message']['model']}"
            assert old["message"]["usage"] == new["message"]["usage"]
        elif old["type"] == "message_delta":
            if "usage" in old:
                assert new["usage"]["total_tokens"] == 25 + old["usage"]["output_tokens"]
            else:
                assert (new["usage"]["output_tokens"], new["usage"]["estimated"]) == (7, True)
                assert "total_tokens" not in new["usage"]
                continue
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
    start = (HERE / "anthropic-text.sse").read_bytes().partition(b"\n\n")[0] + b"\n\n"
    frame = b"event: content_block_delta\ndata: " + orjson.dumps(delta) + b"\n\n"
    sniffer, said = sniffer_of()
    assert sniffer.feed_frames(start + frame) == start + frame
    assert not sniffer.is_complete
    assert sniffer.fault is None
    assert sniffer.usage.output_tokens == 1
    assert said == [delta["delta"]["text"]]


def test_a_json_answer():
    body = (HERE / "anthropic-text.json").read_bytes()
    edited = orjson.loads(read_message(body, ROW, edited=True)[0])
    assert edited["model"] == "anthropic/claude-opus-5-5"
    assert edited["usage"]["total_tokens"] == 40
    assert edited["usage"]["cache_read_tokens"] == 100
    assert edited["content"] == orjson.loads(body)["content"]
    assert read_message(body, ROW, edited=False)[1].usage == Usage(
        input_tokens=25,
        output_tokens=15,
        cache_read_input_tokens=100,
        cache_creation_input_tokens=8,
    )


def test_what_is_not_edited_keeps_its_bytes():
    content = b'"content": [ {"type":"text", "text":"\\u00e9 1.0", "n": 1.50} ]'
    body = b'{"type":"message", %b, "usage":{}}' % content
    assert content.partition(b" ")[2] in read_message(body, ROW, edited=True)[0]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"type":"error","error":{}}', b'{"input_tokens":3}']
)
@pytest.mark.parametrize("edited", [False, True])
def test_what_is_no_message_is_a_fault(body, edited):
    with pytest.raises(UpstreamFault):
        read_message(body, ROW, edited=edited)


@pytest.mark.parametrize(
    ("status", "body", "passed"),
    [
        (400, b'{"error":{"message":"m"}}', True),
        (400, b'{"detail":"m"}', True),
        (529, b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', True),
        (529, b'{"type":"error","error":{"type":"api_error","message":"m"}}', True),
        (503, b'{"type":"error","error":{"type":"api_error","message":"no capacity"}}', False),
        (500, b'{"error":{"message":"we are overloaded","type":"x"}}', False),
        (503, b'{"detail":"no capacity"}', False),
        (503, b"<html>", True),
        (
            400,
            (
                b'{"type":"error","error":{"type":"invalid_request_error","message":'
                b'"prompt is too long: 9 tokens > 8 maximum"}}'
            ),
            True,
        ),
        (
            400,
            (
                b'{"type":"error","error":{"type":"invalid_request_error","message":'
                b'"The prompt (9000 tokens) is longer than the model\'s max_model_len (8192)"}}'
            ),
            False,
        ),
        (400, b'{"detail":"request (90 tokens) exceeds the available context size"}', False),
    ],
)
def test_errors_keep_their_bytes_unless_clients_act_on_other_words(status, body, passed):
    fault = fault_from_response(ROW.id, ROW.name, status, {}, body)
    assert is_passed_on(body, fault) == passed

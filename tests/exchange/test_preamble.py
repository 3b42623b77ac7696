"""An error before any content is an error of the request, however the bytes come."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.rig import Rig, Said
from tests.exchange.test_attempts import World, pure, translated
from vai.errors import UpstreamRejected
from vai.exchange.mode import ExchangeMode

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"


def whole(name: str) -> Said:
    return Said([(STREAMS / f"{name}.sse").read_bytes()])


def beginning(name: str, end: bytes) -> bytes:
    """A recorded stream up to the event that holds `end`."""
    data = whole(name).script[0]
    return data[: data.rindex(b"\n\n", 0, data.index(end)) + 2]


_ROLE = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)
_CHAT_ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n'
_CREATED = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,'
    b'"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m",'
    b'"output":[]}}\n\n'
)
_FAILED = (
    b'event: error\ndata: {"type":"error","sequence_number":1,"code":"server_error",'
    b'"message":"The server is overloaded","param":null}\n\n'
)
_START = beginning("anthropic-text", b"content_block_start")
_OPENED = beginning("anthropic-text", b"content_block_delta")
_ERROR = (
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"m"}}\n\n'
)
_USED = b'data: {"usageMetadata":{"promptTokenCount":3},"modelVersion":"m"}\n\n'
_UNAVAILABLE = b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\n\n'

_EMPTY = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":""}}\n\n'
)
_COUNTED = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":null,'
    b'"stop_sequence":null},"usage":{"output_tokens":0}}\n\n'
)

CASES: dict[str, tuple[Any, str, bytes, bytes]] = {
    "verbatim": (pure, "anthropic-text", _START, _ERROR),
    "verbatim, block open": (pure, "anthropic-text", _OPENED, _ERROR),
    "anthropic": (lambda: translated("anthropic"), "anthropic-text", _START, _ERROR),
    "anthropic, block open": (lambda: translated("anthropic"), "anthropic-text", _OPENED, _ERROR),
    "verbatim, empty delta": (pure, "anthropic-text", _OPENED + _EMPTY, _ERROR),
    "verbatim, counted": (pure, "anthropic-text", _START + _COUNTED, _ERROR),
    "anthropic, empty delta": (
        lambda: translated("anthropic"),
        "anthropic-text",
        _OPENED + _EMPTY,
        _ERROR,
    ),
    "anthropic, counted": (
        lambda: translated("anthropic"),
        "anthropic-text",
        _START + _COUNTED,
        _ERROR,
    ),
    "openai": (lambda: translated("openai"), "openai-text", _ROLE, _CHAT_ERROR),
    "groq": (lambda: translated("groq"), "openai-text", _ROLE, _CHAT_ERROR),
    "cerebras": (lambda: translated("cerebras"), "openai-text", _ROLE, _CHAT_ERROR),
    "oai-resp": (lambda: translated("oai-resp"), "oai-resp-text", _CREATED, _FAILED),
    "gemini": (lambda: translated("gemini"), "gemini-text", _USED, _UNAVAILABLE),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cut", ["events", "bytes", "one read"])
async def test_it_is_tried_again_and_the_answer_begins_once(name: str, cut: str) -> None:
    mode, good, preamble, error = CASES[name]
    script: dict[str, list[Any]] = {
        "events": [preamble, 2.0, error],
        "bytes": [bytes([byte]) for byte in preamble + error],
        "one read": [preamble + error],
    }
    world = World()
    target = world.target(Said(script[cut]), whole(good), mode=mode)
    rig, _ = world.rig(target)
    sent = b"".join(await rig.run())
    assert len(target.upstream.sent) == 2
    assert sent.startswith(b"event: message_start")
    assert len(re.findall(rb"event: message_start", sent)) == 1
    assert b"event: error" not in sent
    assert rig.assert_settled_once().outcome == "completed"


@pytest.mark.parametrize("name", CASES)
async def test_without_another_try_it_has_its_own_status(name: str) -> None:
    mode, _, preamble, error = CASES[name]
    made: ExchangeMode[bytes] = mode()
    rig = Rig(made, [preamble, 2.0, error])
    with pytest.raises(UpstreamRejected) as caught:
        await rig.run()
    assert caught.value.type == "overloaded_error"
    assert caught.value.status in (503, 529)

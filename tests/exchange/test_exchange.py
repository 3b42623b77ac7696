"""The conductor: one answer or one error, one settlement, whatever the upstream does."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

import orjson
import pytest

from tests.exchange.rig import CUT, FOREVER, JSON, SILENCE, Rig
from vai.codec.sse import encode_events
from vai.errors import (
    InvalidRequest,
    UpstreamBroken,
    UpstreamFault,
    UpstreamRejected,
    UpstreamTimeout,
)
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.exchange.verbatim_mode import VerbatimMode
from vai.policy.timers import Timers
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import WireRequest
from vai.types.render import message_to_wire

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
TIMERS = Timers(connect=1, headers=2, first_token=3, inter_chunk=4, total=20)
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello there"}]}


def translated(provider: str, *, stream: bool = True) -> TranslatedMode[bytes]:
    ask = parse.parse_request({**ASK, "stream": stream})
    adapter = make_adapter(PROVIDER_SPECS[provider], "x1")
    return TranslatedMode(
        adapter,
        ask,
        events=encode_events,
        message=lambda found: orjson.dumps(message_to_wire(found)),
    )


def verbatim(*, stream: bool = True, edited: bool = False) -> VerbatimMode:
    wire = WireRequest("POST", "/v1/messages", (), orjson.dumps(ASK), stream)
    return VerbatimMode(wire, PROVIDER_SPECS["anthropic"], streaming=stream, edited=edited)


def fixture(name: str) -> bytes:
    return (STREAMS / name).read_bytes()


def through_first_delta(data: bytes) -> bytes:
    return data[: data.index(b"\n\n", data.index(b"event: content_block_delta")) + 2]


MODES = {
    "translated": (lambda: translated("openai"), "openai-parallel.sse"),
    "reasoning": (lambda: translated("groq"), "groq-reasoning-call.sse"),
    "adapted": (lambda: translated("anthropic"), "anthropic-tools.sse"),
    "pure": (verbatim, "anthropic-tools.sse"),
    "edited": (lambda: verbatim(edited=True), "anthropic-text.sse"),
}


@pytest.mark.parametrize("name", MODES)
async def test_a_stream_is_relayed_and_settled(name: str) -> None:
    make, stream = MODES[name]
    rig = Rig(make(), [fixture(stream)])
    batches = await rig.run()
    assert b"".join(batches).rstrip().endswith(b'{"type":"message_stop"}')
    settlement = rig.assert_settled_once()
    assert settlement.outcome == "completed"
    assert not settlement.is_estimated
    assert settlement.usage.output_tokens is not None
    assert settlement.stop_reason in ("end_turn", "tool_use")
    assert settlement.first_token is not None


async def test_pure_dialect_is_byte_identical_for_any_chop() -> None:
    data = fixture("anthropic-tools.sse")
    for size in (1, 2, 3, 7, 64, 1000):
        rig = Rig(verbatim(), [data[i : i + size] for i in range(0, len(data), size)])
        assert b"".join(await rig.run()) == data


CUTTABLE = [
    pytest.param(path.name, way, reset, id=f"{path.stem}-{way}-{'reset' if reset else 'close'}")
    for path in sorted(STREAMS.glob("*.sse"))
    for way in (
        ("pure", "edited", "adapter") if path.name.startswith("anthropic") else ("adapter",)
    )
    for reset in (False, True)
]
UPSTREAMS_OWN_END = re.compile(
    rb"message_stop|event: error|event: response\.(completed|incomplete)"
    rb'|"finish_?[rR]eason":\s*"|"blockReason"'
    # Of servers that do not say how it ended: that nothing follows, or what was used.
    rb'|\[DONE\]|"choices":\[\],"usage":\{'
)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "way", "reset"), CUTTABLE)
async def test_cut_at_every_offset_is_one_end_and_one_settlement(
    name: str, way: str, reset: bool
) -> None:
    """Whatever is left of an answer: a complete one only where the upstream had ended it itself,
    else exactly one fault; always one settlement."""
    data = fixture(name)

    def mode() -> ExchangeMode[bytes]:
        if way == "adapter":
            return translated(
                max((row for row in PROVIDER_SPECS if name.startswith(f"{row}-")), key=len)
            )
        return verbatim(edited=way == "edited")

    async def outcome(piece: bytes) -> tuple[bytes | None, Rig]:
        one = Rig(mode(), [part for part in (piece, CUT if reset else b"") if part])
        try:
            return b"".join(await one.run()), one
        except UpstreamFault:
            return None, one

    ended = UPSTREAMS_OWN_END.search(data)
    for offset in range(len(data)):
        sent, one = await outcome(data[:offset])
        settlement = one.assert_settled_once()
        assert one.upstream.reply.closed == 1
        if sent is None:
            assert settlement.outcome in ("upstream_failed", "rejected")
            continue
        assert ended is not None
        assert offset > ended.start(), "an end that the upstream never sent"
        last = sent.rstrip().rpartition(b"\n\n")[2]
        if settlement.outcome == "completed":
            assert b'"message_stop"' in last
        else:
            assert settlement.outcome == "upstream_failed"
            assert last.startswith(b"event: error")


async def test_frames_that_were_cut_are_never_passed_on() -> None:
    data = fixture("anthropic-text.sse")
    first = data.index(b"content_block_delta")
    offset = data.index(b"event: content_block_delta", first) + 30
    rig = Rig(verbatim(), [data[:offset]])
    got = []
    with pytest.raises(UpstreamBroken), rig.exchange as exchange:
        answer = await exchange.start()
        got.append(answer.first_batch)
        await exchange.read_batch()
    assert b"".join(got).endswith(b"\n\n")
    assert data.startswith(b"".join(got))


@pytest.mark.parametrize(
    ("script", "code", "seconds"),
    [
        ([SILENCE], "first_token_timeout", 3),
        ([b": ping\n\n", SILENCE], "first_token_timeout", 3),
        (["START", SILENCE], "inter_chunk_timeout", 4),
        (["START", *[3.5, "DELTA"] * 5, SILENCE], "total_timeout", 20),
    ],
)
async def test_each_timer_has_its_own_code(script: list, code: str, seconds: float) -> None:
    data = fixture("anthropic-text.sse")
    head = data.index(b"event: content_block_delta")
    delta = data[head : data.index(b"\n\n", head) + 2]
    start = data[:head] + delta
    filled = [{"START": start, "DELTA": delta}.get(step, step) for step in script]
    rig = Rig(verbatim(), filled, timers=TIMERS)
    with pytest.raises(UpstreamTimeout) as caught:
        await rig.run()
    assert caught.value.code == code
    assert caught.value.status == 504
    assert rig.clock.now - 1000 == pytest.approx(seconds)
    assert rig.assert_settled_once().outcome == "upstream_failed"


async def test_a_json_answer_may_think_until_total() -> None:
    body = fixture("openai-text.json")
    rig = Rig(translated("openai", stream=False), [body], headers=JSON, timers=TIMERS)
    await rig.run()
    assert rig.upstream.deadlines == (1001, 1020)
    slow = Rig(translated("openai", stream=False), [SILENCE], headers=JSON, timers=TIMERS)
    with pytest.raises(UpstreamTimeout) as caught:
        await slow.run()
    assert caught.value.code == "total_timeout"


async def test_a_rejection_is_mapped_in_one_mode_and_passed_on_in_the_other() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    passed = Rig(verbatim(), [body], status=529, headers=JSON)
    assert await passed.run() == [body]
    assert passed.assert_settled_once().outcome == "rejected"
    mapped = Rig(translated("anthropic"), [body], status=529, headers=JSON)
    with pytest.raises(UpstreamRejected) as caught:
        await mapped.run()
    assert (caught.value.type, caught.value.status) == ("overloaded_error", 529)
    settlement = mapped.assert_settled_once()
    assert settlement.outcome == "rejected"
    assert settlement.usage.output_tokens is None


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (302, {"location": "https://elsewhere.test"}, "upstream_redirect"),
        (200, {"content-type": "text/html"}, "upstream_content_type"),
        (200, {}, "upstream_content_type"),
        (204, {}, "upstream_content_type"),
    ],
)
async def test_what_is_no_answer_is_broken(status: int, headers: dict, code: str) -> None:
    rig = Rig(verbatim(), [b"<html>"], status=status, headers=headers)
    with pytest.raises(UpstreamBroken) as caught:
        await rig.run()
    assert caught.value.code == code
    assert "html" not in caught.value.message
    assert rig.assert_settled_once().outcome == "upstream_failed"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/octet-stream", "Text/Event-Stream"]
)
@pytest.mark.parametrize(
    "name", ["openai-text", "oai-resp-text", "gemini-text", "anthropic-text", "verbatim"]
)
async def test_the_body_of_an_answer_says_what_it_is(name: str, kind: str) -> None:
    """Under whatever label, a stream for JSON and JSON for a stream."""
    stem = "anthropic-text" if name == "verbatim" else name
    row = max((row for row in PROVIDER_SPECS if stem.startswith(f"{row}-")), key=len)
    for stream in (False, True):
        for form in ("json", "sse"):
            make = verbatim if name == "verbatim" else partial(translated, row)
            headers = {"content-type": kind} if kind else {}
            rig = Rig(make(stream=stream), [fixture(f"{stem}.{form}")], headers=headers)
            sent = b"".join(await rig.run())
            assert rig.assert_settled_once().outcome == "completed"
            assert sent.startswith(b"event: message_start" if stream else b"{")


async def test_usage_that_never_came_is_estimated_not_zero() -> None:
    data = fixture("openai-text.sse")
    lines = [part for part in data.split(b"\n\n") if b'"usage":{' not in part]
    rig = Rig(translated("openai"), [b"\n\n".join(lines)])
    await rig.run()
    settlement = rig.assert_settled_once()
    assert settlement.is_estimated
    assert settlement.usage.input_tokens
    assert settlement.usage.output_tokens


@pytest.mark.parametrize("make", [verbatim, lambda: translated("anthropic")])
@pytest.mark.parametrize("ending", [CUT, FOREVER])
async def test_the_count_a_stream_begins_with_is_not_what_it_used(make, ending) -> None:
    data = fixture("anthropic-text.sse")
    head = data.index(b"event: content_block_delta")
    delta = data[head : data.index(b"\n\n", head) + 2]
    rig = Rig(make(), [data[:head], *[delta] * 50, ending])
    task = asyncio.create_task(rig.run())
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, UpstreamBroken)):
        await task
    settlement = rig.assert_settled_once()
    assert settlement.is_estimated
    assert (settlement.usage.output_tokens or 0) >= 50


@pytest.mark.parametrize("steps", range(4))
async def test_a_caller_who_leaves_at_any_await_is_settled_once(steps: int) -> None:
    data = fixture("anthropic-text.sse")
    head = data.index(b"event: content_block_delta")
    rig = Rig(verbatim(), [data[:head], FOREVER])
    task = asyncio.create_task(rig.run())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if steps == 0:  # it never ran
        assert not rig.settlements
        return
    assert rig.assert_settled_once().outcome == "client_left"
    assert rig.upstream.reply.closed == (1 if steps > 1 else 0)


async def test_a_request_that_cannot_be_said_reaches_nobody() -> None:
    ask = parse.parse_request(
        {
            **ASK,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "video",
                            "source": {"type": "base64", "media_type": "video/mp4", "data": "AA=="},
                        }
                    ],
                }
            ],
        }
    )
    with pytest.raises(InvalidRequest):
        TranslatedMode(
            make_adapter(PROVIDER_SPECS["openai"], "x"),
            ask,
            events=encode_events,
            message=lambda _: b"",
        )


async def test_a_defect_of_ours_is_settled_too() -> None:
    rig = Rig(verbatim(), [fixture("anthropic-text.sse")])
    with pytest.raises(ZeroDivisionError), rig.exchange as exchange:
        await exchange.start()
        raise ZeroDivisionError
    assert rig.assert_settled_once().outcome == "failed"


async def test_an_upstream_error_event_is_passed_on_once_in_the_verbatim_mode() -> None:
    data = fixture("anthropic-fault-error.sse")
    rig = Rig(verbatim(), [data])
    sent = b"".join(await rig.run())
    assert sent.count(b"event: error") == 1
    assert rig.assert_settled_once().outcome == "upstream_failed"


async def test_an_emulated_stop_sequence_stops_the_upstream_at_once() -> None:
    ask = parse.parse_request(
        {**ASK, "model": "gpt-5.4", "stream": True, "stop_sequences": ["STOP"]}
    )
    mode = TranslatedMode(
        make_adapter(PROVIDER_SPECS["openai"], "x"),
        ask,
        events=encode_events,
        message=lambda _: b"",
    )
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    rig = Rig(mode, [chunk % b"one ST", chunk % b"OP two", chunk % b"three"])
    sent = b"".join(await rig.run())
    assert b"two" not in sent
    assert b'"stop_reason":"stop_sequence"' in sent
    assert rig.upstream.reply.kept is False
    assert rig.assert_settled_once().outcome == "completed"


async def test_a_schema_that_cannot_be_streamed_may_take_its_time() -> None:
    schema = {"type": "json_schema", "schema": {"type": "object", "properties": {}}}
    ask = parse.parse_request({**ASK, "stream": True, "output_config": {"format": schema}})
    mode = TranslatedMode(
        make_adapter(PROVIDER_SPECS["groq"], "x"), ask, events=encode_events, message=lambda _: b""
    )
    rig = Rig(mode, [fixture("groq-reasoning.json")], headers=JSON, timers=TIMERS)
    sent = b"".join(await rig.run())
    assert rig.upstream.deadlines[1] == 1020
    assert sent.startswith(b"event: message_start")
    assert sent.endswith(b'{"type":"message_stop"}\n\n')


async def test_a_failure_told_inside_the_block_is_settled_as_one() -> None:
    data = fixture("anthropic-text.sse")
    rig = Rig(verbatim(), [through_first_delta(data), CUT])
    with rig.exchange as exchange:
        await exchange.start()
        with pytest.raises(UpstreamBroken):
            await exchange.read_batch()
    assert rig.assert_settled_once().outcome == "upstream_failed"
    assert rig.upstream.reply.kept is False


async def test_an_exchange_that_its_owner_ends_is_no_caller_who_left() -> None:
    data = fixture("anthropic-text.sse")
    rig = Rig(verbatim(), [through_first_delta(data), FOREVER])
    with rig.exchange as exchange:
        await exchange.start()
    assert rig.assert_settled_once().outcome == "refused"

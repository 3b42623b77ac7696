"""What is no message is no answer: the verbatim mode judges what it passes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.exchange.rig import CUT, JSON, SILENCE, SSE, Clock, Rig, Said
from tests.exchange.test_attempts import ASK, GOOD, World
from vai.codec.sse import SseDecoder, encode_events
from vai.errors import UpstreamBroken, UpstreamFault, UpstreamRejected
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.exchange.verbatim_mode import VerbatimMode
from vai.policy.timers import Timers
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import WireRequest

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
TEXT = (STREAMS / "anthropic-text.sse").read_bytes()
MESSAGE = (STREAMS / "anthropic-text.json").read_bytes()
START = TEXT[: TEXT.index(b"event: content_block_start")]
DELTA = TEXT.index(b"event: content_block_delta")
OPENED = TEXT[:DELTA]
BEGUN = TEXT[: TEXT.index(b"\n\n", DELTA) + 2]
DELTA_OF = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"%b"}}\n\n'
)
BROKEN = b'event: content_block_delta\ndata: {"type":"content_block_delta","ind\n\n'
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
ERROR = b"event: error\ndata: " + OVERLOADED + b"\n\n"


def mode(
    *, stream: bool, edited: bool = False, uses_gateway_key: bool = False
) -> ExchangeMode[bytes]:
    wire = WireRequest("POST", "/v1/messages", (), b"{}", stream)
    return VerbatimMode(
        wire,
        PROVIDER_SPECS["anthropic"],
        streaming=stream,
        edited=edited,
        uses_gateway_key=uses_gateway_key,
    )


def translated(provider: str, *, stream: bool) -> ExchangeMode[bytes]:
    adapter = make_adapter(PROVIDER_SPECS[provider], "x1")
    ask = parse.parse_request({**ASK, "stream": stream})
    return TranslatedMode(
        adapter, ask, events=encode_events, message=lambda _: b"", uses_gateway_key=True
    )


def events(data: bytes) -> list[str]:
    decoder = SseDecoder()
    return [name for name, _ in decoder.feed(data) + decoder.flush()]


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ',
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b"<html>",
        MESSAGE.rstrip()[:-1],
        MESSAGE[: len(MESSAGE) // 2],
        b'{"type":"message"}',
        b'{"type":"message","content":null}',
        b'{"type":"message","content":"text"}',
        b'{"type":"completion","content":[]}',
        b'{"choices":[{"message":{"content":"text"}}]}',
        b'{"type":"message","content":[1,null]}',
        b'{"type":"message","content":[{}]}',
        b'{"type":"message","content":[{"type":"text","text":"\\q"}]}',
        b'{"type":"message","content":[01]}',
        MESSAGE + MESSAGE,
    ],
)
async def test_what_is_no_message_is_no_200(body: bytes, stream: bool, edited: bool) -> None:
    rig = Rig(mode(stream=stream, edited=edited), [body], headers=JSON)
    with pytest.raises(UpstreamBroken) as caught:
        await rig.run()
    assert caught.value.status == 502
    assert rig.assert_settled_once().outcome == "upstream_failed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (OVERLOADED, ("overloaded_error", 529)),
        (
            b'{"error":{"message":"no such model","code":"model_not_found"}}',
            ("not_found_error", 404),
        ),
        (b'{"error":"words"}', ("provider_error", 502)),
        (b'{"error":{"code":429,"message":"slowly"}}', ("rate_limit_error", 429)),
        (b'{"detail":"The model is overloaded"}', ("overloaded_error", 529)),
        (b'{"object":"error","message":"no such model","code":404}', ("not_found_error", 404)),
        (
            b'{"type":"message","content":[],"error":{"type":"overloaded_error","message":"m"}}',
            ("overloaded_error", 529),
        ),
    ],
)
async def test_an_error_with_status_200_is_that_error(
    body: bytes, expected: tuple[str, int], stream: bool
) -> None:
    for made in (mode(stream=stream), translated("anthropic", stream=stream)):
        rig = Rig(made, [body], headers=JSON)
        with pytest.raises(UpstreamRejected) as caught:
            await rig.run()
        assert (caught.value.type, caught.value.status) == expected


@pytest.mark.parametrize("provider", list(PROVIDER_SPECS))
@pytest.mark.parametrize(
    "error",
    [
        b'{"detail":"The model is overloaded"}',
        b'{"detail":[{"loc":["body"],"msg":"The model is overloaded"}]}',
        b'{"object":"error","message":"The model is overloaded","code":500}',
        b'{"errors":[{"message":"The model is overloaded"}]}',
        b'{"error":"Busy","message":"The model is overloaded"}',
    ],
)
async def test_an_error_in_any_form_is_that_error_in_every_mode(
    provider: str, error: bytes
) -> None:
    """In JSON, in a stream, and in JSON for a stream."""
    frame = b"data: " + error + b"\n\n"
    for stream, script, headers in (
        (False, error, JSON),
        (True, frame, SSE),
        (True, b"event: error\n" + frame, SSE),
        (True, error, JSON),
    ):
        modes = [translated(provider, stream=stream)]
        modes += [mode(stream=stream)] if provider == "anthropic" else []
        for made in modes:
            with pytest.raises(UpstreamRejected) as caught:
                await Rig(made, [script], headers=headers).run()
            assert caught.value.type == "overloaded_error"
            assert caught.value.message.endswith("The model is overloaded")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini", "oai-resp", "verbatim"])
async def test_the_gateways_refused_key_is_not_the_callers(provider: str, stream: bool) -> None:
    """Also where the refusal has status 200."""
    error = b'{"type":"error","error":{"code":401,"message":"bad key sk-1","type":"%b"}}'
    error %= b"authentication_error"
    pure = provider == "verbatim"
    made = (
        mode(stream=stream, uses_gateway_key=True) if pure else translated(provider, stream=stream)
    )
    script = [b"data: " + error + b"\n\n"] if stream else [error]
    with pytest.raises(UpstreamRejected) as caught:
        await Rig(made, script, headers=SSE if stream else JSON).run()
    assert (caught.value.code, caught.value.status) == ("upstream_auth", 502)
    assert "sk-1" not in caught.value.message


async def test_a_named_error_in_plain_words_is_one() -> None:
    rig = Rig(mode(stream=True), [START, b"event: error\ndata: Overloaded\n\n"])
    with pytest.raises(UpstreamRejected) as caught:
        await rig.run()
    assert caught.value.type == "overloaded_error"


@pytest.mark.parametrize("edited", [False, True])
async def test_official_clients_read_frames_without_names(edited: bool) -> None:
    """They drop an event whose name is not that of its type."""
    bare = b"".join(line + b"\n\n" for line in TEXT.split(b"\n") if line.startswith(b"data"))
    odd = TEXT.replace(b"event: content_block_delta", b"event: delta")
    for data in (bare, odd):
        for size in (37, 100_000):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            sent = b"".join(await Rig(mode(stream=True, edited=edited), pieces).run())
            assert events(sent) == events(TEXT)
            if not edited:
                assert sent == TEXT


async def test_bytes_that_are_no_text_are_replaced() -> None:
    """The official clients decode strictly."""
    body = b'{"type":"message","content":[{"type":"text","text":"a\xff"}]}'
    sent = (await Rig(mode(stream=False), [body], headers=JSON).run())[0]
    assert sent == body.replace(b"\xff", b"\xef\xbf\xbd")
    data = BEGUN + DELTA_OF % b"a\xff" + TEXT[len(BEGUN) :]
    streamed = b"".join(await Rig(mode(stream=True), [data]).run())
    assert streamed == data.replace(b"\xff", b"\xef\xbf\xbd")


async def test_a_message_behind_a_mark_of_byte_order_is_one() -> None:
    sent = await Rig(mode(stream=False), [b"\xef\xbb\xbf" + MESSAGE], headers=JSON).run()
    assert sent == [MESSAGE]


@pytest.mark.parametrize("message", [b"", b',"message":null', b',"message":{}'])
async def test_a_stream_begins_with_a_message(message: bytes) -> None:
    start = b'event: message_start\ndata: {"type":"message_start"%b}\n\n' % message
    sent = b"".join(await Rig(mode(stream=True), [start + TEXT[len(START) :]]).run())
    begun = orjson.loads(sent[sent.index(b"{") : sent.index(b"\n\n")])["message"]
    assert (begun["content"], begun["usage"], begun["role"]) == ([], {}, "assistant")
    assert sent.endswith(TEXT[len(START) :])


@pytest.mark.parametrize(
    ("said", "next_target"),
    [
        (Said([OVERLOADED], headers=JSON), False),
        (Said([ERROR]), False),
        (Said([START, ERROR]), False),
        (Said([b'{"a": '], headers=JSON), True),
        (Said([START, BROKEN]), True),
        (Said([START + BROKEN]), True),
        (Said([START, CUT]), True),
        (Said([b""]), True),
    ],
)
async def test_it_is_tried_again_and_counts_as_a_failure(said: Said, next_target: bool) -> None:
    """Where it was refused, at the same target; where it may have been worked on, at the next."""
    world = World()
    if next_target:
        targets = [world.target(said), world.target(GOOD["anthropic"], model="n")]
    else:
        targets = [world.target(said, GOOD["anthropic"])]
    rig, _plan = world.rig(*targets)
    sent = b"".join(await rig.run())
    assert sent == GOOD["anthropic"].script[0]
    assert rig.assert_settled_once().outcome == "completed"
    if next_target:
        breaker = world.health.find_breaker(targets[0].name)
        assert breaker is not None


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 100_000])
async def test_frames_are_whole_and_nothing_follows_a_broken_one(size: int) -> None:
    data = BEGUN + BROKEN + TEXT[len(BEGUN) :]
    rig = Rig(mode(stream=True), [data[at : at + size] for at in range(0, len(data), size)])
    sent = []
    with pytest.raises(UpstreamBroken), rig.exchange as exchange:
        sent.append((await exchange.start()).first_batch)
        while (batch := await exchange.read_batch()) is not None:
            sent.append(batch)
    assert b"".join(sent) == BEGUN
    assert rig.assert_settled_once().outcome == "upstream_failed"


@pytest.mark.parametrize(
    "frame",
    [
        b"data: null\n\n",
        b"data: [DONE]\n\n",
        b"data: {}\n\n",
        b'data: {"type":7}\n\n',
        b'data: {"a":1}\n\ndata: ,{"b":2}\n\n',
        b'data: {"type":"ping","a":1\n\ndata: "type":"ping"}\n\n',
        b"event: ping\rdata: {\r\r",
        b'data: {"type":"ping"}\ndata: {"type":"ping"}\n\n',
        b'data: {"type":"ping"},{"type":"ping"\n\ndata: "a":1}\n\n',
        b'data: {"type":"content_block_delta","delta":null}\n\n',
        b'data: {"type":"content_block_delta","delta":7}\n\n',
        b'data: {"type":"content_block_start","index":0}\n\n',
        START,
    ],
)
async def test_what_is_no_event_ends_the_stream(frame: bytes) -> None:
    for script in ([BEGUN + frame + TEXT[len(BEGUN) :]], [BEGUN, frame, TEXT[len(BEGUN) :]]):
        with pytest.raises(UpstreamBroken):
            await Rig(mode(stream=True), script).run()


@pytest.mark.parametrize(
    "frame",
    [
        b": a comment\n\n",
        b"event: ping\n\n",
        b"data:\n\n",
        b'event: tomorrow\ndata: {"type":"tomorrow","delta":"text","content_block":[1]}\n\n',
        b'event:ping\ndata:{"type":\ndata: "ping"}\n\n',
        b'event: ping\r\ndata: {"type":"ping"}\r\n\r\n',
        DELTA_OF % b"\\ud83d",
        DELTA_OF % b"\\\\ud83d",
    ],
)
async def test_what_readers_understand_keeps_its_bytes(frame: bytes) -> None:
    data = BEGUN + frame + TEXT[len(BEGUN) :]
    rig = Rig(mode(stream=True), [data])
    assert b"".join(await rig.run()) == data
    assert rig.assert_settled_once().outcome == "completed"


async def test_the_end_of_the_stream_ends_its_last_frame() -> None:
    rig = Rig(mode(stream=True), [TEXT.rstrip(b"\n")])
    assert b"".join(await rig.run()) == TEXT.rstrip(b"\n") + b"\n\n"
    assert rig.assert_settled_once().outcome == "completed"


@pytest.mark.parametrize("edited", [False, True])
async def test_a_message_for_a_stream_is_streamed(edited: bool) -> None:
    pieces = [MESSAGE[at : at + 50] for at in range(0, len(MESSAGE), 50)]
    rig = Rig(mode(stream=True, edited=edited), pieces, headers=JSON)
    sent = b"".join(await rig.run())
    assert events(sent)[0] == "message_start"
    assert events(sent)[-2:] == ["message_delta", "message_stop"]
    model = b'"model":"anthropic/' if edited else b'"model":"claude'
    assert model in sent
    settlement = rig.assert_settled_once()
    assert settlement.outcome == "completed"
    assert settlement.usage.output_tokens == orjson.loads(MESSAGE)["usage"]["output_tokens"]


@pytest.mark.parametrize("edited", [False, True])
async def test_a_message_with_half_a_character_is_a_message(edited: bool) -> None:
    body = b'{"type":"message","model":"m","content":[{"type":"text","text":"\\ud83d"}],"usage":{}}'
    sent = (await Rig(mode(stream=False, edited=edited), [body], headers=JSON).run())[0]
    if edited:
        assert orjson.loads(sent)["content"][0]["text"] == "\N{REPLACEMENT CHARACTER}"
    else:
        assert sent == body


async def test_an_error_after_content_is_passed_on_in_the_providers_words() -> None:
    rig = Rig(mode(stream=True), [BEGUN, ERROR, TEXT[len(BEGUN) :]])
    assert b"".join(await rig.run()) == BEGUN + ERROR
    assert rig.assert_settled_once().outcome == "upstream_failed"


async def test_an_error_in_other_words_is_told_in_those_that_clients_know() -> None:
    error = b'data: {"error":{"message":"the server is overloaded","type":"server_error"}}\n\n'
    rig = Rig(mode(stream=True), [BEGUN, error])
    with pytest.raises(UpstreamRejected) as caught:
        await rig.run()
    assert caught.value.type == "overloaded_error"


HOLDING = Timers(ping=15, first_token=100, total=300)


@pytest.mark.parametrize(
    "first", [START, OPENED, START + b'event: ping\ndata: {"type":"ping"}\n\n']
)
async def test_the_beginning_waits_for_content(first: bytes) -> None:
    clock = Clock()
    rig = Rig(mode(stream=True), [first, 9.0, TEXT[len(first) :]], timers=HOLDING, clock=clock)
    with rig.exchange as exchange:
        assert (await exchange.start()).first_batch.startswith(first)
        assert clock.now == pytest.approx(1009)
        while await exchange.read_batch() is not None:
            pass
    assert rig.assert_settled_once().outcome == "completed"


async def test_the_beginning_waits_no_longer_than_it_may() -> None:
    clock = Clock()
    script = [START, SILENCE, 20.0, TEXT[len(START) :]]
    rig = Rig(mode(stream=True), script, timers=HOLDING, clock=clock)
    with rig.exchange as exchange:
        assert (await exchange.start()).first_batch == START
        assert clock.now == pytest.approx(1015)
        sent = START
        while (batch := await exchange.read_batch()) is not None:
            sent += batch
    assert sent == TEXT
    late = Rig(mode(stream=True), [SILENCE, START, ERROR], timers=HOLDING)
    with late.exchange as exchange:
        assert (await exchange.start()).first_batch == START


async def test_content_behind_a_released_beginning_is_noticed() -> None:
    """From the first content on, another limit holds than before it."""
    clock = Clock()
    delta = TEXT[len(OPENED) : len(BEGUN)]
    script = [OPENED, SILENCE, delta, 60.0, delta, 60.0, delta, TEXT[len(BEGUN) :]]
    rig = Rig(mode(stream=True), script, timers=HOLDING, clock=clock)
    with rig.exchange as exchange:
        await exchange.start()
        assert not exchange.mode.has_content
        await exchange.read_batch()
        assert exchange.mode.has_content
        while await exchange.read_batch() is not None:
            pass
    assert rig.assert_settled_once().first_token == pytest.approx(15)


async def test_a_beginning_that_never_ends_is_not_held_for_ever() -> None:
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    rig = Rig(mode(stream=True), [START, *[ping] * 10_000, CUT], headers=SSE)
    with pytest.raises(UpstreamFault), rig.exchange as exchange:
        first = (await exchange.start()).first_batch
        assert len(START) < len(first) < 100_000
        while await exchange.read_batch() is not None:
            pass

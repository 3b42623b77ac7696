"""What a provider has not counted is unknown in the answer, and an estimate in the books."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.exchange.rig import FOREVER, JSON, Rig
from tests.providers.test_verbatim import parsed
from vai.codec.sse import encode_events
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.exchange.verbatim_mode import VerbatimMode
from vai.policy.estimate import text_tokens
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.message import Usage
from vai.types.provider import WireRequest
from vai.types.render import message_to_wire

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello there"}]}
MODES = ["verbatim", "edited", "anthropic", "openai", "groq", "cerebras", "oai-resp", "gemini"]
MEMBERS = ("usage", "usageMetadata", "x_groq")


def cost(usage: Usage) -> float | None:
    """A price for what has been counted."""
    return None if None in (usage.input_tokens, usage.output_tokens) else 0.25


def mode(name: str, *, stream: bool) -> ExchangeMode[bytes]:
    if name in ("verbatim", "edited"):
        wire = WireRequest("POST", "/v1/messages", (), orjson.dumps(ASK), stream)
        edited = name == "edited"
        return VerbatimMode(
            wire, PROVIDER_SPECS["anthropic"], streaming=stream, edited=edited, cost=cost
        )
    ask = parse.parse_request({**ASK, "stream": stream})
    return TranslatedMode(
        make_adapter(PROVIDER_SPECS[name], "x1", input_estimate=1234, request=ask),
        ask,
        events=partial(encode_events, cost=cost),
        message=lambda found: orjson.dumps(message_to_wire(found, cost)),
    )


def format_of(name: str) -> str:
    name = "anthropic" if name in ("verbatim", "edited") else name
    return {"groq": "openai", "cerebras": "openai"}.get(name, name)


def without_usage(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_usage(item) for key, item in value.items() if key not in MEMBERS}
    return [without_usage(item) for item in value] if isinstance(value, list) else value


def uncounted_stream(name: str) -> bytes:
    """A recorded stream whose provider counts nothing."""
    frames = []
    for frame in (STREAMS / f"{format_of(name)}-text.sse").read_bytes().split(b"\n\n"):
        head, mark, data = frame.partition(b"data: ")
        if data.startswith(b"{"):
            value = without_usage(orjson.loads(data))
            if isinstance(value.get("message"), dict):
                value["message"]["usage"] = {}
            frame = head + mark + orjson.dumps(value)
        frames.append(frame)
    return b"\n\n".join(frames)


@pytest.mark.parametrize("name", MODES)
async def test_a_json_answer_tells_no_counter_that_the_provider_has_not_told(name: str) -> None:
    body = (STREAMS / f"{format_of(name)}-text.json").read_bytes()
    said = without_usage(orjson.loads(body))
    if format_of(name) == "anthropic":
        said["usage"] = {}
    rig = Rig(mode(name, stream=False), [orjson.dumps(said)], headers=JSON)
    (sent,) = await rig.run()
    assert orjson.loads(sent)["usage"] == {}
    settlement = rig.assert_settled_once()
    assert settlement.is_estimated
    assert settlement.usage.input_tokens
    assert settlement.usage.output_tokens
    assert rig.admission.charged == [settlement.usage]


@pytest.mark.parametrize("name", MODES)
async def test_a_stream_tells_numbers_where_clients_need_them_and_says_so(name: str) -> None:
    rig = Rig(mode(name, stream=True), [uncounted_stream(name)])
    events = parsed(b"".join(await rig.run()))
    (end,) = [
        event["usage"] for event in events if event["type"] == "message_delta" and "usage" in event
    ] or [None]
    if name == "verbatim":
        assert end is None
    else:
        assert end["estimated"] is True
        assert end["output_tokens"] > 0
        assert not {"total_tokens", "cost_usd", "input_tokens"} & end.keys()
    settlement = rig.assert_settled_once()
    assert settlement.is_estimated
    assert settlement.usage.input_tokens
    assert settlement.usage.output_tokens
    start = events[0]["message"]["usage"]
    if name not in ("verbatim", "edited", "anthropic"):
        assert start["input_tokens"] == 1234


@pytest.mark.parametrize("name", MODES)
async def test_what_is_counted_is_told_without_a_mark(name: str) -> None:
    rig = Rig(mode(name, stream=True), [(STREAMS / f"{format_of(name)}-text.sse").read_bytes()])
    sent = b"".join(await rig.run())
    assert b'"estimated"' not in sent
    assert not rig.assert_settled_once().is_estimated


@pytest.mark.parametrize("missing", ["input_tokens", "output_tokens"])
async def test_one_counter_alone_makes_an_estimate_of_the_other(missing: str) -> None:
    said = orjson.loads((STREAMS / "anthropic-text.json").read_bytes())
    del said["usage"][missing]
    rig = Rig(mode("edited", stream=False), [orjson.dumps(said)], headers=JSON)
    usage = orjson.loads((await rig.run())[0])["usage"]
    assert not {missing, "total_tokens", "cost_usd"} & usage.keys()
    settlement = rig.assert_settled_once()
    assert settlement.is_estimated
    assert getattr(settlement.usage, missing) is not None


@pytest.mark.parametrize("name", ["verbatim", "edited", "anthropic"])
@pytest.mark.parametrize(
    "piece", ["tokens of a text that is cut ", "a", "日本語の文章", '{"k": 1, ']
)
@pytest.mark.parametrize("kind", ["text", "thinking", "partial_json"])
async def test_an_aborted_stream_is_estimated_from_its_text(
    name: str, piece: str, kind: str
) -> None:
    data = (STREAMS / "anthropic-text.sse").read_bytes()
    types = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": types[kind], kind: piece},
    }
    frame = b"event: content_block_delta\ndata: " + orjson.dumps(delta) + b"\n\n"
    opened = data[: data.index(b"event: content_block_delta")]
    rig = Rig(mode(name, stream=True), [opened, *[frame] * 20, frame * 80, FOREVER])
    task = asyncio.create_task(rig.run())
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    settlement = rig.assert_settled_once()
    assert settlement.is_estimated
    assert settlement.usage.output_tokens == pytest.approx(text_tokens(piece * 100), abs=1)

"""A body is worked on in the same way wherever that is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import uvloop

from vai.codec.head import HeaderFields
from vai.config import Settings
from vai.errors import InvalidRequest
from vai.gateway.request.modes import choose_mode, mode_without_reasoning, prepare_target
from vai.gateway.request.preparing import LARGE_BODY, MANY_VALUES, BodyPreparer
from vai.gateway.routes.count_tokens import estimate_all, estimate_tools, make_count_request
from vai.policy.route import resolve_route
from vai.providers.registry import PROVIDER_SPECS

MODELS = [
    "claude-opus-4-8",
    "anthropic/claude-opus-4-8",
    "openai/gpt-4o",
    "openai/gpt-5.5",
    "oai-resp/gpt-5.5",
    "groq/openai/gpt-oss-120b",
    "cerebras/gpt-oss-120b",
    "gemini/gemini-3.5-flash",
    "gemini-oauth/gemini-2.5-flash",
]
SEALED = {"type": "thinking", "thinking": "hm", "signature": "vai1.groq.chat."}


def request(model: str, filler: Any, **more: Any) -> Any:
    said = {
        "model": model,
        "max_tokens": 99,
        "provider_keys": {"openai": "k"},
        "metadata": {"a": 1, "b": 2},
        "stop_sequences": ["a", "b", "c", "d", "e", "f"],
        "tools": [{"name": "odd name", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [SEALED, {"type": "text", "text": "x"}]},
            {"role": "user", "content": filler},
        ],
    } | more
    fields = HeaderFields(
        [("anthropic-beta", "a"), ("anthropic-beta", "b"), ("x-api-key", "secret")]
    )
    return SimpleNamespace(body=orjson.dumps(said), header_fields=fields)


LARGE = "x" * LARGE_BODY
MANY = [{"type": "text", "text": "x"}] * MANY_VALUES


async def _mode(preparer: BodyPreparer, asked: Any, **named: Any) -> Any:
    opened = await preparer.parse_body(asked.body)
    route = resolve_route(opened.fields.model, PROVIDER_SPECS, {})
    work = mode_without_reasoning if named.pop("mended", False) else choose_mode
    settings = Settings(**named)
    target = prepare_target(opened.fields, route, "x1", settings, uses_gateway_key=False)
    return opened, await preparer.run_work(work, opened, asked, target)


@pytest.mark.parametrize("filler", [LARGE, MANY], ids=["large", "many"])
def test_a_mode_from_elsewhere_is_the_mode_from_here(
    monkeypatch: pytest.MonkeyPatch, filler: Any
) -> None:
    async def main() -> None:
        preparer = BodyPreparer(1_000_000)
        for model in MODELS:
            for mended in (False, True):
                asked = request(model, filler, stream=True)
                opened, there = await _mode(preparer, asked, mended=mended)
                assert opened.needs_helper
                with monkeypatch.context() as patch:
                    patch.setattr("vai.gateway.request.preparing.LARGE_BODY", 1 << 30)
                    patch.setattr("vai.gateway.request.preparing.MANY_VALUES", 1 << 30)
                    here_opened, here = await _mode(preparer, asked, mended=mended)
                assert not here_opened.needs_helper
                assert opened.estimated_tokens == here_opened.estimated_tokens
                assert opened.fields.members == here_opened.fields.members
                if here is None:
                    assert there is None
                    continue
                assert there.upstream_request == here.upstream_request
                assert (there.dropped_fields, there.is_streaming) == (
                    here.dropped_fields,
                    here.is_streaming,
                )
                event = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
                assert there.feed_stream(event) == here.feed_stream(event)
        await preparer.aclose()

    uvloop.run(main())


def test_a_count_from_elsewhere_is_the_count_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        preparer = BodyPreparer(1_000_000)
        for model in MODELS:
            asked = request(model, MANY)
            opened = await preparer.parse_body(asked.body)
            route = resolve_route(model, PROVIDER_SPECS, {})
            target = prepare_target(opened.fields, route, "x1", Settings())
            there = [
                await preparer.run_work(make_count_request, opened, asked, target),
                await preparer.run_work(estimate_all, opened, asked, target),
                await preparer.run_work(estimate_tools, opened, asked, target),
            ]
            with monkeypatch.context() as patch:
                patch.setattr("vai.gateway.request.preparing.MANY_VALUES", 1 << 30)
                opened = await preparer.parse_body(asked.body)
                question, passed_on = await preparer.run_work(
                    make_count_request, opened, asked, target
                )
                assert there[1] == await preparer.run_work(estimate_all, opened, asked, target)
                assert there[2] == await preparer.run_work(estimate_tools, opened, asked, target)
            other, other_passed_on = there[0]
            assert passed_on == other_passed_on
            assert (question and question.wire) == (other and other.wire)
        await preparer.aclose()

    uvloop.run(main())


def test_small_bodies_need_no_other_process() -> None:
    async def main() -> None:
        preparer = BodyPreparer(1_000)
        opened, mode = await _mode(preparer, request("openai/gpt-4o", "hi"))
        assert not opened.needs_helper
        assert mode.upstream_request.body
        assert preparer.helper.pid is None
        await preparer.aclose()

    uvloop.run(main())


@pytest.mark.parametrize("size", [1, LARGE_BODY])
def test_the_number_of_values_is_bounded_to_the_letter(size: int) -> None:
    async def main() -> None:
        preparer = BodyPreparer(100)
        for count in (95, 96):
            # Five more: the body, its model, the text, the array, and the one inside.
            said = {"model": "m", "text": "x,[{" * size, "many": [[], *[1] * count]}
            body = orjson.dumps(said)
            if count == 95:
                assert (await preparer.parse_body(body)).fields.values == 100
            else:
                with pytest.raises(InvalidRequest, match="at most 100") as caught:
                    await preparer.parse_body(body)
                assert caught.value.code == "too_many_values"
        await preparer.aclose()

    uvloop.run(main())


@pytest.mark.parametrize("value", [b"[],", b'"",', b"{},", b"1,", b'{"a":{"a":{}}},', b'"\\"[[",'])
def test_far_too_many_values_are_refused_before_they_are_made(value: bytes) -> None:
    async def main() -> None:
        preparer = BodyPreparer(10_000)
        body = b'{"model":"m","many":[' + value * 40_000 + b"1]}"
        with pytest.raises(InvalidRequest, match="at most 10000"):
            await preparer.parse_body(body)
        await preparer.aclose()

    uvloop.run(main())

"""The official Python SDK's tool runners, as they come, against every provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool

from tests.canary import KEY
from tests.clients.rig import MODELS, PROVIDERS, SILENT, closed_early, named
from tests.e2e.test_sdk import picture as drawn

pytestmark = pytest.mark.e2e

THINKING = {"type": "enabled", "budget_tokens": 2048}
QUESTION = [{"role": "user", "content": "Call get_weather for Oslo."}]
OWN = ("total_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd")
"""The members that VAI adds to usage."""


@pytest.fixture(scope="module")
def client(gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, auth_token=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(params=PROVIDERS)
def provider(request) -> str:
    return request.param


def ended_well(message: anthropic.types.beta.BetaMessage, asked: list[str]) -> None:
    assert asked == ["Oslo"]
    assert message.stop_reason == "end_turn"
    assert message.content[-1].type == "text"
    assert 'The tool answered "fine in Oslo"' in message.content[-1].text


def test_the_tool_runner(client, provider):
    asked = []

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"fine in {city}"

    runner = client.beta.messages.tool_runner(
        model=named(provider), max_tokens=2000, messages=QUESTION, tools=[get_weather]
    )
    ended_well(runner.until_done(), asked)


def test_the_streaming_tool_runner_with_thinking(client, provider):
    asked, shown = [], []

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"fine in {city}"

    runner = client.beta.messages.tool_runner(
        model=named(provider),
        max_tokens=4000,
        messages=QUESTION,
        tools=[get_weather],
        thinking=THINKING,
        stream=True,
    )
    for stream in runner:
        message = stream.get_final_message()
        shown.append("thinking" in [block.type for block in message.content])
    ended_well(message, asked)
    assert shown == [provider not in SILENT] * 2


def test_the_asynchronous_tool_runner(gateway, provider):
    asked = []

    @beta_async_tool
    async def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"fine in {city}"

    async def ask() -> anthropic.types.beta.BetaMessage:
        async with anthropic.AsyncAnthropic(
            base_url=gateway.url, auth_token=KEY, max_retries=0
        ) as client:
            runner = client.beta.messages.tool_runner(
                model=named(provider), max_tokens=2000, messages=QUESTION, tools=[get_weather]
            )
            return await runner.until_done()

    ended_well(asyncio.run(ask()), asked)


def test_a_tool_that_shows_a_picture(client, provider):
    @beta_tool
    def take_photo() -> list:
        """Takes a photo."""
        source = {"type": "base64", "media_type": "image/png", "data": drawn(40, 30)}
        return [{"type": "image", "source": source}]

    runner = client.beta.messages.tool_runner(
        model=named(provider),
        max_tokens=2000,
        messages=[{"role": "user", "content": "Call take_photo."}],
        tools=[take_photo],
    )
    final = runner.until_done()
    assert "I see an image (40x30 PNG)" in final.content[-1].text


def test_usage_of_a_stream_is_that_of_its_end(client, provider):
    said = {
        "model": named(provider),
        "max_tokens": 4000,
        "thinking": THINKING,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    with client.messages.stream(**said) as stream:
        ends = [event.usage for event in stream if event.type == "message_delta"]
        final = stream.get_final_message()
    whole = client.messages.create(**said)
    assert final.content[-1].type == whole.content[-1].type == "text"
    kept, last, json = (usage.to_dict() for usage in (final.usage, ends[-1], whole.usage))
    for name in ("input_tokens", "output_tokens", *OWN):
        if name in kept or name not in OWN:
            assert kept[name] == last[name] == json[name], name
    assert last["total_tokens"] == json["total_tokens"]
    assert last["output_tokens_details"] == json["output_tokens_details"]


def test_a_tool_that_fails_is_told_to_the_model(client, provider):
    @beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        raise RuntimeError(f"no weather in {city}")

    runner = client.beta.messages.tool_runner(
        model=named(provider), max_tokens=2000, messages=QUESTION, tools=[get_weather]
    )
    final = runner.until_done()
    assert final.stop_reason == "end_turn"
    assert "no weather in Oslo" in final.content[-1].text


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, anthropic.BadRequestError), (429, anthropic.RateLimitError)],
)
def test_an_error_of_the_provider_ends_the_tool_runner(client, provider, status, expected):
    @beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return city

    runner = client.beta.messages.tool_runner(
        model=named(provider, f";status={status}"),
        max_tokens=2000,
        messages=QUESTION,
        tools=[get_weather],
    )
    with pytest.raises(expected) as caught:
        runner.until_done()
    assert caught.value.status_code == status


def test_a_stream_that_is_left_stops_the_provider(client, simulator, provider):
    knobs = ";tps=40;tokens=4004"  # each file of this folder has a number of its own
    with client.messages.stream(
        model=named(provider, knobs),
        max_tokens=2000,
        messages=[{"role": "user", "content": "Hello"}],
    ) as stream:
        assert next(iter(stream.text_stream))
    closed_early(simulator, MODELS[provider] + knobs)

"""The Chat Completions dialects, judged by the official SDK and its own types."""

from __future__ import annotations

import openai
import orjson
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

PROVIDERS = ["openai", "groq", "cerebras"]
COMPLETION = pydantic.TypeAdapter(ChatCompletion)
CHUNK = pydantic.TypeAdapter(ChatCompletionChunk)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city"],
}


def tool(name: str) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA}}


def ask(text: object = "Hello there", model: str = "sim-1", **more: object) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | more


def relaxed(value: dict) -> dict:
    """What groq and cerebras write and OpenAI's types do not know."""
    value = dict(value)
    if value.get("service_tier") == "on_demand":
        del value["service_tier"]
    value["choices"] = [
        {"finish_reason": None, "logprobs": None} | choice for choice in value["choices"]
    ]
    return value


def parse(stream: str) -> list[dict]:
    frames = [f for f in stream.strip().split("\n\n") if not f.startswith(":")]
    assert frames[-1] == "data: [DONE]"
    chunks = [orjson.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
    for chunk in chunks:
        CHUNK.validate_python(relaxed(chunk), strict=True)
    assert len({(c["id"], c["created"]) for c in chunks}) == 1
    return chunks


def fold(chunks: list[dict]) -> tuple[dict, str | None, dict | None]:
    """Message, finish reason and usage of a stream."""
    message: dict = {"content": "", "reasoning": "", "calls": {}}
    finish = usage = None
    for chunk in chunks:
        usage = chunk.get("usage") or chunk.get("x_groq", {}).get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["reasoning"] += delta.get("reasoning") or ""
            for call in delta.get("tool_calls", []):
                kept = message["calls"].setdefault(call["index"], {"arguments": ""})
                kept |= {k: v for k, v in call.items() if k == "id"}
                function = call.get("function", {})
                kept["name"] = function.get("name", kept.get("name"))
                kept["arguments"] += function.get("arguments", "")
            finish = choice.get("finish_reason") or finish
    return message, finish, usage


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "body",
    [
        ask(),
        ask("Ünïcode ☃ 🎈", model="sim-1;echo"),
        ask(max_completion_tokens=5),
        ask(stop=["simulated"]),
        ask(reasoning_effort="low"),
        ask("get_weather and read_clock in Oslo", tools=[tool("get_weather"), tool("read_clock")]),
        ask(tools=[tool("get_weather")], tool_choice="required", max_tokens=4),
        ask(model="sim-1;tokens=300;chunk=7;ping=5"),
        ask(response_format={"type": "json_object"}),
    ],
)
def test_stream_and_json_say_the_same_and_fit_the_sdk_types(using, provider, body):
    async def check(world):
        whole = await world.complete(provider, body)
        assert whole.status_code == 200, whole.text
        COMPLETION.validate_python(relaxed(whole.json()), strict=True)
        asked = body | {"stream": True, "stream_options": {"include_usage": True}}
        streamed = await world.complete(provider, asked)
        message, finish, usage = fold(parse(streamed.text))
        expected = whole.json()["choices"][0]
        assert message["content"] == (expected["message"]["content"] or "")
        assert message["reasoning"] == expected["message"].get("reasoning", "")
        calls = expected["message"].get("tool_calls", [])
        assert list(message["calls"].values()) == [{"id": c["id"]} | c["function"] for c in calls]
        assert finish == expected["finish_reason"]
        assert usage == whole.json()["usage"]

    using(check)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_sdk_creates_and_streams(using, provider):
    async def check(world):
        async with world.chat(provider) as client:
            answer = await client.chat.completions.create(**ask())
            text = answer.choices[0].message.content
            assert provider.lower() in text.lower()
            assert "Hello there" in text
            stream = await client.chat.completions.create(**ask(), stream=True)
            found = [chunk async for chunk in stream]
            assert "".join(c.choices[0].delta.content or "" for c in found if c.choices) == text

    using(check)


def test_each_provider_has_its_own_extras(using):
    async def check(world):
        body = ask(model="sim-1;think=5", stream=True)
        groq = parse((await world.complete("groq", body)).text)
        assert groq[0]["x_groq"]["id"].startswith("req_")
        assert groq[-1]["x_groq"]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5
        assert "usage" not in groq[-1]
        cerebras = parse((await world.complete("cerebras", body)).text)
        assert cerebras[-1]["time_info"]["total_time"] > 0
        plain = parse((await world.complete("openai", body)).text)
        assert all("usage" not in chunk for chunk in plain)
        assert not any("reasoning" in c["choices"][0]["delta"] for c in plain)

    using(check)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_loop_ends_with_words_about_the_result(using, provider):
    async def check(world):
        async with world.chat(provider) as client:
            question = {"role": "user", "content": "What is the weather in Oslo?"}
            first = await client.chat.completions.create(
                model="sim-1", messages=[question], tools=[tool("get_weather")]
            )
            assert first.choices[0].finish_reason == "tool_calls"
            call = first.choices[0].message.tool_calls[0]
            assert orjson.loads(call.function.arguments) == {"city": "Oslo", "unit": "C"}
            said = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
            result = {"role": "tool", "tool_call_id": call.id, "content": "rain, 7 degrees"}
            last = await client.chat.completions.create(
                model="sim-1", messages=[question, said, result], tools=[tool("get_weather")]
            )
            assert "rain, 7 degrees" in last.choices[0].message.content

    using(check)


def test_pictures_are_seen(using):
    async def check(world):
        url = f"data:image/png;base64,{world.picture(8, 4)}"
        content = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]
        answer = (await world.complete("openai", ask(content))).json()
        text = answer["choices"][0]["message"]["content"]
        assert "2 images (8x4 PNG, of unknown size)" in text

    using(check)


def test_json_schema_is_satisfied(using):
    async def check(world):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        body = ask("Weather in Rome?", response_format=wanted)
        answer = (await world.complete("openai", body)).json()
        found = orjson.loads(answer["choices"][0]["message"]["content"])
        assert found == {"city": "Rome", "unit": "C"}
        groq = await world.complete("groq", body | {"stream": True})
        assert groq.status_code == 400

    using(check)


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
REFUSALS = [
    ("openai", {"foo": 1}, "Unknown parameter: 'foo'."),
    ("groq", {"logprobs": True}, "property 'logprobs' is unsupported"),
    ("cerebras", {"metadata": {}}, "body.metadata: property"),
    ("openai", {"tools": []}, "Invalid 'tools': empty array"),
    ("openai", {"stream_options": {"include_usage": True}}, "'stream_options' parameter"),
    ("openai", {"tool_choice": "auto"}, "only allowed when 'tools'"),
    ("openai", {"stop": list("abcde")}, "between 1 and 4"),
    ("openai", {"temperature": 2.5}, "temperature"),
    ("openai", {"model": "gpt-5.4", "max_tokens": 5}, "max_completion_tokens"),
    ("openai", {"messages": []}, "empty array"),
    ("openai", {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ("openai", {"messages": [{"role": "user", "content": None}]}, "expected a string"),
    (
        "openai",
        {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]},
        "must be a response to a preceding",
    ),
    (
        "openai",
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "user", "content": "x"},
            ]
        },
        "did not have response messages: c1",
    ),
    (
        "groq",
        {"messages": [{"role": "assistant", "content": "x", "function_call": None}]},
        "must not be null",
    ),
    ("groq", {"n": 2}, "at most 1"),
    (
        "groq",
        {"reasoning_format": "parsed", "include_reasoning": True},
        "cannot specify both",
    ),
    ("openai", {"tools": [tool("x" * 65)]}, "does not match pattern"),
]


@pytest.mark.parametrize(("provider", "change", "words"), REFUSALS)
def test_a_wrong_request_is_refused_in_the_right_words(using, provider, change, words):
    async def check(world):
        answer = await world.complete(provider, ask() | change)
        assert answer.status_code == 400, answer.text
        body = answer.json()
        error = body if provider == "cerebras" else body["error"]
        assert error["type"] == "invalid_request_error"
        assert words in error["message"]

    using(check)


@pytest.mark.parametrize(
    ("provider", "status", "code"),
    [
        ("openai", 400, None),
        ("openai", 401, "invalid_api_key"),
        ("openai", 403, "unsupported_country_region_territory"),
        ("openai", 404, "model_not_found"),
        ("openai", 429, "rate_limit_exceeded"),
        ("openai", 500, None),
        ("openai", 503, "slow_down"),
        ("groq", 413, "rate_limit_exceeded"),
        ("groq", 498, "capacity_exceeded"),
        ("cerebras", 401, "wrong_api_key"),
        ("cerebras", 402, "billing_hard_limit_reached"),
        ("cerebras", 429, "request_quota_exceeded"),
    ],
)
def test_every_status_has_its_body(using, provider, status, code):
    async def check(world):
        answer = await world.complete(provider, ask(model=f"sim-1;status={status}"))
        assert answer.status_code == status
        assert answer.headers["x-request-id"]
        body = answer.json()
        error = body if provider == "cerebras" else body["error"]
        assert error.get("code") == code
        assert ("retry-after" in answer.headers) == (status == 429)
        async with world.chat(provider) as client:
            with pytest.raises(openai.APIStatusError):
                await client.chat.completions.create(**ask(model=f"sim-1;status={status}"))

    using(check)


def test_quota_and_page_errors(using):
    async def check(world):
        quota = await world.complete(
            "openai", ask(model="sim-1;status=429;code=insufficient_quota")
        )
        assert quota.json()["error"]["type"] == "insufficient_quota"
        assert "retry-after" not in quota.headers
        page = await world.complete("openai", ask(model="sim-1;status=502;html"))
        assert page.status_code == 502
        assert page.headers["content-type"].startswith("text/html")
        assert page.text.startswith("<!DOCTYPE html>")

    using(check)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_credentials_are_demanded(using, provider):
    async def check(world):
        path = {"openai": "/openai", "groq": "/groq/openai", "cerebras": "/cerebras"}[provider]
        none = await world.http.post(f"{path}/v1/chat/completions", json=ask())
        assert none.status_code == 401
        async with world.chat(provider, "sk-invalid-key-0001") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.chat.completions.create(**ask())
        assert "sk-invalid-key-0001" not in str(caught.value)

    using(check)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_failing_stream_carries_the_providers_own_error(using, provider):
    async def check(world):
        answer = await world.complete(provider, ask(model="sim-1;error_at=2", stream=True))
        frames = answer.text.strip().split("\n\n")
        last = orjson.loads(frames[-1].removeprefix("data: "))
        assert last.get("error") or last["x_groq"]["error"]
        assert ("status_code" in last) == (provider == "cerebras")

    using(check)


def test_tools_while_reasoning_are_sent_elsewhere(using):
    async def check(world):
        body = ask(model="gpt-5.6", tools=[tool("f")])
        for effort, status in (("none", 200), ("high", 400)):
            answer = await world.complete("openai", body | {"reasoning_effort": effort})
            assert answer.status_code == status
        assert "/v1/responses" in answer.json()["error"]["message"]

    using(check)


@pytest.mark.parametrize("provider", ["openai", "groq", "cerebras"])
def test_a_script_in_neutral_words_is_told_in_this_dialect(using, provider):
    async def check(world):
        source = {"url": "https://a", "title": "A"}
        usage = {"input": 100, "output": 50, "thinking": 9, "cache_read": 60, "cache_write": 7}
        await world.script(
            "my",
            {"type": "search", "query": "q", "sources": [source]},
            {"type": "text", "text": "Found.", "sources": [source]},
            {"type": "tool", "name": "f", "input": {"x": 1}},
            {"type": "tool", "name": "g"},
            usage=usage,
        )
        body = {"model": "my", "messages": [{"role": "user", "content": "Hi"}]}
        whole = (await world.complete(provider, body)).json()
        message = whole["choices"][0]["message"]
        assert message["content"] == "Found."
        assert [call["function"]["name"] for call in message["tool_calls"]] == ["f", "g"]
        assert whole["usage"]["prompt_tokens"] == 100
        assert whole["usage"]["prompt_tokens_details"]["cached_tokens"] == 60
        streamed = (await world.complete(provider, body | {"stream": True})).text
        if provider == "openai":
            assert message["annotations"][0]["url_citation"]["url"] == "https://a"
            assert whole["usage"]["prompt_tokens_details"]["cache_write_tokens"] == 7
            assert '"annotations":[{"type":"url_citation"' in streamed
        refused = await world.complete(provider, body | {"model": "sim-1;refuse"})
        said = refused.json()["choices"][0]["message"]
        assert (said.get("refusal") or said["content"]).startswith("I'm sorry")
        streamed = await world.complete(provider, body | {"model": "sim-1;refuse", "stream": True})
        assert ('"refusal":"I' in streamed.text) == (provider == "openai")

    using(check)

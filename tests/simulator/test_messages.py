"""The Messages dialect, judged by the official SDK and its own types."""

from __future__ import annotations

import anthropic
import orjson
import pydantic
import pytest
from anthropic.types import Message, RawMessageStreamEvent

EVENT = pydantic.TypeAdapter(RawMessageStreamEvent)
MESSAGE = pydantic.TypeAdapter(Message)
WEATHER = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city", "days"],
    },
}
CLOCK = {"name": "get_clock", "input_schema": {"type": "object", "properties": {}}}


def ask(text: object = "Hello there", model: str = "sim-1", **more: object) -> dict:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "max_tokens": 400, "messages": messages} | more


def parse(stream: str) -> list[dict]:
    """The events of a stream, each checked against the SDK's type and its own name."""
    found = []
    for frame in stream.strip().split("\n\n"):
        name, data = frame.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        if event["type"] not in ("ping", "error"):
            EVENT.validate_python(event, strict=True)
        found.append(event)
    return found


def fold(events: list[dict]) -> dict:
    """A stream put together again, by the rules of the wire alone."""
    message: dict = {}
    partial: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                if delta["type"] == "citations_delta":
                    block["citations"].append(delta["citation"])
                elif delta["type"] == "input_json_delta":
                    partial[event["index"]] = (
                        partial.get(event["index"], "") + delta["partial_json"]
                    )
                else:
                    member = delta["type"].removesuffix("_delta")
                    block[member] += delta[member]
            case "content_block_stop":
                if event["index"] in partial:
                    message["content"][event["index"]]["input"] = orjson.loads(
                        partial[event["index"]]
                    )
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    assert [e["type"] for e in events].count("message_stop") == 1
    assert events[-1]["type"] == "message_stop"
    return message


@pytest.mark.parametrize(
    "body",
    [
        ask(),
        ask("Ünïcode ☃ 🎈", model="sim-1;echo"),
        ask(max_tokens=5),
        ask(max_tokens=0),
        ask(stop_sequences=["simulated"]),
        ask(thinking={"type": "adaptive"}),
        ask(thinking={"type": "adaptive", "display": "omitted"}),
        ask(max_tokens=3, thinking={"type": "adaptive"}),
        ask("Use get_weather and get_clock for Paris", tools=[WEATHER, CLOCK]),
        ask(tools=[WEATHER], tool_choice={"type": "any"}, max_tokens=400),
        ask(model="sim-1;tokens=300;chunk=7"),
        ask(model="sim-1;stop=refusal"),
        ask(model="sim-1;tool=made_up;calls=3"),
        ask(model="sim-1;search=2"),
        ask("search the news", tools=[{"type": "web_search_20260209", "name": "web_search"}]),
        ask(model="sim-1;run"),
        ask(model="sim-1;refuse"),
        ask(model="sim-1;think=5;sealed"),
        ask(model="sim-1;cached=3;cache_write=2"),
        ask(output_config={"format": {"type": "json_schema", "schema": WEATHER["input_schema"]}}),
    ],
)
def test_stream_and_json_say_the_same_and_fit_the_sdk_types(using, body):
    async def check(world):
        whole = await world.messages(body)
        assert whole.status_code == 200, whole.text
        MESSAGE.validate_json(whole.content, strict=True)
        streamed = await world.messages(body | {"stream": True})
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert fold(parse(streamed.text)) == whole.json()

    using(check)


def test_the_sdk_creates_and_streams(using):
    async def check(world):
        async with world.anthropic() as client:
            message = await client.messages.create(**ask())
            assert "Anthropic" in message.content[0].text
            assert "Hello there" in message.content[0].text
            assert message.stop_reason == "end_turn"
            async with client.messages.stream(**ask()) as stream:
                text = "".join([piece async for piece in stream.text_stream])
                final = await stream.get_final_message()
            assert text == message.content[0].text
            assert final.usage.output_tokens == message.usage.output_tokens
            counted = await client.messages.count_tokens(model="sim-1", messages=ask()["messages"])
            assert counted.input_tokens == message.usage.input_tokens

    using(check)


def test_limits_and_stops_are_honoured(using):
    async def check(world):
        short = (await world.messages(ask(max_tokens=7))).json()
        assert short["stop_reason"] == "max_tokens"
        assert short["usage"]["output_tokens"] == 7
        stopped = (await world.messages(ask(stop_sequences=["zzz", "simulated"]))).json()
        assert stopped["stop_reason"] == "stop_sequence"
        assert stopped["stop_sequence"] == "simulated"
        assert "simulated" not in stopped["content"][0]["text"]
        exact = (await world.messages(ask(model="sim-1;tokens=123"))).json()
        assert exact["usage"]["output_tokens"] == 123

    using(check)


def test_a_tool_loop_ends_with_words_about_the_result(using):
    async def check(world):
        async with world.anthropic() as client:
            tools = [WEATHER, CLOCK]
            question = {"role": "user", "content": "The weather and the clock in Paris, please"}
            first = await client.messages.create(
                model="sim-1", max_tokens=300, tools=tools, messages=[question]
            )
            assert first.stop_reason == "tool_use"
            calls = [b for b in first.content if b.type == "tool_use"]
            assert [c.name for c in calls] == ["get_weather", "get_clock"]
            assert calls[0].input == {"city": "Paris", "days": 2}
            one = await client.messages.create(
                model="sim-1",
                max_tokens=300,
                tools=tools,
                tool_choice={"type": "auto", "disable_parallel_tool_use": True},
                messages=[question],
            )
            assert len([b for b in one.content if b.type == "tool_use"]) == 1
            results = [
                {"type": "tool_result", "tool_use_id": c.id, "content": f"{c.name}: 21 degrees"}
                for c in calls
            ]
            last = await client.messages.create(
                model="sim-1",
                max_tokens=300,
                tools=tools,
                messages=[
                    question,
                    {"role": "assistant", "content": first.to_param()["content"]},
                    {"role": "user", "content": results},
                ],
            )
            assert last.stop_reason == "end_turn"
            assert "21 degrees" in last.content[0].text

    using(check)


def test_thinking_is_sealed_and_a_broken_seal_is_refused(using):
    async def check(world):
        body = ask(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
        answer = (await world.messages(body)).json()
        thought = answer["content"][0]
        assert thought["type"] == "thinking"
        assert thought["signature"]
        assert answer["usage"]["output_tokens_details"]["thinking_tokens"] > 0
        said = [*body["messages"], {"role": "assistant", "content": answer["content"]}]
        again = body | {"messages": [*said, {"role": "user", "content": "And?"}]}
        assert (await world.messages(again)).status_code == 200
        thought["thinking"] += "!"
        refused = await world.messages(again)
        assert refused.status_code == 400
        assert "Invalid `signature`" in refused.json()["error"]["message"]

    using(check)


def test_pictures_are_seen(using):
    async def check(world):
        source = {"type": "base64", "media_type": "image/png", "data": world.picture(37, 19)}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
        answer = (await world.messages(ask(content))).json()
        assert "an image (37x19 PNG)" in answer["content"][0]["text"]
        source["media_type"] = "image/jpeg"
        refused = await world.messages(ask(content))
        assert "appears to be a image/png image" in refused.json()["error"]["message"]

    using(check)


def test_cache_is_written_once_and_then_read(using):
    async def check(world):
        system = [{"type": "text", "text": "rule " * 500, "cache_control": {"type": "ephemeral"}}]
        first = (await world.messages(ask(system=system))).json()["usage"]
        second = (await world.messages(ask("Other", system=system))).json()["usage"]
        assert first["cache_creation_input_tokens"] > 500
        assert first["cache_read_input_tokens"] == 0
        assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"]
        assert second["cache_creation_input_tokens"] == 0
        assert 0 < second["input_tokens"] < 100
        detail = first["cache_creation"]
        assert detail["ephemeral_5m_input_tokens"] == first["cache_creation_input_tokens"]

    using(check)


REFUSALS = [
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"max_tokens": None}, "max_tokens"),
    ({"messages": []}, "at least one message"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
    ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "Input tag 'audio'"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]},
        "messages.0.content.0.text.x: Extra inputs",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}],
                }
            ]
        },
        "unexpected `tool_use_id`",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}],
                },
                {"role": "user", "content": "y"},
            ]
        },
        "without `tool_result` blocks",
    ),
    ({"tools": [WEATHER, WEATHER]}, "must be unique"),
    ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "match pattern"),
    ({"tool_choice": {"type": "any"}}, "while providing tools"),
    ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "1024"),
    ({"temperature": 3}, "temperature"),
    ({"stop_sequences": [" "]}, "non-whitespace"),
    ({"metadata": {"trace": "1"}}, "metadata.trace: Extra"),
    ({"model": "sim-1;nonsense=1"}, "unknown knob"),
    ({"model": "sim-1;ttft=soon"}, "unreadable knob"),
]


@pytest.mark.parametrize(("change", "words"), REFUSALS, ids=[w for _, w in REFUSALS])
def test_a_wrong_request_is_refused_in_the_right_words(using, change, words):
    async def check(world):
        answer = await world.messages(ask() | change)
        assert answer.status_code == 400
        body = answer.json()
        assert body["type"] == "error"
        assert body["error"]["type"] == "invalid_request_error"
        assert words in body["error"]["message"]
        assert body["request_id"] == answer.headers["request-id"]

    using(check)


def test_sampling_is_refused_by_the_new_version_only(using):
    async def check(world):
        body = ask(temperature=0.5)
        assert (await world.messages(body)).status_code == 200
        refused = await world.messages(body, **{"anthropic-version": "2026-10-21"})
        assert refused.status_code == 400

    using(check)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (402, "billing_error", anthropic.APIStatusError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (413, "request_too_large", anthropic.APIStatusError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (503, "api_error", anthropic.InternalServerError),
        (504, "timeout_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.InternalServerError),
    ],
)
def test_every_status_has_its_body(using, status, kind, error):
    async def check(world):
        async with world.anthropic() as client:
            with pytest.raises(error) as caught:
                await client.messages.create(**ask(model=f"sim-1;status={status};retry_after=3"))
        assert caught.value.status_code == status
        assert caught.value.body["error"]["type"] == kind
        assert caught.value.response.headers["retry-after"] == "3"

    using(check)


def test_credentials_are_demanded(using):
    async def check(world):
        none = await world.http.post("/anthropic/v1/messages", json=ask())
        assert none.status_code == 401
        assert none.json()["error"]["type"] == "authentication_error"
        async with world.anthropic("sk-invalid") as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(**ask())

    using(check)


def test_a_failing_stream_ends_with_an_error_event(using):
    async def check(world):
        answer = await world.messages(ask(model="sim-1;error_at=3", stream=True))
        events = parse(answer.text)
        assert [e["type"] for e in events].count("content_block_delta") == 3
        assert events[-1]["error"]["type"] == "overloaded_error"

    using(check)


def test_a_script_in_neutral_words_is_told_in_this_dialect(using):
    async def check(world):
        source = {"url": "https://a", "title": "A"}
        await world.script(
            "my",
            {"type": "thinking", "text": "Hm."},
            {"type": "thinking", "text": "secret", "hidden": True},
            {"type": "search", "query": "q", "sources": [source]},
            {"type": "text", "text": "Found.", "sources": [source]},
            {"type": "code", "code": "1/0", "output": "ZeroDivisionError", "failed": True},
            {"type": "tool", "name": "f", "input": {"x": 1}},
            {"type": "tool", "name": "g"},
            usage={"input": 100, "output": 50, "thinking": 9, "cache_read": 60, "cache_write": 7},
        )
        answer = await world.messages(ask(model="my", stream=True))
        whole = fold(parse(answer.text))
        assert [block["type"] for block in whole["content"]] == [
            "thinking",
            "redacted_thinking",
            "server_tool_use",
            "web_search_tool_result",
            "text",
            "server_tool_use",
            "code_execution_tool_result",
            "tool_use",
            "tool_use",
        ]
        assert whole["content"][4]["citations"][0]["url"] == "https://a"
        assert whole["content"][6]["content"]["return_code"] == 1
        assert whole["content"][7]["input"] == {"x": 1}
        assert whole["stop_reason"] == "tool_use"
        usage = whole["usage"]
        assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (33, 60)
        assert usage["cache_creation_input_tokens"] == 7
        assert usage["output_tokens"] == 50
        assert usage["output_tokens_details"] == {"thinking_tokens": 9}
        assert usage["server_tool_use"]["web_search_requests"] == 1
        talk = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": whole["content"][:5]},
            {"role": "user", "content": "On"},
        ]
        assert (await world.messages(ask() | {"messages": talk})).status_code == 200
        talk[1]["content"][1]["data"] = "foreign"
        assert (await world.messages(ask() | {"messages": talk})).status_code == 400

    using(check)

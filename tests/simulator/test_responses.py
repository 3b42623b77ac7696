"""The Responses dialect, judged by the official SDK and its own types."""

from __future__ import annotations

import openai
import orjson
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

EVENT = pydantic.TypeAdapter(ResponseStreamEvent)
RESPONSE = pydantic.TypeAdapter(Response)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
CLOCK = {"type": "function", "name": "get_clock", "parameters": {"type": "object"}, "strict": False}
SEARCH = {"type": "web_search"}
PYTHON = {"type": "code_interpreter", "container": {"type": "auto"}}
SOURCES = "web_search_call.action.sources"
OUTPUTS = "code_interpreter_call.outputs"
THINK = {"effort": "low", "summary": "auto"}


def ask(said: object = "Hello there", model: str = "sim-1", **more: object) -> dict:
    return {"model": model, "input": said} | more


def parse(stream: str) -> list[dict]:
    """The events of a stream, each checked against the SDK's type, its name and its number."""
    found = []
    for frame in stream.strip().split("\n\n"):
        if frame.startswith(":"):
            continue
        name, data = frame.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == len(found)
        EVENT.validate_json(orjson.dumps(event), strict=True)
        found.append(event)
    return found


def fold(events: list[dict]) -> dict:
    """The response that the pieces of a stream add up to; its last event must say the same."""
    output: list[dict] = []
    for event in events:
        at = event.get("output_index")
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert at == len(output)
                output.append(event["item"])
            case "content_part.added":
                output[at]["content"].append(event["part"])
            case "output_text.delta":
                output[at]["content"][event["content_index"]]["text"] += event["delta"]
            case "output_text.annotation.added":
                content = output[at]["content"][event["content_index"]]
                content["annotations"].append(event["annotation"])
            case "refusal.delta":
                output[at]["content"][event["content_index"]]["refusal"] += event["delta"]
            case "reasoning_summary_part.added":
                output[at]["summary"].append(event["part"])
            case "reasoning_summary_text.delta":
                output[at]["summary"][event["summary_index"]]["text"] += event["delta"]
            case "function_call_arguments.delta":
                output[at]["arguments"] += event["delta"]
            case "code_interpreter_call_code.delta":
                output[at]["code"] += event["delta"]
            case "output_item.done":
                late = {"status", "encrypted_content", "outputs", "result"}
                told = {k: v for k, v in event["item"].items() if k not in late}
                assert {k: v for k, v in output[at].items() if k not in late} == told
                output[at] = event["item"]
    last = events[-1]["response"]
    assert last["output"] == output
    return last


@pytest.mark.parametrize(
    "body",
    [
        ask(),
        ask("Ünïcode ☃ 🎈", model="sim-1;echo"),
        ask(max_output_tokens=16),
        ask(reasoning=THINK),
        ask(reasoning={"effort": "high"}),
        ask(model="sim-1;think=30;chunk=4", max_output_tokens=20),
        ask("Use get_weather and get_clock for Paris", tools=[WEATHER, CLOCK]),
        ask(tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"}),
        ask(model="sim-1;tool=made_up;calls=3"),
        ask(model="sim-1;refuse"),
        ask("search the news", tools=[SEARCH], include=[SOURCES]),
        ask(model="sim-1;search=3"),
        ask("compute this", tools=[PYTHON], include=[OUTPUTS]),
        ask(model="sim-1;run"),
        ask(model="sim-1;image"),
        ask(model="sim-1;stop=content_filter"),
        ask(model="sim-1;stop=incomplete"),
        ask(model="sim-1;stop=failed"),
        ask(model="sim-1;nousage;ping=2"),
        ask(text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}),
        ask(instructions="Be brief", metadata={"a": "b"}, temperature=0.5, user="u", store=False),
    ],
    ids=lambda body: str({k: v for k, v in body.items() if k != "input"})[:60],
)
def test_stream_and_json_say_the_same_and_fit_the_sdk_types(using, body):
    async def check(world):
        whole = await world.respond(body)
        assert whole.status_code == 200, whole.text
        RESPONSE.validate_json(whole.content, strict=True)
        streamed = await world.respond(body | {"stream": True})
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert fold(parse(streamed.text)) == whole.json()

    using(check)


def test_the_sdk_creates_and_streams_at_both_addresses(using):
    async def check(world):
        for provider in ("oai-resp", "openai"):
            async with world.responses(provider) as client:
                whole = await client.responses.create(model="sim-1", input="Hello there")
                assert "simulated OpenAI" in whole.output_text
                async with client.responses.stream(model="sim-1", input="Hello there") as stream:
                    text = "".join(
                        [e.delta async for e in stream if e.type == "response.output_text.delta"]
                    )
                    final = await stream.get_final_response()
                assert text == final.output_text == whole.output_text
                assert final.usage == whole.usage
                counted = await client.responses.input_tokens.count(
                    model="sim-1", input="Hello there"
                )
                assert counted.input_tokens == whole.usage.input_tokens

    using(check)


def test_the_sdk_goes_through_a_tool_loop_with_reasoning(using):
    async def check(world):
        async with world.responses() as client:
            talk: list = [{"role": "user", "content": "get_weather and get_clock, please"}]
            given = {"model": "sim-1", "tools": [WEATHER, CLOCK], "reasoning": THINK}
            first = await client.responses.create(input=talk, **given)
            kinds = [item.type for item in first.output]
            assert kinds == ["reasoning", "function_call", "function_call"]
            talk += [orjson.loads(item.to_json(exclude_none=True)) for item in first.output]
            for call in first.output[1:]:
                said = {"type": "function_call_output", "call_id": call.call_id}
                talk.append(said | {"output": f"{call.name} ok"})
            final = await client.responses.create(input=talk, **given)
            assert "get_weather ok; get_clock ok" in final.output_text

    using(check)


def test_the_sdk_reads_every_error(using):
    async def check(world):
        async with world.responses() as client:
            for status, kind in (
                (400, openai.BadRequestError),
                (401, openai.AuthenticationError),
                (404, openai.NotFoundError),
                (429, openai.RateLimitError),
                (500, openai.InternalServerError),
            ):
                with pytest.raises(kind) as told:
                    await client.responses.create(
                        model=f"sim-1;status={status};retry_after=7", input="Hi"
                    )
                assert told.value.response.headers["retry-after"] == "7"
                assert told.value.body["message"]
            stream = await client.responses.create(
                model="sim-1;error_at=2", input="Hi", stream=True
            )
            told_events = [event async for event in stream]
            assert [event.type for event in told_events[-2:]] == [
                "response.output_text.delta",
                "error",
            ]
        async with world.responses(key="invalid") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.responses.create(model="sim-1", input="Hi")

    using(check)


def test_encrypted_content_is_whole_only_when_the_item_is_done(using):
    async def check(world):
        streamed = await world.respond(ask(reasoning=THINK, stream=True))
        events = parse(streamed.text)
        added, done = (
            next(e["item"] for e in events if e["type"] == f"response.output_item.{word}")
            for word in ("added", "done")
        )
        follow = [{"role": "assistant", "content": "So."}, {"role": "user", "content": "On"}]
        good = await world.respond(ask([done, *follow]))
        assert good.status_code == 200, good.text
        early = await world.respond(ask([done | added, *follow]))
        assert early.json()["error"]["code"] == "invalid_encrypted_content"

    using(check)


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
GIVEN = {"type": "function_call_output", "call_id": "c1", "output": "42"}
USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ask(stop=["x"]), "Unknown parameter: 'stop'"),
        (ask(max_tokens=3), "Unknown parameter: 'max_tokens'"),
        (ask(messages=[]), "Unknown parameter: 'messages'"),
        (ask(max_output_tokens=15), ">= 16"),
        (ask([]), "input"),
        (ask([{"type": "text", "text": "x"}]), "input[0].type"),
        (ask([USER | {"name": "x"}]), "input[0].name"),
        (ask([{"role": "tool", "content": "x"}]), "input[0].role"),
        (ask([{"role": "user", "content": [{"type": "text", "text": "x"}]}]), "content[0].type"),
        (ask([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]), "content[0]"),
        (ask([USER, CALL]), "No tool output found for function call c1"),
        (ask([USER, GIVEN]), "No tool call found"),
        (ask([USER, GIVEN, CALL]), "No tool call found"),
        (ask([USER, CALL, GIVEN, GIVEN]), "No tool call found"),
        (ask([USER, CALL | {"call_id": ""}, GIVEN]), "empty string"),
        (ask([USER, CALL | {"call_id": "c" * 65}, GIVEN]), "64"),
        (ask([USER, CALL | {"arguments": {}}, GIVEN]), "expected a string"),
        (ask([{"type": "reasoning", "id": "rs_1", "summary": []}, USER]), "not found"),
        (
            ask([{"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}, USER]),
            "could not be verified",
        ),
        (ask(tools=[{k: v for k, v in WEATHER.items() if k != "strict"}]), "tools[0].strict"),
        (ask(tools=[{k: v for k, v in WEATHER.items() if k != "parameters"}]), "parameters"),
        (ask(tools=[WEATHER | {"function": {}}]), "tools[0].function"),
        (ask(tools=[WEATHER | {"name": "a.b"}]), "does not match pattern"),
        (ask(tools=[CLOCK | {"strict": True}]), "additionalProperties"),
        (ask(tools=[{"type": "code_interpreter"}]), "tools[0].container"),
        (ask(tools=[{"type": "nonsense"}]), "tools[0].type"),
        (ask(tool_choice="required"), "required"),
        (ask(tool_choice={"type": "function", "name": "x"}), "not found in 'tools'"),
        (ask(reasoning={"effort": "huge"}), "reasoning.effort"),
        (ask(include=["everything"]), "include[0]"),
        (ask(text={"format": {"type": "json_schema", "schema": {}}}), "text.format.name"),
        (ask(stream_options={"include_obfuscation": False}), "stream_options"),
        (ask(temperature=3), "temperature"),
        (ask(previous_response_id="resp_1"), "Previous response"),
    ],
)
def test_what_the_endpoint_would_refuse_is_refused(using, body, words):
    async def check(world):
        answer = await world.respond(body)
        assert answer.status_code in (400, 404), answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert words in error["message"]

    using(check)


def test_a_script_in_neutral_words_is_told_in_this_dialect(using):
    async def check(world):
        await world.script(
            "my",
            {"type": "thinking", "text": "One.\n\nTwo."},
            {"type": "thinking", "text": "secret", "hidden": True},
            {"type": "search", "query": "q", "sources": [{"url": "https://a", "title": "A"}]},
            {"type": "text", "text": "Found.", "sources": [{"url": "https://a", "title": "A"}]},
            {"type": "tool", "name": "f", "input": {"x": 1}},
            {"type": "tool", "name": "g"},
            usage={"input": 100, "output": 50, "thinking": 9, "cache_read": 60, "cache_write": 7},
        )
        body = ask(model="my", reasoning=THINK, stream=True)
        whole = fold(parse((await world.respond(body)).text))
        kinds = [item["type"] for item in whole["output"]]
        assert kinds == ["reasoning"] * 2 + ["web_search_call", "message"] + ["function_call"] * 2
        assert [part["text"] for part in whole["output"][0]["summary"]] == ["One.", "Two."]
        assert whole["output"][1]["summary"] == []
        assert whole["output"][3]["content"][0]["annotations"][0]["url"] == "https://a"
        assert whole["output"][3]["phase"] == "commentary"
        assert [item["arguments"] for item in whole["output"][4:]] == ['{"x":1}', "{}"]
        assert whole["usage"] == {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 7},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 9},
            "total_tokens": 150,
        }

    using(check)

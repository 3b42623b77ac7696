"""generateContent and Code Assist, judged by the official SDK and its own types."""

from __future__ import annotations

import orjson
import pytest
from google.genai import errors, types

SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "parameters": SCHEMA}
CLOCK = {"name": "get_clock", "parametersJsonSchema": {"type": "object", "$comment": "any"}}
TOOLS = [{"functionDeclarations": [WEATHER, CLOCK]}]
THINK = {"thinkingConfig": {"includeThoughts": True}}


def user(*parts: object) -> dict:
    told = [{"text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "parts": told}


def model(*parts: object) -> dict:
    return user(*parts) | {"role": "model"}


def ask(*parts: object, **more: object) -> dict:
    return {"contents": [user(*(parts or ("Hello there",)))]} | more


def parse(stream: str) -> list[dict]:
    """The chunks of a stream, each a whole response of the SDK's."""
    assert "[DONE]" not in stream
    found = []
    for frame in stream.split("\r\n\r\n"):
        if frame and not frame.startswith(":"):
            assert frame.startswith("data: "), frame
            found.append(checked(orjson.loads(frame.removeprefix("data: "))))
    return found


def checked(chunk: dict) -> dict:
    types.GenerateContentResponse.model_validate_json(orjson.dumps(chunk), extra="forbid")
    return chunk


def fold(chunks: list[dict]) -> dict:
    """What the chunks say together, neighbours of one kind joined."""
    whole = chunks[-1]
    parts: list[dict] = []
    totals = [chunk["usageMetadata"]["totalTokenCount"] for chunk in chunks]
    assert totals == sorted(totals)
    for chunk in chunks:
        for candidate in chunk.get("candidates", []):
            for part in candidate["content"].get("parts", []):
                last = parts[-1] if parts else {}
                if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
                    last["text"] += part["text"]
                    last |= {k: v for k, v in part.items() if k == "thoughtSignature"}
                elif part.get("text") != "":
                    parts.append(dict(part))
    if "candidates" in whole:
        assert all("finishReason" not in c["candidates"][0] for c in chunks[:-1])
        whole["candidates"][0]["content"] = {"parts": parts, "role": "model"} if parts else {}
    return whole


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("sim-1", ask()),
        ("sim-1;echo", ask("Ünïcode ☃ 🎈")),
        ("sim-1", ask(generationConfig={"maxOutputTokens": 5})),
        ("sim-1", ask(generationConfig={"stopSequences": ["simulated"]})),
        ("sim-1", ask(generationConfig=THINK)),
        ("sim-1", ask(generationConfig={"thinkingConfig": {"thinkingLevel": "LOW"}})),
        ("sim-1", ask("Use get_weather and get_clock in Paris", tools=TOOLS)),
        ("sim-1;ids", ask("Use get_weather and get_clock in Paris", tools=TOOLS)),
        ("sim-1;together;tool=f;calls=2", ask()),
        ("sim-1;together;tokens=50;chunk=7;ping=2", ask()),
        ("sim-1;search=3", ask()),
        ("sim-1", ask("search the latest", tools=[{"google_search": {}}])),
        ("sim-1;ids", ask("compute it", tools=[{"code_execution": {}}])),
        ("sim-1", ask("draw", generationConfig={"responseModalities": ["TEXT", "IMAGE"]})),
        ("sim-1;refuse", ask()),
        ("sim-1;block=SAFETY", ask()),
        ("sim-1;stop=MALFORMED_FUNCTION_CALL;tool=f", ask()),
        ("sim-1;stop=RECITATION", ask()),
        ("sim-1;hops=2", ask()),
        ("sim-1;cached=4", ask()),
        ("sim-1;together;think=9;sealed", ask()),
        ("sim-1;together;search=1;run;image", ask()),
        (
            "sim-1",
            ask(
                generationConfig={"responseMimeType": "application/json", "responseSchema": SCHEMA}
            ),
        ),
    ],
)
def test_stream_and_json_say_the_same_and_fit_the_sdk_types(using, name, body):
    async def check(world):
        whole = await world.generate(body, name)
        assert whole.status_code == 200, whole.text
        streamed = await world.generate(body, name, stream=True)
        assert streamed.headers["content-type"] == "text/event-stream"
        assert fold(parse(streamed.text)) == checked(whole.json())

    using(check)


def test_a_stream_without_events_is_one_json_array(using):
    async def check(world):
        path = "/gemini/v1/models/sim-1:streamGenerateContent"
        answer = await world.http.post(path, json=ask(), headers={"x-goog-api-key": "k"})
        assert answer.headers["content-type"].startswith("application/json")
        chunks = [checked(chunk) for chunk in answer.json()]
        whole = await world.generate(ask())
        assert fold(chunks) == whole.json()
        failed = await world.http.post(
            path.replace("sim-1", "sim-1;error_at=2"), json=ask(), headers={"x-goog-api-key": "k"}
        )
        assert failed.json()[2]["error"]["status"] == "UNAVAILABLE"

    using(check)


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_sdk_generates_streams_counts_and_lists(using, version):
    async def check(world):
        async with world.gemini(version).aio as client:
            whole = await client.models.generate_content(model="sim-1", contents="Hello there")
            assert "simulated Gemini" in whole.text
            assert whole.candidates[0].finish_reason == types.FinishReason.STOP
            stream = await client.models.generate_content_stream(
                model="sim-1", contents="Hello there"
            )
            assert "".join([chunk.text or "" async for chunk in stream]) == whole.text
            counted = await client.models.count_tokens(model="sim-1", contents="Hello there")
            assert counted.total_tokens == whole.usage_metadata.prompt_token_count
            assert "models/sim-1" in [m.name async for m in await client.models.list()]
            assert (await client.models.get(model="sim-1")).input_token_limit

    using(check)


def test_the_sdk_goes_through_a_tool_loop(using):
    async def check(world):
        config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[WEATHER, CLOCK])],
            thinking_config=types.ThinkingConfig(include_thoughts=True),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        async with world.gemini().aio as client:
            chat = client.chats.create(model="sim-1", config=config)
            first = await chat.send_message("get_weather and get_clock, please")
            assert [call.name for call in first.function_calls] == ["get_weather", "get_clock"]
            results = [
                types.Part.from_function_response(name=call.name, response={"output": "fine"})
                for call in first.function_calls
            ]
            final = await chat.send_message(results)
            assert "fine; fine" in final.text

    using(check)


def test_the_sdk_reads_every_error(using):
    async def check(world):
        async with world.gemini().aio as client:
            for status, name in (
                (400, "INVALID_ARGUMENT"),
                (403, "PERMISSION_DENIED"),
                (404, "NOT_FOUND"),
                (429, "RESOURCE_EXHAUSTED"),
                (500, "INTERNAL"),
                (503, "UNAVAILABLE"),
                (504, "DEADLINE_EXCEEDED"),
            ):
                with pytest.raises(errors.APIError) as told:
                    await client.models.generate_content(
                        model=f"sim-1;status={status};retry_after=34.5", contents="Hi"
                    )
                assert (told.value.code, told.value.status) == (status, name)
                details = told.value.details["error"]["details"]
                assert details[-1]["retryDelay"] == "34.5s"
            stream = await client.models.generate_content_stream(
                model="sim-1;error_at=3", contents="Hi"
            )
            with pytest.raises(errors.ServerError):
                async for _ in stream:
                    pass
        async with world.gemini(key="invalid").aio as client:
            with pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
                await client.models.generate_content(model="sim-1", contents="Hi")

    using(check)


def test_an_error_after_the_head_is_plain_json(using):
    async def check(world):
        answer = await world.generate(ask(), "sim-1;error_at=2", stream=True)
        *chunks, error = answer.text.split("\r\n\r\n")
        assert len(chunks) == 2
        assert orjson.loads(error)["error"]["status"] == "UNAVAILABLE"
        assert not error.startswith("data:")

    using(check)


def test_an_answer_that_goes_on_is_complete_after_its_hops(using):
    async def check(world):
        plain = (await world.generate(ask())).json()["candidates"][0]["content"]["parts"][0]["text"]
        body, said = ask(), ""
        for hop in range(3):
            answer = (await world.generate(body, "sim-1;hops=2")).json()
            (candidate,) = answer["candidates"]
            said += candidate["content"]["parts"][0]["text"]
            assert candidate["finishReason"] == ("CONTINUATION" if hop < 2 else "STOP")
            if hop < 2:
                body["continuationToken"] = candidate["continuationToken"]
        assert said.replace("sim-1;hops=2", "sim-1") == plain
        body["continuationToken"] = "Zm9yZWlnbg=="
        assert (await world.generate(body, "sim-1;hops=2")).status_code == 400

    using(check)


SIGNED = {"thoughtSignature": "skip_thought_signature_validator"}
CALL = {"functionCall": {"name": "f", "args": {}}}
ANSWER = {"functionResponse": {"name": "f", "response": {"output": "x"}}}


def linked(uri: object, mime: object = "image/png") -> dict:
    return {"fileData": {"fileUri": uri, "mimeType": mime}}


def talk(*contents: object) -> dict:
    return {"contents": list(contents)}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ask(stream=True), 'Unknown name "stream"'),
        (ask(max_tokens=5), 'Unknown name "max_tokens"'),
        (ask(generationConfig={"max_tokens": 5}), "at 'generationConfig'"),
        (ask({"text": "a", "type": "text"}), "at 'contents[0].parts[0]'"),
        (ask(tools=[{"google_search": {"exclude_domains": ["a"]}}]), "exclude_domains"),
        (ask(tools=[{"functionDeclarations": [WEATHER | {"input_schema": {}}]}]), "input_schema"),
        (
            ask(tools=[{"functionDeclarations": [WEATHER | {"parameters": {"$schema": "x"}}]}]),
            "$schema",
        ),
        (talk(), "contents is not specified"),
        (talk(model("x")), "alternate"),
        (talk(user("x"), user("y")), "alternate"),
        (talk(user("x"), model("y")), "end with a user role"),
        (talk(user("x") | {"role": "system"}), "valid role"),
        (talk(user()), "must not be empty"),
        (ask({"thoughtSignature": "x"}), "must have one initialized field"),
        (ask({"text": "a", "inlineData": {}}), "must have one initialized field"),
        (talk(user("x"), model(CALL | SIGNED), user("y")), "number of function response parts"),
        (talk(user("x"), model("y"), user(ANSWER)), "number of function response parts"),
        (talk(user("x"), model(CALL), user(ANSWER)), "missing a thought_signature"),
        (
            talk(user("x"), model(CALL | {"thoughtSignature": "Zm9yZWlnbg=="}), user(ANSWER)),
            "Corrupted thought signature",
        ),
        (
            talk(user("x"), model({"functionCall": {"name": ""}} | SIGNED), user(ANSWER)),
            "Name cannot be empty",
        ),
        (talk(user("x"), model(ANSWER), user("y")), "right role"),
        (ask({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}), "process input image"),
        (ask(linked("http://a.example/i.png")), "unsupported file uri"),
        (ask(linked("https://localhost/i.png")), "unsupported file uri"),
        (ask(linked("https://10.0.0.1/i.png")), "unsupported file uri"),
        (ask(linked("https://box/i.png")), "unsupported file uri"),
        (ask(linked("")), "fileUri: must be specified"),
        (ask(linked("https://a.example/i.gif", "image/gif")), "Unsupported MIME type: image/gif"),
        (ask(linked("https://a.example/i", None)), "Unsupported MIME type: None"),
        (ask(tools=[{"functionDeclarations": [{"name": "1x"}]}]), "Invalid function name"),
        (ask(tools=[{"functionDeclarations": [WEATHER, WEATHER]}]), "Duplicate"),
        (ask(tools=[*TOOLS, {"googleSearch": {}}]), "include_server_side_tool_invocations"),
        (ask(generationConfig={"maxOutputTokens": 0}), "positive"),
        (ask(generationConfig={"stopSequences": list("abcdef")}), "exceed 5"),
        (ask(generationConfig={"responseSchema": SCHEMA}), "application/json"),
        (ask(toolConfig={"functionCallingConfig": {"mode": "ANY"}}), "needs function"),
    ],
)
def test_what_google_would_refuse_is_refused(using, body, words):
    async def check(world):
        answer = await world.generate(body)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        assert words in error["message"]

    using(check)


def test_a_public_url_is_fetched_and_a_picture_there_is_one(using):
    async def check(world):
        plain = (await world.generate(ask("What is this?"))).json()["usageMetadata"]
        answer = await world.generate(ask("What is this?", linked("https://a.example/i.png")))
        assert answer.status_code == 200, answer.text
        used = answer.json()["usageMetadata"]
        assert used["promptTokenCount"] >= plain["promptTokenCount"] + 258
        for uri in ("gs://b/i.gif", "https://youtu.be/x"):
            assert (await world.generate(ask(linked(uri, None)))).status_code == 200

    using(check)


def test_only_the_active_loop_needs_signatures(using):
    async def check(world):
        old = [user("x"), model(CALL), user(ANSWER), model("done"), user("y")]
        assert (await world.generate(talk(*old))).status_code == 200
        now = [*old, model(CALL | SIGNED, CALL), user(ANSWER, ANSWER)]
        assert (await world.generate(talk(*now))).status_code == 200
        both = [*old, model(CALL, CALL | SIGNED), user(ANSWER, ANSWER)]
        assert (await world.generate(talk(*both))).status_code == 400
        assert (await world.generate(talk(*both), "gemini-2.5-flash")).status_code == 200

    using(check)


def test_code_assist_wraps_and_takes_newcomers_in(using):
    async def check(world):
        body = {"model": "sim-1", "project": "p", "user_prompt_id": "u", "request": ask()}
        whole = (await world.assist("generateContent", body)).json()
        assert whole["traceId"]
        bare = (await world.generate(ask())).json()
        assert checked(whole["response"])["candidates"] == bare["candidates"]
        streamed = await world.assist("streamGenerateContent?alt=sse", body)
        chunks = [
            checked(orjson.loads(frame.removeprefix("data: "))["response"])
            for frame in streamed.text.strip().split("\r\n\r\n")
        ]
        assert fold(chunks)["usageMetadata"] == bare["usageMetadata"]
        counted = await world.assist(
            "countTokens", {"request": {"model": "models/sim-1", "contents": ask()["contents"]}}
        )
        assert counted.json()["totalTokens"] == bare["usageMetadata"]["promptTokenCount"]
        unwrapped = await world.assist("generateContent", ask())
        assert unwrapped.status_code == 400
        known = (await world.assist("loadCodeAssist", {"metadata": {}})).json()
        assert known["currentTier"]["id"] == "free-tier"
        new = await world.assist("loadCodeAssist", {"cloudaicompanionProject": "newcomer"})
        assert "currentTier" not in new.json()
        number = await world.assist("loadCodeAssist", {"cloudaicompanionProject": "123"})
        assert number.status_code == 400
        refused = await world.assist("loadCodeAssist", {"cloudaicompanionProject": "ineligible"})
        assert refused.json()["ineligibleTiers"][0]["reasonCode"]
        begun = (await world.assist("onboardUser", {"tierId": "free-tier"})).json()
        assert not begun.get("done")
        path = f"/gemini-oauth/v1internal/{begun['name']}"
        done = await world.http.get(path, headers={"authorization": "Bearer k"})
        assert done.json()["done"] is True
        stranger = await world.http.post(
            "/gemini-oauth/v1internal:loadCodeAssist", headers={"x-goog-api-key": "k"}
        )
        assert stranger.json()["error"]["status"] == "UNAUTHENTICATED"

    using(check)


def test_a_script_in_neutral_words_is_told_in_this_dialect(using):
    async def check(world):
        await world.script(
            "my",
            {"type": "thinking", "text": "Hm."},
            {"type": "code", "code": "1/0", "output": "ZeroDivisionError", "failed": True},
            {"type": "text", "text": "Seen."},
            {"type": "image"},
            {"type": "tool", "name": "f", "input": {"x": 1}},
            {"type": "tool", "name": "f", "input": {"x": 2}},
            usage={"input": 100, "output": 50, "thinking": 9, "cache_read": 60},
        )
        body = ask(generationConfig=THINK)
        whole = fold(parse((await world.generate(body, "my", stream=True)).text))
        parts = whole["candidates"][0]["content"]["parts"]
        assert [next(iter(part)) for part in parts] == [
            "text",
            "executableCode",
            "codeExecutionResult",
            "text",
            "inlineData",
            "functionCall",
            "functionCall",
        ]
        assert parts[0]["thought"] is True
        assert [part["functionCall"]["args"] for part in parts[-2:]] == [{"x": 1}, {"x": 2}]
        assert "thoughtSignature" in parts[-2]
        assert "thoughtSignature" not in parts[-1]
        usage = whole["usageMetadata"]
        assert usage["promptTokenCount"] == 100
        assert usage["cachedContentTokenCount"] == 60
        assert usage["candidatesTokenCount"] == 41
        assert usage["thoughtsTokenCount"] == 9
        assert usage["totalTokenCount"] == 150

    using(check)

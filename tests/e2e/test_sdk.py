"""The newest official client against every provider: what it sends, reads and raises."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

import anthropic
import orjson
import pytest

from tests.canary import KEY, PROVIDER_KEY
from tests.e2e.rig import FACES, Gateway, Simulated, ask, digest, events, headers_of
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

PREFIXES = ["anthropic/", "openai/", "groq/", "cerebras/", "claude-"]
TRANSLATED = ["openai/", "groq/", "cerebras/"]
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city", "days"],
    },
}
CLOCK = {"name": "get_clock", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        yield client


def named(prefix: str, name: str) -> str:
    """What the caller is told the model is called: a bare name stays as it is."""
    return name if prefix == "claude-" else prefix + name.removeprefix(prefix)


def picture(width: int, height: int) -> str:
    """A PNG of one colour, base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    rows = zlib.compress((b"\0" + b"\x20\x40\x60" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_message(client, prefix):
    message = client.messages.create(
        model=f"{prefix}sim-create",
        max_tokens=200,
        system="Answer briefly.",
        messages=[{"role": "user", "content": "Hello there"}],
    )
    assert "Hello there" in message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.model == f"{prefix}sim-create"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_stream_of_text(client, prefix):
    model = f"{prefix}sim-create"
    said = {"max_tokens": 200, "messages": [{"role": "user", "content": "Hello there"}]}
    with client.messages.stream(model=model, system=[{"type": "text", "text": "x"}], **said) as got:
        text = "".join(got.text_stream)
        final = got.get_final_message()
    whole = client.messages.create(model=model, system=[{"type": "text", "text": "x"}], **said)
    assert text == final.content[0].text == whole.content[0].text
    assert final.stop_reason == "end_turn"
    assert final.model == model
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize("prefix", PREFIXES)
def test_raw_events_are_those_of_the_contract(gateway, client, prefix):
    raw = client.messages.create(
        model=f"{prefix}sim-raw",
        max_tokens=200,
        messages=[{"role": "user", "content": "Use get_weather and get_clock in Oslo"}],
        tools=[WEATHER, CLOCK],
        stream=True,
    )
    kinds = [event.type for event in raw]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    for text in ("Hello", "Use get_weather and get_clock in Oslo"):
        said = ask(f"{prefix}sim-raw", text, stream=True, tools=[WEATHER, CLOCK])
        answer = gateway.post(said)
        assert answer.status == 200
        found = check_stream(events(answer.body))
        assert found[0]["message"]["usage"]["input_tokens"] > 0
        assert b"[DONE]" not in answer.body


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_parallel_tools_round_trip(client, prefix, stream):
    conversation = [{"role": "user", "content": "Call get_weather and get_clock for Oslo"}]

    def turn() -> anthropic.types.Message:
        said = {
            "model": f"{prefix}sim-tools",
            "max_tokens": 400,
            "messages": conversation,
            "tools": [WEATHER, CLOCK],
        }
        if not stream:
            return client.messages.create(**said)
        with client.messages.stream(**said) as got:
            return got.get_final_message()

    first = turn()
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["get_weather", "get_clock"]
    assert set(calls[0].input) == {"city", "days"}
    assert calls[1].input == {}
    assert len({call.id for call in calls}) == 2
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"fine {number}"}
        for number, call in enumerate(calls)
    ]
    conversation += [
        {"role": "assistant", "content": [block.model_dump() for block in first.content]},
        {"role": "user", "content": results},
    ]
    last = turn()
    assert last.stop_reason == "end_turn"
    assert "fine 0; fine 1" in last.content[0].text


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_forced_tool_and_a_failed_result(client, prefix):
    first = client.messages.create(
        model=f"{prefix}sim-forced",
        max_tokens=400,
        messages=[{"role": "user", "content": "Anything"}],
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "tool", "name": "get_clock"},
    )
    assert [block.name for block in first.content] == ["get_clock"]
    result = {
        "type": "tool_result",
        "tool_use_id": first.content[0].id,
        "is_error": True,
        "content": [{"type": "text", "text": "no clock here"}],
    }
    last = client.messages.create(
        model=f"{prefix}sim-forced",
        max_tokens=400,
        messages=[
            {"role": "user", "content": "Anything"},
            {"role": "assistant", "content": [block.model_dump() for block in first.content]},
            {"role": "user", "content": [result]},
        ],
        tools=[WEATHER, CLOCK],
    )
    assert "no clock here" in last.content[0].text


@pytest.mark.parametrize("prefix", PREFIXES)
def test_images_by_value(client, prefix):
    source = {"type": "base64", "media_type": "image/png", "data": picture(3, 2)}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    message = client.messages.create(
        model=f"{prefix}sim-image",
        max_tokens=200,
        messages=[{"role": "user", "content": content}],
    )
    assert "an image" in message.content[0].text
    assert "3x2" in message.content[0].text


@pytest.mark.parametrize("prefix", ["anthropic/", "openai/", "groq/", "claude-"])
def test_images_by_address_are_not_fetched(client, prefix):
    source = {"type": "url", "url": "http://127.0.0.1:9/never-fetched.png"}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    message = client.messages.create(
        model=f"{prefix}sim-image-url",
        max_tokens=200,
        messages=[{"role": "user", "content": content}],
    )
    assert "an image" in message.content[0].text


def test_an_image_address_that_a_provider_cannot_take_is_said(client):
    source = {"type": "url", "url": "https://example.com/a.png"}
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(
            model="cerebras/sim-image-url",
            max_tokens=20,
            messages=[{"role": "user", "content": [{"type": "image", "source": source}]}],
        )
    assert raised.value.body["error"]["param"].startswith("messages[0].content[0]")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_tokens_that_run_out(client, prefix, stream):
    said = {
        "model": f"{prefix}sim-short",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    if stream:
        with client.messages.stream(**said) as got:
            message = got.get_final_message()
    else:
        message = client.messages.create(**said)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 5


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_stop_sequence_ends_the_answer(client, prefix):
    message = client.messages.create(
        model=f"{prefix}sim-stop;echo",
        max_tokens=100,
        stop_sequences=["STOP"],
        messages=[{"role": "user", "content": "one two STOP three"}],
    )
    assert message.content[0].text.strip() == "one two"
    # Chat Completions does not tell a stop sequence from the model's own end.
    expected = "end_turn" if prefix in TRANSLATED else "stop_sequence"
    assert message.stop_reason == expected


@pytest.mark.parametrize("prefix", PREFIXES)
def test_structured_output(client, prefix):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    message = client.messages.create(
        model=f"{prefix}sim-schema",
        max_tokens=200,
        messages=[{"role": "user", "content": "A city"}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    value = orjson.loads(message.content[0].text)
    assert set(value) == {"city", "people"}
    assert isinstance(value["people"], int)


CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    413: "ContentTooLargeError",
    429: "RateLimitError",
    500: "InternalServerError",
    502: "InternalServerError",
    503: "ServiceUnavailableError",
    504: "GatewayTimeoutError",
    529: "OverloadedError",
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "provider_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def raised_by(client: anthropic.Anthropic, model: str, *, stream: bool) -> anthropic.APIStatusError:
    """The error that a caller with provider keys of its own gets: a lent key's 401 is not told."""
    own = {f"x-provider-key-{provider}": PROVIDER_KEY for provider in FACES}
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(
            model=model,
            max_tokens=20,
            messages=[{"role": "user", "content": "Hello"}],
            stream=stream,
            extra_headers=own,
        )
    return raised.value


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503, 504, 529])
@pytest.mark.parametrize("prefix", ["anthropic/", "claude-"])
def test_errors_of_the_same_protocol_come_as_they_are(client, prefix, status, stream):
    error = raised_by(client, f"{prefix}sim;status={status}", stream=stream)
    assert error.status_code == status
    assert CLASSES[status] in {kind.__name__ for kind in type(error).__mro__}
    assert set(error.body) == {"type", "error", "request_id"}
    assert error.response.headers["request-id"] == error.body["request_id"]
    if status == 429:
        assert error.response.headers["retry-after"] == "1"
        assert error.response.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("prefix", TRANSLATED)
def test_errors_of_other_protocols_are_mapped(client, prefix, status, stream):
    error = raised_by(client, f"{prefix}sim;status={status};retry_after=7", stream=stream)
    assert error.status_code == status
    assert CLASSES[status] in {kind.__name__ for kind in type(error).__mro__}
    said = error.body["error"]
    assert said["type"] == TYPES[status]
    assert said["provider"] == prefix.rstrip("/")
    assert said["provider_error"]
    assert said["request_id"] == error.body["request_id"] == error.response.headers["request-id"]
    if status == 429:
        assert error.response.headers["retry-after"] == "7"
        assert said["retry_after"] == 7


@pytest.mark.parametrize("status", [500, 503, 529])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("prefix", ["anthropic/", *TRANSLATED])
def test_an_overloaded_provider(client, simulator, prefix, stream, status):
    model = f"busy-{status}-{stream}-{prefix[:-1]}"
    body = '{"error":{"message":"The model is overloaded. Try later.","code":"x","type":"y"}}'
    simulator.script(model, status=status, body=body)
    error = raised_by(client, f"{prefix}{model}", stream=stream)
    assert error.status_code == (503 if status == 503 else 529)
    assert error.body["error"]["type"] == "overloaded_error"
    assert error.body["error"]["provider_error"]["code"] == "x"


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("prefix", ["anthropic/", *TRANSLATED])
def test_a_prompt_that_is_too_long_is_told_in_one_wording(client, simulator, prefix, stream):
    model = f"long-{stream}-{prefix[:-1]}"
    words = "This model's maximum context length is 8192 tokens. Your messages have 9134 tokens."
    body = orjson.dumps({"error": {"message": words, "code": "x", "type": "y"}}).decode()
    simulator.script(model, status=400, body=body)
    error = raised_by(client, f"{prefix}{model}", stream=stream)
    assert isinstance(error, anthropic.BadRequestError)
    said = error.body["error"]
    assert said["type"] == "invalid_request_error"
    assert said["message"] == "prompt is too long: 9134 tokens > 8192 maximum"
    assert said["provider_error"]["message"] == words


def test_a_used_up_quota_is_no_reason_to_try_again(client):
    error = raised_by(client, "openai/sim;status=429;code=insufficient_quota", stream=False)
    assert error.status_code == 402
    assert error.body["error"]["type"] == "billing_error"
    assert error.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_error_page_is_an_error(client, prefix):
    error = raised_by(client, f"{prefix}sim;status=503;html", stream=False)
    assert error.status_code == 503


def test_an_unknown_provider(client):
    error = raised_by(client, "nobody/sim", stream=False)
    assert isinstance(error, anthropic.NotFoundError)
    assert error.body["error"]["param"] == "model"


def test_an_unknown_key(gateway):
    with anthropic.Anthropic(api_key="no-such", base_url=gateway.url, max_retries=0) as stranger:
        error = raised_by(stranger, "openai/sim", stream=False)
    assert isinstance(error, anthropic.AuthenticationError)
    assert error.body["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_error_in_the_middle_is_raised_once(gateway, client, prefix):
    stream = client.messages.create(
        model=f"{prefix}sim;error_at=4",
        max_tokens=50,
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
    )
    kinds = []
    with pytest.raises(anthropic.APIError):
        for event in stream:
            kinds.append(event.type)
    assert kinds.count("content_block_delta") == 4
    answer = gateway.post(ask(f"{prefix}sim;error_at=4", stream=True))
    found = check_stream(events(answer.body), complete=False)
    assert [event["type"] for event in found].count("error") == 1
    assert found[-1]["type"] == "error"


def test_retries_are_the_clients_to_make(gateway, simulator):
    model = "claude-flaky-1"
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    body = orjson.dumps(error).decode()
    simulator.script(model, status=529, headers={"retry-after-ms": "5"}, body=body, times=2)
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=2) as client:
        message = client.messages.create(
            model=model, max_tokens=20, messages=[{"role": "user", "content": "Hello"}]
        )
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert len(simulator.journal(model)) == 3


def test_what_the_client_says_of_itself_arrives_but_not_its_key(simulator: Simulated, client):
    model = "claude-headers-1"
    client.beta.messages.create(
        model=model,
        max_tokens=20,
        messages=[{"role": "user", "content": "Hello"}],
        betas=["something-2026-01-01", "another-2026-02-02"],
    )
    entry = simulator.one(model)
    fields = dict(headers_of(entry))
    assert fields["anthropic-beta"] == "something-2026-01-01,another-2026-02-02"
    assert fields["anthropic-version"] == client.default_headers["anthropic-version"]
    assert digest(KEY) not in [found["sha256"] for found in entry["credentials"]]
    assert len(entry["credentials"]) == 1

"""Counters that cannot be ones: the answer is delivered, and its log line is written."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from tests.e2e.rig import Gateway, Simulated, ask, events

pytestmark = pytest.mark.e2e

HUGE = "99999999999999999999999999"
ODD = [HUGE, "-7", "1e300", "1.5", '"many"', "true", "[]", "{}", "18446744073709551615", "null"]
_numbers = itertools.count()


def _messages(odd: str, *, stream: bool) -> str:
    usage = f'{{"input_tokens":{odd},"output_tokens":{odd},"cache_read_input_tokens":{odd}}}'
    start = f'"id":"msg_1","type":"message","role":"assistant","model":"m","usage":{usage}'
    if not stream:
        content = '[{"type":"text","text":"Hello"}]'
        return f'{{{start},"content":{content},"stop_reason":"end_turn","stop_sequence":null}}'
    said = [
        f'{{"type":"message_start","message":{{{start},"content":[],"stop_reason":null}}}}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}',
        '{"type":"content_block_stop","index":0}',
        (
            '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
            f'"usage":{usage}}}'
        ),
        '{"type":"message_stop"}',
    ]
    return "".join(f"event: {_type_of(one)}\ndata: {one}\n\n" for one in said)


def _type_of(text: str) -> str:
    """The event's name: its `type` is its first member."""
    return text.split('"')[3]


def _chat(odd: str, *, stream: bool) -> str:
    details = f'{{"cached_tokens":{odd},"audio_tokens":{odd}}}'
    usage = f'{{"prompt_tokens":{odd},"completion_tokens":{odd},"prompt_tokens_details":{details}}}'
    if not stream:
        message = '{"role":"assistant","content":"Hello"}'
        choice = f'{{"index":0,"message":{message},"finish_reason":"stop"}}'
        return f'{{"id":"c","model":"m","choices":[{choice}],"usage":{usage}}}'
    piece = '{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}'
    last = '{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    last += f'"usage":{usage}}}'
    return f"data: {piece}\n\ndata: {last}\n\ndata: [DONE]\n\n"


def _responses(odd: str, *, stream: bool) -> str:
    details = f'{{"cached_tokens":{odd}}}'
    usage = f'{{"input_tokens":{odd},"output_tokens":{odd},"input_tokens_details":{details}}}'
    item = '{"type":"message","id":"m1","role":"assistant","status":"completed",'
    item += '"content":[{"type":"output_text","text":"Hello","annotations":[]}]}'
    whole = f'{{"id":"r","object":"response","model":"m","status":"completed","output":[{item}],'
    whole += f'"usage":{usage},"tool_usage":{{"web_search":{{"num_requests":{odd}}}}}}}'
    if not stream:
        return whole
    said = [
        (
            '{"type":"response.output_item.added","output_index":0,"item":'
            '{"type":"message","id":"m1","role":"assistant","content":[]}}'
        ),
        '{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hello"}',
        f'{{"type":"response.output_item.done","output_index":0,"item":{item}}}',
        f'{{"type":"response.completed","response":{whole}}}',
    ]
    return "".join(f"event: {_type_of(one)}\ndata: {one}\n\n" for one in said)


def _gemini(odd: str, *, stream: bool) -> str:
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
    usage = ",".join(f'"{name}":{odd}' for name in names)
    candidate = '{"index":0,"content":{"parts":[{"text":"Hello"}]},"finishReason":"STOP"}'
    whole = f'{{"candidates":[{candidate}],"usageMetadata":{{{usage}}}}}'
    return f"data: {whole}\n\n" if stream else whole


MODES = {
    "claude-{}": _messages,
    "anthropic/claude-{}": _messages,
    "openai/{}": _chat,
    "oai-resp/{}": _responses,
    "gemini/{}": _gemini,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_an_odd_counter_costs_no_answer(
    gateway: Gateway, simulator: Simulated, mode: str, stream: bool, odd: str
) -> None:
    answer = _answer(gateway, simulator, mode, MODES[mode](odd, stream=stream), stream=stream)
    assert answer.status == 200, answer.body
    assert b"Hello" in answer.body
    if stream:
        assert events(answer.body)[-1]["type"] == "message_stop"
    line = _line(gateway, answer.header("x-request-id"))
    assert (line["status"], line["outcome"]) == (200, "completed")
    for name in ("input_tokens", "output_tokens"):
        assert line[name] is None or 0 <= line[name] < 10_000


@pytest.mark.parametrize("stream", [False, True])
def test_a_huge_number_in_the_input_of_a_tool_is_delivered(
    gateway: Gateway, simulator: Simulated, stream: bool
) -> None:
    call = '[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":'
    call += orjson.dumps(f'{{"n":{HUGE}}}').decode() + "}}]"
    part = "delta" if stream else "message"
    choice = f'{{"index":0,"{part}":{{"role":"assistant","content":null,"tool_calls":{call}}},'
    body = f'{{"id":"c","model":"m","choices":[{choice}"finish_reason":"tool_calls"}}]}}'
    body = f"data: {body}\n\ndata: [DONE]\n\n" if stream else body
    answer = _answer(gateway, simulator, "openai/{}", body, stream=stream)
    assert answer.status == 200, answer.body
    assert HUGE.encode() in answer.body


def test_a_huge_number_in_an_error_is_delivered(gateway: Gateway, simulator: Simulated) -> None:
    body = f'{{"error":{{"message":"no","type":"invalid_request_error","limit":{HUGE}}}}}'
    answer = _answer(gateway, simulator, "openai/{}", body, stream=False, status=400)
    assert answer.status == 400
    assert HUGE.encode() in answer.body


def _answer(
    gateway: Gateway, simulator: Simulated, mode: str, body: str, *, stream: bool, status: int = 200
) -> Any:
    name = f"odd-{next(_numbers)}"
    model = mode.format(name)
    kind = "text/event-stream" if stream else "application/json"
    simulator.script(
        model.partition("/")[2] or model, headers={"content-type": kind}, body=body, status=status
    )
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    return gateway.post(ask(model, stream=stream, tools=tools))


def _line(gateway: Gateway, request_id: str | None) -> dict[str, Any]:
    text = gateway.logged(f'"request_id":"{request_id}"')
    lines = [line for line in text.splitlines() if f'"{request_id}"' in line]
    assert len(lines) == 1, lines
    return dict(orjson.loads(lines[0]))

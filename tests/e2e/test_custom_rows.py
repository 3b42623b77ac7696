"""A server of one's own is three lines of settings: of either protocol, with a key or without."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from tests.e2e.conftest import PATIENT, lent_key
from tests.e2e.rig import Gateway, Simulated, ask, body_of, digest, events, running
from tests.providers.validator import check_stream

OWN = ["my-chat", "my-messages"]
TOOLS = [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}]
CREDENTIAL = {"my-chat": "authorization", "my-messages": "x-api-key"}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SEEN = [
    {"type": "text", "text": "What is this?"},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
]


@pytest.fixture(scope="module")
def own(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    open_chat = {"kind": "openai", "base_url": simulator.base_url("openai")}
    open_messages = {"kind": "anthropic", "base_url": simulator.base_url("anthropic")}
    chat = open_chat | {"api_key": lent_key("chat")}
    messages = open_messages | {"api_key": lent_key("messages")}
    settings = PATIENT | {
        "auth": {"mode": "none"},
        "providers": {
            "my-chat": chat,
            "my-messages": messages,
            "open-chat": open_chat,
            "open-messages": open_messages,
            "blind-chat": chat | {"capabilities": ["tools"]},
            "blind-messages": messages | {"capabilities": ["tools", "parallel_tools"]},
        },
    }
    folder = tmp_path_factory.mktemp("own")
    with running(settings, folder, "--single-process") as gateway:
        yield gateway


@pytest.mark.parametrize("provider", OWN)
def test_it_answers(own, simulator, provider):
    model = f"{provider}-plain"
    answer = own.post(ask(f"{provider}/{model}"))
    assert answer.status == 200
    assert answer.json["model"] == f"{provider}/{model}"
    assert answer.json["content"][0]["text"]
    assert orjson.loads(body_of(simulator.one(model)))["max_tokens"] == 64


@pytest.mark.parametrize("provider", ["open-chat", "open-messages"])
def test_without_a_key_it_is_asked_without_one(own, simulator, provider):
    """The simulator wants one, so that the answer is its refusal."""
    before = simulator.last
    assert own.post(ask(f"{provider}/sim")).status == 502
    (arrived,) = simulator.journal(after=before)
    assert arrived["credentials"] == []


@pytest.mark.parametrize("provider", OWN)
def test_it_streams_and_calls_tools(own, provider):
    found = events(own.post(ask(f"{provider}/sim", stream=True)).body)
    check_stream(found)
    body = ask(f"{provider}/sim", "Use look", tools=TOOLS, tool_choice={"type": "any"})
    answer = own.post(body)
    (call,) = [block for block in answer.json["content"] if block["type"] == "tool_use"]
    assert (answer.json["stop_reason"], call["name"]) == ("tool_use", "look")
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "a door"}
    body["messages"] += [
        {"role": "assistant", "content": answer.json["content"]},
        {"role": "user", "content": [result]},
    ]
    del body["tool_choice"]
    assert own.post(body).status == 200


@pytest.mark.parametrize("provider", OWN)
def test_a_key_of_the_callers_goes_there(own, simulator, provider):
    model = f"{provider}-keyed"
    answer = own.post(ask(f"{provider}/{model}", provider_keys={provider: "sk-callers"}))
    assert answer.status == 200
    (credential,) = simulator.one(model)["credentials"]
    paid_by = (credential["header"], credential["sha256"])
    assert paid_by == (CREDENTIAL[provider], digest("sk-callers"))


@pytest.mark.parametrize("provider", ["blind-chat", "blind-messages"])
def test_what_it_cannot_take_is_refused_before_it_is_asked(own, simulator, provider):
    model = f"{provider}-sees"
    body = {"model": f"{provider}/{model}", "max_tokens": 64}
    answer = own.post(body | {"messages": [{"role": "user", "content": SEEN}]})
    assert answer.status == 400
    assert answer.error["param"] == "messages[0].content[1]"
    forced = ask(f"{provider}/{model}", tools=TOOLS, tool_choice={"type": "any"})
    assert own.post(forced).error["param"] == "tool_choice"
    assert simulator.journal(model) == []
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = own.post(ask(f"{provider}/{model}", tools=TOOLS, thinking=thinking))
    assert answer.status == 200
    assert answer.header("x-vai-dropped") == "thinking"
    assert "thinking" not in orjson.loads(body_of(simulator.one(model)))

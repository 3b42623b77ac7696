"""Servers of one's own that are nearly right, over real sockets and by the official client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import orjson
import pytest

from tests.canary import KEY
from tests.e2e.conftest import PATIENT
from tests.e2e.rig import Gateway, Simulated, ask, body_of, events, running
from tests.providers.upstreams import body_of as answer_of
from tests.providers.upstreams import stream_of
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

KINDS = {"own-chat": "openai", "own-messages": "anthropic"}
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]
ODD = "functions.look:0"
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def own(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    providers = {
        name: {"kind": kind, "base_url": simulator.base_url(kind), "api_key": f"{KEY}-{kind}"}
        for name, kind in KINDS.items()
    }
    providers["anthropic"] = {
        "base_url": simulator.base_url("anthropic"),
        "api_key": f"{KEY}-lent",
    }
    aliases = {"own-alias": "own-messages/own-aliased"}
    settings = PATIENT | {"auth": {"mode": "none"}, "providers": providers, "aliases": aliases}
    with running(settings, tmp_path_factory.mktemp("nearly"), "--single-process") as gateway:
        yield gateway


def given_input(provider: str) -> Any:
    return '{"x":1}' if KINDS[provider] == "openai" else {"x": 1}


def said(provider: str, *, stream: bool, calls: int = 2) -> bytes:
    told = [(ODD, "functions.look", given_input(provider))] * calls
    return (stream_of if stream else answer_of)(KINDS[provider], told, "So.")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("provider", KINDS)
def test_a_tool_loop_of_odd_ids(own, simulator, provider, stream):
    """Three turns by the official client: legal and unique ids, and each goes back as it came."""
    model = f"{provider}-loop-{stream}"
    turns: list[Any] = [{"role": "user", "content": "go"}]
    seen: set[str] = set()
    with anthropic.Anthropic(api_key="any", base_url=own.url, max_retries=0) as client:
        for number in range(3):
            simulator.script(
                model, headers=SSE if stream else JSON, body=said(provider, stream=stream).decode()
            )
            asked = {
                "model": f"{provider}/{model}",
                "max_tokens": 99,
                "messages": turns,
                "tools": TOOLS,
            }
            if stream:
                with client.messages.stream(**asked) as got:
                    message = got.get_final_message()
            else:
                message = client.messages.create(**asked)
            calls = [block for block in message.content if block.type == "tool_use"]
            assert [(call.name, call.input) for call in calls] == [("look", {"x": 1})] * 2
            ids = {call.id for call in calls}
            assert len(ids) == 2
            assert not ids & seen
            assert all(one.replace("_", "").replace("-", "").isalnum() for one in ids)
            seen |= ids
            sent = body_of(simulator.journal(model=model)[-1])
            assert sent.count(ODD.encode()) == 4 * number, sent
            assert not any(one.encode() in sent for one in seen)
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": "r"} for call in calls
            ]
            turns += [
                {"role": "assistant", "content": message.model_dump()["content"]},
                {"role": "user", "content": results},
            ]
    assert turns


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_an_alias_is_passed_on_but_for_its_calls(own, simulator, stream):
    """Behind a bare name all else keeps its bytes."""
    body = said("own-messages", stream=stream, calls=1)
    simulator.script("own-aliased", headers=SSE if stream else JSON, body=body.decode())
    answer = own.post(ask("own-alias", stream=stream, tools=TOOLS))
    assert answer.status == 200
    assert ODD.encode() not in answer.body
    shown = orjson.loads(answer.body)["content"][1]["id"] if not stream else None
    if stream:
        starts = [one for one in events(answer.body) if one["type"] == "content_block_start"]
        shown = starts[1]["content_block"]["id"]
        begun = body[: body.index(ODD.encode()) - 200]
        assert answer.body.startswith(begun[: begun.rindex(b"\n\n")])
    else:
        assert answer.json["model"] == "m"
        assert "total_tokens" not in answer.json["usage"]
    assert str(shown).startswith("toolu_vai_")


@pytest.mark.parametrize("prefix", ["claude-", "anthropic/"])
def test_a_history_of_odd_ids_is_legal_at_anthropic(own, simulator, prefix):
    model = f"{prefix}odd-history-{prefix[:2]}"
    body = ask(model, tools=TOOLS) | {
        "messages": [
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": ODD, "name": "look", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": ODD, "content": "r"}],
            },
        ]
    }
    assert own.post(body).status == 200
    sent = orjson.loads(body_of(simulator.journal(model=model.removeprefix("anthropic/"))[-1]))
    call, result = sent["messages"][1]["content"][0], sent["messages"][2]["content"][0]
    assert call["id"] == result["tool_use_id"]
    assert call["id"].replace("_", "").replace("-", "").isalnum()


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json", "text/event-stream"])
@pytest.mark.parametrize("streams", [False, True], ids=["given json", "given a stream"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("provider", KINDS)
def test_the_body_says_what_it_is(own, simulator, provider, stream, streams, kind):
    model = f"{provider}-label-{stream}-{streams}-{str(kind)[:6]}"
    headers = {"content-type": kind} if kind else {}
    body = said(provider, stream=streams, calls=1).decode()
    simulator.script(model, headers=headers, body=body)
    answer = own.post(ask(f"{provider}/{model}", stream=stream, tools=TOOLS))
    assert answer.status == 200, answer
    if not stream:
        assert answer.header("content-type") == "application/json"
        assert answer.json["content"][0]["text"] == "So."
        assert answer.json["content"][1]["input"] == {"x": 1}
        assert answer.json["model"] == f"{provider}/m"
        return
    found = check_stream(events(answer.body))
    assert found[-1]["type"] == "message_stop"
    texts = [event["delta"].get("text") for event in found if "text" in event.get("delta", {})]
    assert "".join(texts) == "So."

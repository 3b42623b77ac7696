"""Conversations that Anthropic keeps: sent where it can, refused wherever VAI translates.

A request that continues a thread holds its new messages alone. Sent to any other model it
would be answered without what came before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import orjson
import pytest
from anthropic import beta_tool

from tests.canary import KEY
from tests.e2e.conftest import lent_key
from tests.e2e.rig import FACES, Gateway, Simulated, ask, body_of, running

pytestmark = pytest.mark.e2e

TRANSLATED = [name for name in (*FACES, "gemini-oauth") if name != "anthropic"]
CREATE = {"type": "create"}
CONTINUE = {"type": "continue", "previous_message_id": "msg_01Sim1"}
BETAS = {"anthropic-beta": "message-threads-2026-08-12"}
REFUSED = {"error_code": "thread_unsupported_request", "unsupported": ["model"]}
ALIASES = {
    "down-then-groq": ["anthropic/claude-th-down;status=529", "groq/threads-backup"],
    "groq-then-claude": ["groq/threads-never", "anthropic/claude-th-second"],
    "groq-then-down": ["groq/threads-skipped", "anthropic/claude-th-down;status=529"],
}


@pytest.fixture(scope="module")
def threaded(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Aliases with a target of either kind, and a server that only speaks the protocol."""
    providers: dict[str, Any] = {
        name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)} for name in FACES
    }
    providers["own"] = {"kind": "anthropic", "api_key": lent_key("own")}
    providers["own"]["base_url"] = simulator.base_url("anthropic")
    settings = {
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY}}},
        "breaker": {"enabled": False},
        "retries": {"max_attempts": 2, "base_delay": 0.01},
        "providers": providers,
        "aliases": ALIASES,
    }
    with running(settings, tmp_path_factory.mktemp("threads"), "--single-process") as gateway:
        yield gateway


def refused(answer) -> None:
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["details"] == REFUSED
    assert answer.error["param"] == "thread"


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("thread", [CREATE, CONTINUE, "t"], ids=["create", "continue", "odd"])
@pytest.mark.parametrize("provider", TRANSLATED)
def test_a_thread_is_refused_where_it_would_be_translated(
    gateway, simulator, provider, thread, stream
):
    refused(gateway.post(ask(f"{provider}/no-threads", thread=thread, stream=stream)))
    assert simulator.journal("no-threads") == []


@pytest.mark.parametrize(
    "more",
    [
        {"output_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
        {"extensions": {"anthropic": {"speed": "standard"}}},
        {"max_tokens": None},
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "t", "signature": "vai1.groq.item."},
                        {"type": "text", "text": "Yes"},
                    ],
                },
                {"role": "user", "content": "On"},
            ]
        },
    ],
    ids=["form", "extension", "no limit", "foreign reasoning"],
)
def test_it_is_refused_where_a_request_for_a_claude_is_translated(gateway, simulator, more):
    refused(gateway.post(ask("anthropic/claude-no-threads", thread=CONTINUE, **more)))
    assert simulator.journal("claude-no-threads") == []


def test_nothing_is_refused_for_a_thread_of_null(gateway):
    assert gateway.post(ask("groq/null-thread", thread=None)).status == 200


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_a_part_of_a_conversation_is_not_counted_for_the_whole(gateway, provider):
    body = ask(f"{provider}/counted", thread=CONTINUE)
    del body["max_tokens"]
    refused(gateway.post(body, path="/v1/messages/count_tokens"))


def test_a_server_of_ones_own_is_not_taken_for_anthropic(threaded, simulator):
    refused(threaded.post(ask("own/claude-own-thread", thread=CREATE)))
    assert simulator.journal("claude-own-thread") == []


@pytest.mark.parametrize("model", ["claude-th-bare", "anthropic/claude-th-prefixed"])
def test_a_thread_of_anthropics_goes_there_as_it_is(gateway, simulator, model):
    first = gateway.post(ask(model, thread=CREATE), BETAS)
    assert first.status == 200
    again = ask(model, "What did I say?", thread={**CONTINUE, "previous_message_id": "m"})
    again["thread"]["previous_message_id"] = first.json["id"]
    assert gateway.post(again, BETAS).status == 200
    sent = [orjson.loads(body_of(entry)) for entry in simulator.journal(model.split("/")[-1])]
    assert [body["thread"] for body in sent] == [CREATE, again["thread"]]
    assert len(sent[1]["messages"]) == 1


@pytest.mark.parametrize("thread", [CREATE, CONTINUE], ids=["create", "continue"])
@pytest.mark.parametrize(
    ("alias", "untouched"),
    [("down-then-groq", "threads-backup"), ("groq-then-down", "threads-skipped")],
)
def test_a_fallback_gets_no_part_of_a_conversation(threaded, simulator, alias, untouched, thread):
    before = simulator.last
    refused(threaded.post(ask(alias, thread=thread), BETAS))
    assert simulator.journal(untouched, before) == []
    # Without the thread, as the client sends it next, the fallback answers.
    assert threaded.post(ask(alias)).status == 200
    assert len(simulator.journal(untouched, before)) == 1


def test_a_target_that_keeps_threads_is_found_behind_one_that_does_not(threaded, simulator):
    answer = threaded.post(ask("groq-then-claude", thread=CREATE), BETAS)
    assert answer.status == 200
    assert simulator.journal("threads-never") == []
    assert orjson.loads(body_of(simulator.one("claude-th-second")))["thread"] == CREATE


RUNNERS = ["claude-th-run", *(f"{name}/th-run" for name in (*FACES, "gemini-oauth"))]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("model", RUNNERS)
def test_the_tool_runner_of_the_newest_sdk(gateway, simulator, model, stream):
    asked = []

    @beta_tool
    def get_clock() -> str:
        """The time."""
        asked.append("now")
        return "twelve o'clock"

    before = simulator.last
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model=model,
            max_tokens=500,
            messages=[{"role": "user", "content": "Call get_clock"}],
            tools=[get_clock],
            stream=stream,
        )
        final = [item.get_final_message() if stream else item for item in runner][-1]
    assert asked == ["now"]
    assert "twelve o'clock" in final.content[-1].text
    sent = [orjson.loads(body_of(entry)) for entry in simulator.journal(after=before)]
    assert len(sent) == 2
    threads = [(body.get("thread") or {}).get("type") for body in sent]
    kept = "claude" in model or model.startswith("anthropic/")
    assert threads == (["create", "continue"] if kept else [None, None])


def test_the_sdk_names_the_error(gateway):
    said = {"max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], "thread": CREATE}
    with (
        anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client,
        pytest.raises(anthropic.BadRequestError) as caught,
    ):
        client.beta.messages.create(model="groq/named", **said)
    assert type(caught.value).__name__ == "ThreadUnsupportedRequestError"
    assert caught.value.details.unsupported == ["model"]

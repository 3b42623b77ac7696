"""What becomes of members that only Anthropic's API has, at every provider.

A member that promises something for later requests, or for who pays, is never left out.
"""

from __future__ import annotations

import orjson
import pytest
from anthropic.types.beta import message_create_params

from vai.errors import InvalidRequest, ThreadUnsupported
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

USER = [{"role": "user", "content": "go"}]
MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-5.4",
    "groq": "qwen/qwen3.8-27b",
    "cerebras": "gpt-oss-120b",
    "oai-resp": "gpt-5.5",
    "gemini": "gemini-2.5-flash",
    "gemini-oauth": "gemini-2.5-flash",
}
TRANSLATED = [name for name in MODELS if name != "anthropic"]
SERVER = {"type": "url", "url": "https://mcp.example", "name": "m"}
VALUES = {
    "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
    "compaction": {"type": "compaction"},
    "container": {"skills": [{"type": "anthropic", "skill_id": "pptx"}]},
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "diagnostics": {"previous_message_id": "msg_1"},
    "fallback_credit_token": "t",
    "fallbacks": [{"model": "claude-haiku-4-5"}],
    "inference_geo": "us",
    "mcp_servers": [SERVER],
    "speed": "fast",
    "thread": {"type": "create"},
}
REFUSED = {"billing_policy", "compaction", "container", "mcp_servers", "thread"}
TAKEN = {("speed", "openai"), ("speed", "oai-resp"), ("mcp_servers", "oai-resp")}
FIELDS = {
    *("max_tokens", "messages", "model", "cache_control", "metadata", "output_config"),
    *("service_tier", "stop_sequences", "system", "thinking", "tool_choice", "tools", "stream"),
}
"""Members that are fields of VAI's own request."""
HEADERS = {"betas", "user_profile_id", "workspace_id"}
"""Arguments of the SDK that it sends as headers."""


def outcome(provider, **members):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    said = {"model": MODELS[provider], "messages": USER, "max_tokens": 500, **members}
    try:
        wire = adapter.build_request(parse.parse_request(said))
    except InvalidRequest as error:
        return "refused", error
    return ("named" if adapter.dropped else "sent"), (adapter.dropped, orjson.loads(wire.body))


def test_every_member_of_the_newest_sdk_is_decided():
    declared = message_create_params.MessageCreateParamsBase.__annotations__.keys()
    assert declared - FIELDS - HEADERS - VALUES.keys() == set()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("provider", TRANSLATED)
def test_a_member_is_sent_or_refused_or_named(provider, name):
    became, found = outcome(provider, **{name: VALUES[name]})
    if name in REFUSED and not (name == "mcp_servers" and provider == "oai-resp"):
        assert became == "refused"
        assert found.param == name
    elif (name, provider) in {
        ("speed", "openai"),
        ("speed", "oai-resp"),
        ("mcp_servers", "oai-resp"),
    }:
        assert became in ("sent", "named")
    else:
        assert (became, found[0]) == ("named", [name])


@pytest.mark.parametrize("name", [name for name in VALUES if name != "thread"])
def test_anthropic_is_told_all_of_them(name):
    became, found = outcome("anthropic", **{name: VALUES[name]})
    assert became == "sent"
    assert found[1][name] == VALUES[name]


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue"}, {}, "t", False])
def test_no_adapter_sees_a_thread(provider, thread):
    _, error = outcome(provider, thread=thread)
    assert isinstance(error, ThreadUnsupported)
    assert error.details == {
        "error_code": "thread_unsupported_request",
        "unsupported": ["model"],
    }


@pytest.mark.parametrize("provider", TRANSLATED)
@pytest.mark.parametrize(
    "members",
    [
        {"billing_policy": {"type": "billing_policy", "bill_to": "self"}},
        {"container": "container_1"},
        {"container": {"id": "container_1", "skills": []}},
    ],
)
def test_what_asks_for_nothing_is_named(provider, members):
    became, found = outcome(provider, **members)
    assert (became, found[0]) == ("named", list(members))


@pytest.mark.parametrize("provider", MODELS)
def test_an_empty_member_says_nothing(provider):
    empty = dict.fromkeys(VALUES)
    empty["mcp_servers"] = []
    became, (dropped, _) = outcome(provider, **empty)
    assert (became, dropped) == ("sent", [])


@pytest.mark.parametrize("provider", TRANSLATED)
@pytest.mark.parametrize("name", ["conversation", "previous_message_id", "previous_response_id"])
def test_what_points_to_earlier_messages_is_refused(provider, name):
    """Members of other APIs, whose callers send the new messages only."""
    became, error = outcome(provider, **{name: "msg_1"})
    assert (became, error.param) == ("refused", name)
    assert outcome(provider, **{name: None})[0] == "sent"

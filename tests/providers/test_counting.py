"""What each provider's counter is asked, and what is made of its answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai import types as google

from vai.errors import InvalidRequest, UpstreamBroken
from vai.providers.counting import CountRequest, build_count_request
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import ProviderSpec

TOOL = {
    "name": "look",
    "description": "Looks",
    "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}},
}
MODELS = {
    "anthropic": "claude-opus-4-5",
    "openai": "gpt-5.4",
    "oai-resp": "gpt-5.4",
    "gemini": "gemini-2.5-pro",
    "gemini-oauth": "gemini-2.5-pro",
}


def asked(row: ProviderSpec, **more: Any) -> CountRequest | None:
    said = {
        "model": MODELS.get(row.id, "some-model"),
        "system": "Be brief",
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [TOOL],
        "thinking": {"type": "enabled", "budget_tokens": 20_000},
        "stream": True,
        "stop_sequences": ["X"],
        "metadata": {"user_id": "u"},
    }
    return build_count_request(
        row, parse.parse_request(said | more), "x1", {"anthropic-version": "2023-06-01"}
    )


def body(row: ProviderSpec, **more: Any) -> tuple[str, dict[str, Any]]:
    made = asked(row, **more)
    assert made is not None
    assert made.wire.method == "POST"
    assert not made.wire.streams
    return made.wire.target, orjson.loads(made.wire.body)


def test_anthropic_is_sent_what_weighs() -> None:
    target, sent = body(PROVIDER_SPECS["anthropic"])
    assert target == "/v1/messages/count_tokens"
    assert set(sent) <= {"model", "messages", "system", "tools", "thinking"}
    assert sent["messages"] == [{"role": "user", "content": "Hello"}]


# The members of openai.types.responses.InputTokenCountParams.
_OPENAI = {
    "conversation",
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "personality",
    "previous_response_id",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
}


@pytest.mark.parametrize("provider", ["openai", "oai-resp"])
def test_openai_counts_in_the_words_of_responses(provider: str) -> None:
    from openai.types.responses import input_token_count_params as params

    assert set(params.InputTokenCountParams.__annotations__) == _OPENAI
    target, sent = body(PROVIDER_SPECS[provider])
    assert target == "/responses/input_tokens"
    assert set(sent) <= _OPENAI
    assert sent["instructions"] == "Be brief"
    assert sent["tools"][0]["name"] == "look"


def test_gemini_is_sent_the_whole_request() -> None:
    target, sent = body(PROVIDER_SPECS["gemini"])
    assert target.endswith("/models/gemini-2.5-pro:countTokens")
    (request,) = sent.values()
    assert set(sent) == {"generateContentRequest"}
    assert request["model"] == "models/gemini-2.5-pro"
    assert request["systemInstruction"]["parts"][0]["text"] == "Be brief"
    assert request["tools"]
    assert google.Content.model_validate(request["contents"][0]).role == "user"


def test_code_assist_is_sent_contents_alone() -> None:
    target, sent = body(PROVIDER_SPECS["gemini-oauth"])
    assert target.endswith("/v1internal:countTokens")
    request = sent["request"]
    assert set(sent) == {"request"}
    assert set(request) == {"model", "contents"}
    assert request["model"] == "models/gemini-2.5-pro"
    texts = [part["text"] for content in request["contents"] for part in content["parts"]]
    assert texts == ["Be brief", "Hello"]
    told, untold = (
        asked(PROVIDER_SPECS["gemini-oauth"], tools=None),
        asked(PROVIDER_SPECS["gemini-oauth"]),
    )
    assert told is not None
    assert told.is_exact
    assert untold is not None
    assert not untold.is_exact


@pytest.mark.parametrize(
    "row",
    [
        PROVIDER_SPECS["groq"],
        PROVIDER_SPECS["cerebras"],
        # The name is OpenAI's, the server is not.
        ProviderSpec(
            id="openai",
            name="OpenAI",
            kind="openai",
            base_url="https://proxy.example/v1",
            path="/chat/completions",
            auth="bearer",
        ),
        ProviderSpec(
            id="mine",
            name="Mine",
            kind="openai",
            base_url="https://api.openai.com/v1",
            path="/chat/completions",
            auth="bearer",
        ),
    ],
)
def test_others_are_not_asked(row: ProviderSpec) -> None:
    assert asked(row) is None


def test_what_cannot_be_said_is_told_as_for_a_message() -> None:
    film = {"type": "video", "source": {"type": "base64", "media_type": "video/mp4", "data": "AA"}}
    with pytest.raises(InvalidRequest):
        asked(PROVIDER_SPECS["anthropic"], messages=[{"role": "user", "content": [film]}])


@pytest.mark.parametrize("provider", MODELS)
def test_an_answer_is_a_count_or_none(provider: str) -> None:
    made = asked(PROVIDER_SPECS[provider])
    assert made is not None
    member = made.member.encode()
    assert made.read_count(b'{"%b": 12, "more": {}}' % member) == 12
    for wrong in (b"", b"[]", b"{}", b'{"%b": ' % member, b"[" * 100_000, b"\xff"):
        with pytest.raises(UpstreamBroken):
            made.read_count(wrong)
    for value in (b"-1", b'"12"', b"1.5", b"true", b"null"):
        with pytest.raises(UpstreamBroken):
            made.read_count(b'{"%b": %b}' % (member, value))

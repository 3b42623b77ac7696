"""One conversation, on every provider and across them, as the official client leads it.

Pictures, reasoning, parallel calls, results with pictures, a failed result and a forced tool:
everything at once and turn after turn, with the client's own objects as the history. The
simulator refuses what the real service refuses: a signature it did not make, a call without
its result, a reasoning model's call without its reasoning.
"""

from __future__ import annotations

import anthropic
import pytest

from tests.canary import KEY
from tests.e2e.rig import Gateway
from tests.e2e.test_sdk import CLOCK, WEATHER, picture

pytestmark = pytest.mark.e2e

MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-4o",
    "oai-resp": "gpt-5.6-sol",
    "gemini": "gemini-3.6-flash",
    "gemini-oauth": "gemini-3.5-flash",
    "groq": "qwen/qwen3.8-27b",
    "cerebras": "qwen-3.8-27b",
}
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": picture(3, 2)},
}
HINTS = {
    "metadata": {"user_id": "u-1"},
    "service_tier": "auto",
    "stop_sequences": ["NEVER-SAID"],
}
DROPPED = {
    "anthropic": set(),
    "openai": {"system[*].cache_control", "thinking"},
    "oai-resp": set(),
    "gemini": {"metadata.user_id", "service_tier", "system[*].cache_control"},
    "gemini-oauth": {"metadata.user_id", "service_tier", "system[*].cache_control"},
    "groq": {"system[*].cache_control"},
    "cerebras": {"system[*].cache_control"},
}
"""Provider -> what its answers say was left out, over the whole conversation."""


class Talk:
    """A conversation in progress; every turn is answered by the provider it is given."""

    def __init__(self, client: anthropic.Anthropic, *, stream: bool) -> None:
        self.client = client
        self.stream = stream
        self.messages: list[dict] = []
        self.dropped: set[str] = set()

    def turn(self, provider: str, content: object, **said: object) -> anthropic.types.Message:
        """Say `content`; the answer becomes part of the history."""
        self.messages.append({"role": "user", "content": content})
        request = {
            "model": f"{provider}/{MODELS[provider]}",
            "max_tokens": 4000,
            "system": [
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
            ],
            "messages": self.messages,
            "tools": [WEATHER, CLOCK],
            **said,
        }
        if self.stream:
            with self.client.messages.stream(**request) as got:
                answer = got.get_final_message()
                headers = got.response.headers
        else:
            raw = self.client.messages.with_raw_response.create(**request)
            answer, headers = raw.parse(), raw.headers
        self.dropped |= {item.strip() for item in headers.get("x-vai-dropped", "").split(",")} - {
            ""
        }
        assert answer.model.startswith(f"{provider}/"), answer.model
        self.messages.append(
            {
                "role": "assistant",
                "content": [b.model_dump(exclude_none=True) for b in answer.content],
            }
        )
        return answer

    def results(self, answer: anthropic.types.Message) -> list[dict]:
        """What the tools said: a picture, then a failure."""
        said: list[dict] = []
        for number, call in enumerate(calls_of(answer)):
            content = [{"type": "text", "text": f"found {number}"}, IMAGE]
            said.append(
                {"type": "tool_result", "tool_use_id": call.id, "content": content}
                if number == 0
                else {
                    "type": "tool_result",
                    "tool_use_id": call.id,
                    "content": "no clock here",
                    "is_error": True,
                }
            )
        return said


def calls_of(answer: anthropic.types.Message) -> list[anthropic.types.ToolUseBlock]:
    return [block for block in answer.content if block.type == "tool_use"]


def said_by(answer: anthropic.types.Message) -> str:
    return "".join(block.text for block in answer.content if block.type == "text")


def whole_conversation(talk: Talk, providers: list[str]) -> None:
    """Five turns; turn k is answered by provider k of the list, round and round."""
    asked = iter(range(100))

    def provider() -> str:
        return providers[next(asked) % len(providers)]

    thinking = {"type": "enabled", "budget_tokens": 1500}
    first = talk.turn(
        provider(),
        [IMAGE, {"type": "text", "text": "Call get_weather and get_clock for Oslo"}],
        thinking=thinking,
        **HINTS,
    )
    assert first.stop_reason == "tool_use"
    assert [call.name for call in calls_of(first)] == ["get_weather", "get_clock"]
    assert set(calls_of(first)[0].input) == {"city", "days"}
    second = talk.turn(provider(), talk.results(first), thinking=thinking)
    assert second.stop_reason == "end_turn"
    assert "found 0" in said_by(second)
    assert "no clock here" in said_by(second)
    third = talk.turn(
        provider(), "Anything at all", tool_choice={"type": "tool", "name": "get_clock"}
    )
    assert [call.name for call in calls_of(third)] == ["get_clock"]
    fourth = talk.turn(provider(), talk.results(third), thinking=thinking)
    assert "found 0" in said_by(fourth)
    fifth = talk.turn(provider(), [{"type": "text", "text": "Thanks, Hello there"}])
    assert "Hello there" in said_by(fifth)
    assert fifth.usage.input_tokens > 0
    assert fifth.usage.output_tokens > 0


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> anthropic.Anthropic:
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as made:
        yield made


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("provider", MODELS)
def test_on_one_provider(client, provider, stream):
    talk = Talk(client, stream=stream)
    whole_conversation(talk, [provider])
    assert talk.dropped == DROPPED[provider]


PATHS = [
    *(["anthropic", other] for other in MODELS if other != "anthropic"),
    *([other, "anthropic"] for other in MODELS if other != "anthropic"),
    ["oai-resp", "gemini"],
    ["gemini", "groq", "oai-resp"],
    list(MODELS),
    list(reversed(MODELS)),
]


SEARCHING = ["anthropic", "oai-resp", "gemini", "gemini-oauth"]
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("first", SEARCHING)
def test_what_one_provider_found_is_no_burden_to_another(
    gateway: Gateway, client, monkeypatch, first, stream
):
    """Sources and searches of one provider, in histories for each of the others and back."""
    knobs = {name: f"{model};search=2" for name, model in MODELS.items()}
    for second in MODELS:
        monkeypatch.setitem(MODELS, first, knobs[first])
        talk = Talk(client, stream=stream)
        found = talk.turn(first, "What is new?", tools=[SEARCH])
        kinds = [block.type for block in found.content]
        assert "server_tool_use" in kinds
        assert "web_search_tool_result" in kinds
        assert any(block.citations for block in found.content if block.type == "text")
        monkeypatch.undo()
        asked = "Call get_clock"
        called = talk.turn(second, asked)
        assert [call.name for call in calls_of(called)] == ["get_clock"]
        talk.turn(first, talk.results(called))


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("path", PATHS, ids="-".join)
def test_across_providers_and_back(client, path, stream):
    talk = Talk(client, stream=stream)
    whole_conversation(talk, path)
    # The history is as long as it is honest: it can go on where it began.
    again = talk.turn(path[0], "Call get_clock")
    assert [call.name for call in calls_of(again)] == ["get_clock"]
    talk.turn(path[0], talk.results(again))

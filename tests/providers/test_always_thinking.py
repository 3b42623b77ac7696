"""A model that always thinks is never asked not to, and each effort sent is one that it knows.

Invariants: the catalogue says which models think always, the adapters go by a model's
name; here the one is held against the other, for every model and every way to ask.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from vai.errors import InvalidRequest
from vai.io.catalogue import installed_catalogue
from vai.providers.anthropic import models as claudes
from vai.providers.counting import build_count_request
from vai.providers.factory import make_adapter
from vai.providers.gemini import models as googles
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate import openai_models as models
from vai.providers.translate.options import EFFORTS, clamp_effort
from vai.providers.translate.reasoning import without_reasoning
from vai.types import parse
from vai.types.catalogue import ModelCard

USER = {"role": "user", "content": "go"}
THOUGHT = {"type": "thinking", "thinking": "t", "signature": "Eq=="}
HISTORY = [USER, {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "a"}]}, USER]
TOOLS = {"tools": [{"name": "f", "description": "F.", "input_schema": {"type": "object"}}]}

WAYS: dict[str, dict[str, Any]] = {
    "absent": {},
    "disabled": {"thinking": {"type": "disabled"}},
    "between_tools": {"thinking": {"type": "between_tools"}},
    "adaptive": {"thinking": {"type": "adaptive"}},
    **{
        f"budget {size}": {"thinking": {"type": "enabled", "budget_tokens": size}}
        for size in (1024, 3000, 10_000, 50_000, 100_000)
    },
    **{f"effort {word}": {"output_config": {"effort": word}} for word in EFFORTS},
    "disabled, effort high": {
        "thinking": {"type": "disabled"},
        "output_config": {"effort": "high"},
    },
    "adaptive, effort none": {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "none"},
    },
    "temperature": {"temperature": 0.5},
}
OFF_BY_EXTENSION: dict[str, dict[str, Any]] = {
    "chat": {"reasoning_effort": "none"},
    "responses": {"reasoning": {"effort": "none"}},
    "cerebras": {"disable_reasoning": True},
    "gemini": {"thinking_config": {"thinking_budget": 0}},
    "gemini flat": {"thinkingBudget": 0},
    "gemini text": {"thinking_config": {"thinking_budget": "0"}},
    "gemini level": {"thinking_config": {"thinking_level": "none"}},
    "gemini flat level": {"thinkingLevel": "NONE"},
}
CARDS = [(card.provider, card) for card in installed_catalogue().cards]
IDS = [f"{provider}/{card.id}" for provider, card in CARDS]


def row_of(provider: str, model: str, custom: bool):
    """The provider's own row, or one of the settings whose models are described as that one."""
    row = PROVIDER_SPECS[provider]
    if not custom or row.kind in ("gemini", "code-assist"):
        return row, model
    kind = "anthropic" if row.kind == "anthropic" else "openai"
    like = PROVIDER_SPECS["anthropic" if kind == "anthropic" else "openai"]
    described = f"{provider}/{model}"
    made = msgspec.structs.replace(like, id="mine", base_url="http://mine", described_as=described)
    return msgspec.structs.replace(made, quirks=frozenset()), "local-name"


def bodies(provider: str, model: str, fields: dict[str, Any], *, custom: bool):
    """What is sent for an answer, again without reasoning, and to the counter."""
    row, name = row_of(provider, model, custom)
    for stream, tools in ((False, {}), (True, TOOLS)):
        said = {"model": name, "max_tokens": 200_000, "messages": HISTORY, "stream": stream}
        asked = parse.parse_request({**said, **tools, **fields})
        for request in (asked, without_reasoning(asked)):
            assert request is not None
            adapter = make_adapter(row, "01", request=request)
            if is_refused(row, request):
                with pytest.raises(InvalidRequest, match="this model always thinks"):
                    adapter.build_request(request)
            else:
                yield orjson.loads(adapter.build_request(request).body)
        if not is_refused(row, asked):
            counted = build_count_request(row, asked, "01", {})
            if counted is not None:
                yield orjson.loads(counted.wire.body)


def is_refused(row, request) -> bool:
    """Whether the request demands of a Claude what it cannot do, which is told at once."""
    if (
        row.kind != "anthropic"
        or claudes.find_traits(row.find_catalogue_key(request.model)[1]).thinking_can_be_disabled
    ):
        return False
    asked = (request.extensions or {}).get("anthropic", {}).get("thinking")
    types = {getattr(request.thinking, "type", None), asked and asked["type"]}
    return "disabled" in types


def inner(body: dict[str, Any]) -> dict[str, Any]:
    """The request inside Code Assist's envelope, or the counter's."""
    return inner(body.get("request") or body["generateContentRequest"]) if (
        "request" in body or "generateContentRequest" in body
    ) else body  # fmt: skip


def efforts_in(body: dict[str, Any]) -> set[str]:
    thinking = inner(body).get("generationConfig", {}).get("thinkingConfig", {})
    found = {
        body.get("reasoning_effort"),
        (body.get("reasoning") or {}).get("effort"),
        (body.get("output_config") or {}).get("effort"),
        thinking.get("thinkingLevel", "").lower() or None,
    }
    return found - {None}


def is_off(body: dict[str, Any]) -> bool:
    thinking = inner(body).get("generationConfig", {}).get("thinkingConfig", {})
    return (
        "none" in efforts_in(body)
        or body.get("disable_reasoning") is True
        or thinking.get("thinkingBudget") == 0
        or (body.get("thinking") or {}).get("type") == "disabled"
    )


def known_efforts(provider: str, card: ModelCard) -> tuple[str, ...] | None:
    """The catalogue's, else those of the adapter's own table; None where any may be named."""
    if card.features.thinking.efforts:
        return card.features.thinking.efforts
    if provider in ("gemini", "gemini-oauth"):
        return googles.traits_of_model(card.id).levels
    return None if provider == "anthropic" else models.traits_of_model(provider, card.id).efforts


@pytest.mark.parametrize("custom", [False, True], ids=["built in", "price_as"])
@pytest.mark.parametrize(("provider", "card"), CARDS, ids=IDS)
def test_no_model_that_always_thinks_is_asked_not_to(provider, card, custom):
    known = known_efforts(provider, card)
    for name in (card.id, *card.aliases):
        for way, fields in WAYS.items():
            for body in bodies(provider, name, fields, custom=custom):
                assert not (card.features.thinking.always_on and is_off(body)), way
                assert known is None or efforts_in(body) <= set(known), (way, efforts_in(body))
                if way not in ("absent", "disabled", "between_tools", "temperature") and (
                    "none" not in way and not way.startswith("disabled")
                ):
                    # Chat Completions of OpenAI takes tools of these models without reasoning.
                    quiet = provider in ("openai", "oai-resp") and "tools" in body and custom
                    assert quiet or not is_off(body), way


@pytest.mark.parametrize(
    ("provider", "card"),
    [(p, c) for p, c in CARDS if c.features.thinking.always_on],
    ids=[i for i, (_, c) in zip(IDS, CARDS, strict=True) if c.features.thinking.always_on],
)
@pytest.mark.parametrize("words", OFF_BY_EXTENSION)
def test_nor_by_a_word_of_the_provider(provider, card, words):
    if provider == "anthropic":
        fields = {"extensions": {"anthropic": {"thinking": {"type": "disabled"}}}}
    else:
        fields = {"extensions": {provider: OFF_BY_EXTENSION[words]}}
    for body in bodies(provider, card.id, fields, custom=False):
        assert not is_off(body)


@pytest.mark.parametrize(
    ("provider", "card"),
    [(p, c) for p, c in CARDS if c.features.thinking.always_on is False and p != "anthropic"],
    ids=[
        i
        for i, (p, c) in zip(IDS, CARDS, strict=True)
        if c.features.thinking.always_on is False and p != "anthropic"
    ],
)
def test_a_model_that_can_rest_is_switched_off_when_it_is_asked_to(provider, card):
    sent = list(bodies(provider, card.id, WAYS["disabled"], custom=False))
    assert sent
    assert all(is_off(body) for body in sent)


@pytest.mark.parametrize(("provider", "card"), CARDS, ids=IDS)
def test_the_tables_of_the_adapters_say_what_the_catalogue_says(provider, card):
    thinking = card.features.thinking
    if provider in ("openai", "oai-resp", "groq", "cerebras") and thinking.efforts is not None:
        assert models.traits_of_model(provider, card.id).efforts == thinking.efforts
    if provider in ("gemini", "gemini-oauth") and thinking.efforts:
        assert googles.traits_of_model(card.id).levels == thinking.efforts
    if provider == "anthropic" and thinking.efforts:
        assert claudes.find_traits(card.id).efforts == thinking.efforts
    if provider == "anthropic" and thinking.always_on is not None:
        assert claudes.find_traits(card.id).thinking_can_be_disabled is not thinking.always_on
    if provider not in ("anthropic", "gemini", "gemini-oauth") and thinking.always_on is not None:
        assert models.traits_of_model(provider, card.id).always_reasons is thinking.always_on


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("gpt-5-pro", ("high",)),
        ("gpt-5.2-pro", ("medium", "high", "xhigh")),
        ("gpt-5.4-pro-2026-03-05", ("medium", "high", "xhigh")),
        ("gpt-5.5-pro", ("medium", "high", "xhigh")),
        ("gpt-5-codex", ("low", "medium", "high")),
        ("gpt-5.1-chat-latest", ()),
        ("gpt-6-astra-law", ("low", "medium", "high", "xhigh", "max")),
        ("gpt-6.2-sol", ("low", "medium", "high", "xhigh", "max")),
        ("gpt-7", ("low", "medium", "high", "xhigh", "max")),
        ("o4-mini", ("low", "medium", "high")),
    ],
)
def test_a_model_that_may_not_know_none_is_not_told_it(model, efforts):
    assert models.traits_of_model("openai", model).efforts == efforts
    for way in ("disabled", "adaptive", "absent"):
        for body in bodies("openai", model, WAYS[way], custom=False):
            assert not is_off(body)
            assert efforts_in(body) <= set(efforts)


@pytest.mark.parametrize("model", ["gemini-3.7-flash", "gemini-3.8-flash", "gemini-flash-latest"])
def test_newer_flash_models_know_no_minimal_level(model):
    for body in bodies("gemini", model, WAYS["disabled"], custom=False):
        assert efforts_in(body) == {"low"}
    for body in bodies("gemini", "gemini-3.6-flash", WAYS["disabled"], custom=False):
        assert efforts_in(body) == {"minimal"}


@pytest.mark.parametrize(
    "model", ["gpt-5.5-pro", "o3-pro", "gpt-5.3-codex", "o4-mini-deep-research"]
)
def test_a_model_that_only_responses_has_is_asked_for_there(model):
    asked = parse.parse_request({"model": model, "max_tokens": 99, "messages": [USER]})
    assert (
        make_adapter(PROVIDER_SPECS["openai"], "01", request=asked).build_request(asked).target
        == "/responses"
    )


@pytest.mark.parametrize(
    ("model", "effort", "sent", "dropped"),
    [
        ("claude-opus-4-5", "max", "high", ["output_config.effort"]),
        ("claude-opus-4-6", "xhigh", "high", ["output_config.effort"]),
        ("claude-opus-5-5", "none", "low", ["output_config.effort"]),
        ("claude-haiku-4-5", "low", None, ["output_config.effort"]),
        ("claude-opus-5-5", "xhigh", "xhigh", []),
        ("claude-opus-5-5", "extreme", "extreme", []),
        ("claude-haiku-4-5", "extreme", None, ["output_config.effort"]),
        ("claude-of-tomorrow", "max", "max", []),
    ],
)
def test_a_claude_is_told_an_effort_that_it_knows(model, effort, sent, dropped):
    said = {"model": model, "max_tokens": 99, "messages": [USER]}
    adapter = make_adapter(PROVIDER_SPECS["anthropic"], "01")
    wire = adapter.build_request(parse.parse_request({**said, "output_config": {"effort": effort}}))
    assert orjson.loads(wire.body).get("output_config", {}).get("effort") == sent
    assert adapter.dropped == dropped


@pytest.mark.parametrize(
    ("effort", "efforts", "nearest"),
    [
        ("low", ("none", "default"), "default"),
        ("max", ("none", "default"), "default"),
        ("minimal", ("none", "low", "high"), "low"),
        ("none", ("none", "low"), "none"),
        ("none", ("low", "high"), "low"),
        ("medium", ("low", "high"), "low"),
        ("low", ("none",), None),
        ("odd", ("none", "low"), None),
    ],
)
def test_a_little_reasoning_is_never_none(effort, efforts, nearest):
    assert clamp_effort(effort, efforts) == nearest

"""Model names -> providers and dialects."""

from __future__ import annotations

import pytest

from vai.errors import InvalidRequest, NotFound
from vai.policy.catalogue import Catalogue
from vai.policy.route import resolve_route
from vai.providers.registry import PROVIDER_SPECS
from vai.types.catalogue import ModelCard

ALIASES = {"fast": "groq/llama-3.3-70b", "smart": "anthropic/claude-sonnet-5", "best": "smart"}


@pytest.mark.parametrize(
    ("name", "provider", "model", "dialect"),
    [
        ("anthropic/claude-sonnet-4", "anthropic", "claude-sonnet-4", "vai"),
        ("openai/gpt-4o", "openai", "gpt-4o", "vai"),
        ("groq/openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b", "vai"),
        ("groq/x:thinking/y", "groq", "x:thinking/y", "vai"),
        ("claude-opus-5-5", "anthropic", "claude-opus-5-5", "upstream"),
        ("fast", "groq", "llama-3.3-70b", "vai"),
        ("smart", "anthropic", "claude-sonnet-5", "upstream"),
        ("best", "anthropic", "claude-sonnet-5", "upstream"),
    ],
)
def test_routes(name: str, provider: str, model: str, dialect: str) -> None:
    route = resolve_route(name, PROVIDER_SPECS, ALIASES)
    assert (route.spec.id, route.model, route.dialect) == (provider, model, dialect)
    assert route.name == f"{provider}/{model}"


@pytest.mark.parametrize("name", ["invalid", "/model", "anthropic/", "/", "gpt-4o"])
def test_what_is_no_model_name(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve_route(name, PROVIDER_SPECS, ALIASES)
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", ["nobody/x", "Anthropic/claude", " anthropic/x"])
def test_an_unknown_provider_is_not_found(name: str) -> None:
    with pytest.raises(NotFound) as caught:
        resolve_route(name, PROVIDER_SPECS, ALIASES)
    assert caught.value.param == "model"
    assert "nobody" not in caught.value.message


def test_a_bare_name_of_the_catalogue_finds_its_provider() -> None:
    known = Catalogue(
        [
            ModelCard(provider="openai", id="gpt-6-sol", also=("oai-resp",), aliases=("sol",)),
            ModelCard(provider="oai-resp", id="gpt-6-sol"),
            ModelCard(provider="nobody", id="unserved"),
            ModelCard(provider="anthropic", id="mythos"),
        ]
    )
    for name in ("gpt-6-sol", "sol"):
        route = resolve_route(name, PROVIDER_SPECS, ALIASES, known)
        assert (route.spec.id, route.model, route.dialect) == ("openai", name, "vai")
    assert resolve_route("mythos", PROVIDER_SPECS, ALIASES, known).dialect == "upstream"
    assert resolve_route("claude-new", PROVIDER_SPECS, ALIASES, known).spec.id == "anthropic"
    for name in ("unserved", "gpt-7-sol"):
        with pytest.raises(InvalidRequest):
            resolve_route(name, PROVIDER_SPECS, ALIASES, known)


def test_an_ambiguous_name_is_told_with_its_candidates() -> None:
    known = Catalogue([ModelCard(provider=name, id="oss") for name in ("groq", "cerebras")])
    with pytest.raises(InvalidRequest) as caught:
        resolve_route("oss", PROVIDER_SPECS, ALIASES, known)
    assert "groq/oss or cerebras/oss" in caught.value.message
    assert caught.value.status == 400

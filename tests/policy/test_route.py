"""Model names -> providers and dialects."""

from __future__ import annotations

import pytest

from vai.errors import InvalidRequest, NotFound
from vai.policy.route import resolve
from vai.providers.registry import ROWS

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
    route = resolve(name, ROWS, ALIASES)
    assert (route.row.id, route.model, route.dialect) == (provider, model, dialect)
    assert route.name == f"{provider}/{model}"


@pytest.mark.parametrize("name", ["invalid", "/model", "anthropic/", "/", "gpt-4o"])
def test_what_is_no_model_name(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(name, ROWS, ALIASES)
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", ["nobody/x", "Anthropic/claude", " anthropic/x"])
def test_an_unknown_provider_is_not_found(name: str) -> None:
    with pytest.raises(NotFound) as caught:
        resolve(name, ROWS, ALIASES)
    assert caught.value.param == "model"
    assert "nobody" not in caught.value.message

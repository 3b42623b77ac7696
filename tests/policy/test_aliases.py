"""What stands behind an alias."""

from __future__ import annotations

import pytest

from vai.errors import InvalidRequest
from vai.policy.aliases import alias_patterns, aliased_routes, expand_alias, matched_routes
from vai.providers.registry import PROVIDER_SPECS

ALIASES = {
    "fast": ("groq/llama",),
    "smart": ("anthropic/claude-x", "openai/gpt"),
    "best": ("smart", "fast", "openai/gpt"),
    "loop": ("pool", "groq/llama"),
    "pool": ("loop",),
}


def test_an_alias_of_aliases_is_all_their_targets_once() -> None:
    assert expand_alias("fast", ALIASES) == ("groq/llama",)
    assert expand_alias("best", ALIASES) == ("anthropic/claude-x", "openai/gpt", "groq/llama")


def test_a_circle_is_found() -> None:
    assert expand_alias("loop", ALIASES) is None
    assert expand_alias("pool", ALIASES) is None


def test_each_target_has_the_dialect_of_a_bare_name() -> None:
    routes = aliased_routes({"smart": ALIASES["smart"]}, PROVIDER_SPECS)["smart"]
    assert [(route.name, route.dialect) for route in routes] == [
        ("anthropic/claude-x", "upstream"),
        ("openai/gpt", "vai"),
    ]


PATTERNS = {
    "claude-*": ("groq/claude-*", "fast"),
    "claude-opus-*": ("openai/gpt",),
    "claude-*-x": ("openai/never",),
    "fast": ("groq/llama",),
}


@pytest.mark.parametrize(
    ("requested", "names"),
    [
        ("claude-haiku-4-5", ["groq/claude-haiku-4-5", "groq/llama"]),
        ("claude-opus-5", ["openai/gpt"]),
        ("claude-*", ["groq/claude-*", "groq/llama"]),
        ("claude", []),
        ("anthropic/claude-opus-5", []),
    ],
)
def test_a_pattern_stands_for_the_names_that_begin_so(requested: str, names: list[str]) -> None:
    routes = matched_routes(requested, alias_patterns(PATTERNS), PROVIDER_SPECS)
    assert [route.name for route in routes] == names
    assert set(aliased_routes(PATTERNS, PROVIDER_SPECS)) == {"claude-*-x", "fast"}


def test_a_rest_that_makes_no_model_is_refused() -> None:
    patterns = alias_patterns({"x-*": ("groq/*",)})
    with pytest.raises(InvalidRequest):
        matched_routes("x-", patterns, PROVIDER_SPECS)

"""What stands behind an alias."""

from __future__ import annotations

from vai.policy.targets import aliased_routes, targets_of
from vai.providers.registry import ROWS

ALIASES = {
    "fast": ("groq/llama",),
    "smart": ("anthropic/claude-x", "openai/gpt"),
    "best": ("smart", "fast", "openai/gpt"),
    "loop": ("pool", "groq/llama"),
    "pool": ("loop",),
}


def test_an_alias_of_aliases_is_all_their_targets_once() -> None:
    assert targets_of("fast", ALIASES) == ("groq/llama",)
    assert targets_of("best", ALIASES) == ("anthropic/claude-x", "openai/gpt", "groq/llama")


def test_a_circle_is_found() -> None:
    assert targets_of("loop", ALIASES) is None
    assert targets_of("pool", ALIASES) is None


def test_each_target_has_the_dialect_of_a_bare_name() -> None:
    routes = aliased_routes({"smart": ALIASES["smart"]}, ROWS)["smart"]
    assert [(route.name, route.dialect) for route in routes] == [
        ("anthropic/claude-x", "upstream"),
        ("openai/gpt", "vai"),
    ]

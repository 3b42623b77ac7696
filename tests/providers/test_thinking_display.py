"""How reasoning is to be shown is a hint: a word that a provider lacks refuses nothing."""

from __future__ import annotations

import pytest

from tests.providers.cases import MODELS
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

EVERY = [(provider, model) for provider, models in MODELS.items() for model in models]


def sent(provider: str, model: str, display: str) -> tuple[bytes, list[str]]:
    """The body for the provider, and what was dropped."""
    request = parse.parse_request(
        {
            "model": model,
            "max_tokens": 9000,
            "messages": [{"role": "user", "content": "go"}],
            "thinking": {"type": "enabled", "budget_tokens": 5000, "display": display},
        }
    )
    adapter = make_adapter(PROVIDER_SPECS[provider], model, request=request)
    return adapter.build_request(request).body, list(adapter.dropped)


@pytest.mark.parametrize("display", ["updates", "a-word-of-tomorrow"])
@pytest.mark.parametrize(("provider", "model"), EVERY)
def test_another_form_is_passed_on_or_named(provider, model, display):
    body, dropped = sent(provider, model, display)
    known, before = sent(provider, model, "summarized")
    if provider == "anthropic":
        assert body == known.replace(b'"summarized"', f'"{display}"'.encode())
        assert dropped == before
    else:
        assert body == known
        assert set(dropped) - set(before) <= {"thinking.display"}
        assert {"thinking", "thinking.display"} & set(dropped)


@pytest.mark.parametrize(("provider", "model"), EVERY)
def test_the_forms_that_all_have_are_not_named(provider, model):
    for display in ("summarized", "omitted"):
        assert "thinking.display" not in sent(provider, model, display)[1]

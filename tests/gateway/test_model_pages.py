"""Pages of models are rendered once a day, and what callers ask for is not kept."""

from __future__ import annotations

from datetime import date

import orjson
import pytest

from vai.errors import InvalidRequest
from vai.gateway.request.model_pages import ModelPages
from vai.io.catalogue import installed_catalogue
from vai.policy.model_listing import Listing
from vai.providers.registry import PROVIDER_SPECS

DAY = date(2026, 11, 30)


def test_a_page_is_rendered_once_a_day():
    pages = ModelPages(Listing(installed_catalogue(), PROVIDER_SPECS, {}, {}))
    first = pages.render_list("vai", DAY, {})
    assert pages.render_list("vai", DAY, {}) is first
    later = pages.render_list("vai", date(2026, 12, 1), {})
    assert orjson.loads(first) != orjson.loads(later)
    for number in range(20):
        pages.render_list("vai", DAY, {"provider": "groq", "x": f"{number}"})
        pages.render_list("anthropic", DAY, {"limit": str(number + 1)})
    assert len(pages._pages) <= 2


@pytest.mark.parametrize("form", ["vai", "openai", "anthropic"])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("provider", "nobody", "provider: expected one of anthropic, openai, oai-resp, groq"),
        ("provider", "", "provider: expected one of anthropic, openai, oai-resp, groq"),
        ("provider", "Groq", "provider: expected one of anthropic, openai, oai-resp, groq"),
        ("capability", "telepathy", "capability: expected one of text, image_output"),
    ],
)
def test_a_filter_that_cannot_be_lists_what_can(form, name, value, said):
    pages = ModelPages(Listing(installed_catalogue(), PROVIDER_SPECS, {}, {}))
    with pytest.raises(InvalidRequest) as caught:
        pages.render_list(form, DAY, {name: value})
    assert (caught.value.status, caught.value.param) == (400, name)
    assert caught.value.message.startswith(said)
    assert value not in caught.value.message.split() or not value

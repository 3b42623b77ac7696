"""Pages of models are rendered once a day, and what callers ask for is not kept."""

from __future__ import annotations

from datetime import date

import orjson

from vai.gateway.model_pages import ModelPages
from vai.io.catalogue import installed
from vai.policy.listing import Listing
from vai.providers.registry import ROWS

DAY = date(2026, 11, 30)


def test_a_page_is_rendered_once_a_day():
    pages = ModelPages(Listing(installed(), ROWS, {}, {}))
    first = pages.page("vai", DAY, {})
    assert pages.page("vai", DAY, {}) is first
    later = pages.page("vai", date(2026, 12, 1), {})
    assert orjson.loads(first) != orjson.loads(later)
    for number in range(20):
        pages.page("vai", DAY, {"provider": f"nobody-{number}"})
        pages.page("anthropic", DAY, {"limit": str(number + 1)})
    assert len(pages._kept) <= 2

"""The bodies of ``GET /v1/models``; those independent of the query are rendered once a day."""

from __future__ import annotations

from datetime import date

import orjson

from vai.errors import InvalidRequest
from vai.policy.model_listing import Listing

__all__ = ["ModelPages"]


class ModelPages:
    """The pages of one worker. It keeps the unfiltered `vai` and `openai` lists for a day."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._day = date.min
        self._pages: dict[str, bytes] = {}

    def render_list(self, form: str, day: date, query: dict[str, str]) -> bytes:
        """A list in this form.

        Raises:
            InvalidRequest: a parameter has an invalid value.
        """
        filters = {name: query[name] for name in ("provider", "capability") if name in query}
        if form == "anthropic":
            wire = self._listing.list_anthropic(
                day,
                **filters,
                limit=_parse_number(query.get("limit", "20")),
                after_id=query.get("after_id"),
                before_id=query.get("before_id"),
            )
            return orjson.dumps(wire)
        if filters and form == "openai":
            return orjson.dumps(self._listing.list_openai(**filters))
        if filters:
            return orjson.dumps(self._listing.list_vai(day, **filters))
        if day != self._day:
            self._day, self._pages = day, {}
        if form not in self._pages:
            listing = (
                self._listing.list_openai() if form == "openai" else self._listing.list_vai(day)
            )
            self._pages[form] = orjson.dumps(listing)
        return self._pages[form]

    def render_model(self, name: str, form: str, day: date) -> bytes:
        """One model.

        Raises:
            NotFound: it is not listed.
        """
        return orjson.dumps(self._listing.describe_model(name, form, day))


def _parse_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidRequest("limit: expected a listing number", param="limit")
    return int(text)

"""What a price list says of one model, in one form for every list and for the catalogue.

A fact is text. A fact that a list does not state is absent, and is compared with nothing.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec

__all__ = ["PRICES", "SNAPSHOT", "Listed", "PriceList", "Steps", "number"]

PRICES: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
"""The prices that are compared, in USD per million tokens."""

SNAPSHOT: Final = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{4}|latest|default)\Z")
"""What ends the name of a snapshot, whose facts are those of its model."""

Steps = dict[int, dict[str, str]]
"""Prompt tokens beyond which prices hold -> price -> USD per million tokens."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One model of one list.

    Attributes:
        spans: first day -> the prices from that day on; ``date.min`` where no day is stated.
        facts: ``window``, ``max_output``, ``retires_at``, ``web_search``, ``factor flex``, ... ->
            the values that the list gives. The catalogue may give several, a price list gives one.
        gone: whether the list says that the provider no longer serves the model.
        dated: the day on which the facts were last checked, as far as the list says.
    """

    provider: str
    model: str
    spans: dict[date, Steps] = {}
    facts: dict[str, tuple[str, ...]] = {}
    gone: bool = False
    dated: str = ""

    @property
    def name(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}"

    def prices(self, day: date) -> Steps:
        """The prices of that day."""
        begun = [since for since in self.spans if since <= day]
        return self.spans[max(begun)] if begun else {}


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """One list.

    Attributes:
        version: of the package.
        dated: the newest day that the package gives for itself.
        schedules: whether the list knows prices of days to come.
        models: by ``provider/model``.
        matches: further names that the list knows a model by, as ``provider/model``.
    """

    package: str
    version: str
    dated: str
    schedules: bool
    models: dict[str, Listed]
    matches: dict[str, Listed] = {}

    def find(self, name: str) -> Listed | None:
        """What the list says of a model."""
        return self.models.get(name) or self.matches.get(name)


def number(value: object) -> str:
    """A number as the shortest decimal text: ``0.10`` and ``1e-1`` are ``0.1``."""
    text = format(Decimal(str(value)).normalize(), "f")
    return text if text != "-0" else "0"

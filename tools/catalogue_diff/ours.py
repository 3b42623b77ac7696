"""The catalogue in the form of a price list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import get_args

from tools.catalogue_diff.listed import PRICES, Listed, Steps, number
from vai.types.catalogue import Effort, ModelCard

__all__ = ["listed"]


def listed(cards: Iterable[ModelCard]) -> dict[str, Listed]:
    """The cards of the catalogue, by ``provider/model`` and by their other names.

    A provider that serves another one's model under the same facts is left out, and so is one
    that charges nothing: no list speaks of either.
    """
    found: dict[str, Listed] = {}
    for card in cards:
        if card.charges.free or card.provider == "gemini-oauth":
            continue
        model = Listed(
            provider=card.provider.replace("oai-resp", "openai"),
            model=card.id,
            spans=_spans(card),
            facts=_facts(card),
            dated=str(max((said.retrieved for said in card.provenance), default="")),
        )
        for name in (card.id, *card.aliases):
            found.setdefault(f"{model.provider}/{name}", model)
    return found


def _spans(card: ModelCard) -> dict[date, Steps]:
    days = {price.since or date.min for price in card.prices}
    days |= {price.until + timedelta(1) for price in card.prices if price.until is not None}
    return {
        day: {
            price.over_input_tokens: {
                name: number(value)
                for name in PRICES
                if (value := getattr(price, name)) is not None
            }
            for price in card.prices
            if price.applies_on(day)
        }
        for day in days
    }


def _facts(card: ModelCard) -> dict[str, tuple[str, ...]]:
    limits = (card.max_output.stream, card.max_output.unstreamed, card.max_output.continued)
    facts = {
        # A list means the one or the other, and does not say which.
        "window": _numbers(card.context_window, card.max_input),
        "max_output": _numbers(*limits),
        "retires_at": () if card.retires_at is None else (str(card.retires_at),),
    }
    if card.features.thinking.efforts is not None:
        for word in get_args(Effort):
            known = word in card.features.thinking.efforts
            facts[f"effort {word}"] = ("yes" if known else "no",)
    for name, factor in card.charges.factors.items():
        facts[f"factor {name}"] = (number(factor),)
    if "web_search" in card.charges.server_tools:
        facts["web_search"] = (number(card.charges.server_tools["web_search"]),)
    return facts


def _numbers(*values: int | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(number(value) for value in values if value is not None))

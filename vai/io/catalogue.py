"""The catalogue as the settings change it.

Invariants: a table ``[models."provider/model"]`` of the settings changes a card field
by field, or adds one. `price_as` of a provider gives its models the facts of another one's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from vai.config.installed import FILE, installed_catalogue
from vai.config.schema import Model, ModelPrice, Settings
from vai.policy.capabilities import with_capabilities
from vai.policy.catalogue import Catalogue
from vai.types.catalogue import MaxOutput, ModelCard, Price

__all__ = ["FILE", "catalogue_from_settings", "installed_catalogue"]


def catalogue_from_settings(settings: Settings) -> Catalogue:
    """The catalogue of a gateway with these settings."""
    known = installed_catalogue()
    described = {
        provider: known.find_card(*own.price_as.split("/", 1))
        for provider, own in settings.providers.items()
        if own.price_as is not None
    }
    if described:
        known = Catalogue(known.cards, described)
    if not settings.models:
        return known
    cards = {card.full_id: card for card in known.cards}
    for name, own in settings.models.items():
        provider, _, model = name.partition("/")
        card = known.find_card(provider, model)
        if card is None:
            card = ModelCard(provider=provider, id=model)
        # A snapshot or another name that is spoken of gets a card of its own.
        card = msgspec.structs.replace(
            card, provider=provider, id=model, aliases=_aliases(card, model)
        )
        cards[name] = _changed(card, own)
    return Catalogue(cards.values(), described)


def _aliases(card: ModelCard, model: str) -> tuple[str, ...]:
    return card.aliases if card.id == model else ()


def _changed(card: ModelCard, own: Model) -> ModelCard:
    changes: dict[str, Any] = {}
    if own.name is not None:
        changes["name"] = own.name
    if own.context_window is not None:
        changes["context_window"] = own.context_window
    if own.max_input is not None:
        changes["max_input"] = own.max_input
    if own.max_output is not None:
        changes["max_output"] = MaxOutput(stream=own.max_output)
    if own.price != ModelPrice():
        changes["prices"] = (_price(own.price),)
        # It is what the operator pays at the host of the settings, its region included.
        factors = {**card.charges.factors, "regional": "1"}
        changes["charges"] = msgspec.structs.replace(card.charges, factors=factors)
    card = msgspec.structs.replace(card, **changes)
    return with_capabilities(card, own.capabilities) if own.capabilities else card


def _price(own: ModelPrice) -> Price:
    """The whole price list of a model: what it leaves out is not known."""
    return Price(
        input=_text(own.input),
        output=_text(own.output),
        cache_read=_text(own.cache_read),
        cache_write=_text(own.cache_write),
        cache_write_1h=_text(own.cache_write_1h),
    )


def _text(value: float | None) -> str | None:
    # By way of its shortest decimal, which is what the operator wrote.
    return None if value is None else format(Decimal(str(value)), "f")

"""The catalogue with the changes that the settings make.

Invariants: a table ``[models."provider/model"]`` of the settings changes single fields of a card,
or adds a card. `price_as` of a provider gives its models the facts of another provider's model.
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
    catalogue = installed_catalogue()
    described = {
        provider: catalogue.find_card(*provider_settings.price_as.split("/", 1))
        for provider, provider_settings in settings.providers.items()
        if provider_settings.price_as is not None
    }
    if described:
        catalogue = Catalogue(catalogue.cards, described)
    if not settings.models:
        return catalogue
    cards = {card.full_id: card for card in catalogue.cards}
    for name, model_settings in settings.models.items():
        provider, _, model = name.partition("/")
        card = catalogue.find_card(provider, model)
        if card is None:
            card = ModelCard(provider=provider, id=model)
        # A snapshot or an alias that the settings name gets a card of its own.
        card = msgspec.structs.replace(
            card, provider=provider, id=model, aliases=_aliases_of(card, model)
        )
        cards[name] = _apply_settings(card, model_settings)
    return Catalogue(cards.values(), described)


def _aliases_of(card: ModelCard, model: str) -> tuple[str, ...]:
    return card.aliases if card.id == model else ()


def _apply_settings(card: ModelCard, settings: Model) -> ModelCard:
    changes: dict[str, Any] = {}
    if settings.name is not None:
        changes["name"] = settings.name
    if settings.context_window is not None:
        changes["context_window"] = settings.context_window
    if settings.max_input is not None:
        changes["max_input"] = settings.max_input
    if settings.max_output is not None:
        changes["max_output"] = MaxOutput(stream=settings.max_output)
    if settings.price != ModelPrice():
        changes["prices"] = (_price_from_settings(settings.price),)
        # The operator states the final price at the configured host, its region included.
        factors = {**card.charges.factors, "regional": "1"}
        changes["charges"] = msgspec.structs.replace(card.charges, factors=factors)
    card = msgspec.structs.replace(card, **changes)
    return with_capabilities(card, settings.capabilities) if settings.capabilities else card


def _price_from_settings(price: ModelPrice) -> Price:
    """The whole price list of a model: a price that the settings leave out is unknown."""
    return Price(
        input=_format_decimal(price.input),
        output=_format_decimal(price.output),
        cache_read=_format_decimal(price.cache_read),
        cache_write=_format_decimal(price.cache_write),
        cache_write_1h=_format_decimal(price.cache_write_1h),
    )


def _format_decimal(value: float | None) -> str | None:
    # str() returns the shortest decimal, which is what the operator wrote.
    return None if value is None else format(Decimal(str(value)), "f")

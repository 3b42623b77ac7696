"""Finds the catalogue's card for a model name.

Invariants: a name that is not listed is no error. It gets no card, and the gateway
serves the request by the capabilities of the provider's wire format.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from vai.types.catalogue import CatalogueFile, Charges, ModelCard, Price

__all__ = ["EMPTY", "Catalogue", "ModelList", "cards_of", "lists_deployments", "without_snapshot"]

_SNAPSHOT: Final = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")
"""The date of a snapshot at the end of a model's name; the model's facts hold for it."""

_NOTHING: Final = Price(input="0", output="0", cache_read="0", cache_write="0", cache_write_1h="0")


_DEFAULT_TAG: Final = ":latest"
"""Ollama lists `llama3.2:latest` and accepts `llama3.2`
(https://docs.ollama.com/api/introduction, 2026-11-28)."""
_AZURE: Final = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
"""Azure lists the available models and accepts the names of deployments
(https://learn.microsoft.com/en-us/azure/ai-foundry/openai/latest, 2026-11-28)."""


class Catalogue:
    """All cards of a process, by provider and name.

    Args:
        described: provider -> the card of another provider's model, which holds for each model of
            this provider that has no card.

    Attributes:
        cards: in the order of the file, those that were added last.
    """

    def __init__(
        self,
        cards: Iterable[ModelCard] = (),
        described: Mapping[str, ModelCard | None] = MappingProxyType({}),
    ) -> None:
        self._described = described
        by_id = {(card.provider, card.id): card for card in cards}
        self.cards = tuple(by_id.values())
        aliases = {(card.provider, name): card for card in self.cards for name in card.aliases}
        self._cards: Mapping[tuple[str, str], ModelCard] = {**aliases, **by_id}
        self._homes: dict[str, tuple[str, ...]] = {}
        for provider, name in self._cards:
            if not self._is_guest(provider, name):
                self._homes[name] = (*self._homes.get(name, ()), provider)

    def find_card(self, provider: str, model: str) -> ModelCard | None:
        """The card of `model`, of the model it is a snapshot or a copy of, or None."""
        card = self._cards.get((provider, model))
        if card is not None:
            return card
        card = self._cards.get((provider, without_snapshot(model)))
        return card or self._described.get(provider)

    def providers_of_name(self, model: str) -> tuple[str, ...]:
        """The providers that a bare name may mean.

        A provider that serves another one's model under the same facts (`also`) is not among
        them: clients reach it by its own name.
        """
        return self._homes.get(model, ())

    def _is_guest(self, provider: str, name: str) -> bool:
        hosts = (card for (_, name_of_card), card in self._cards.items() if name_of_card == name)
        return any(provider in host.also for host in hosts if host.provider != provider)


EMPTY: Final = Catalogue()
"""A catalogue without cards."""


@lru_cache(256)  # every request to a model without a card of its own needs it
def without_snapshot(model: str) -> str:
    """The name of the model that `model` is a snapshot of; itself if it is none."""
    return _SNAPSHOT.sub("", model)


def cards_of(file: CatalogueFile) -> Iterator[ModelCard]:
    """A card for each model and each provider that serves it, with all its charges."""
    for card in file.models:
        common = file.charges.get(card.provider, Charges())
        host = msgspec.structs.replace(card, charges=_combine_charges(common, card.charges))
        yield msgspec.structs.replace(host, prices=(_NOTHING,)) if common.free else host
        for provider in card.also:
            guest = msgspec.structs.replace(card, provider=provider, also=())
            if file.charges.get(provider, Charges()).free:
                # The service behind a login ends a model on a date of its own, which is unknown.
                guest = msgspec.structs.replace(
                    guest,
                    prices=(_NOTHING,),
                    charges=Charges(),
                    deprecated_at=None,
                    retires_at=None,
                )
            else:
                guest = msgspec.structs.replace(
                    guest, charges=_combine_charges(common, card.charges)
                )
            yield guest


def _combine_charges(common: Charges, specific: Charges) -> Charges:
    return Charges(
        factors={**common.factors, **specific.factors},
        server_tools={**common.server_tools, **specific.server_tools},
        free=common.free or specific.free,
    )


class ModelList:
    """The models that a server lists.

    VAI never reports an accepted name as missing because the list spells it otherwise; it may
    overlook a name that is missing.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._others = {without_snapshot(name) for name in names}
        self._others.update(name.removesuffix(_DEFAULT_TAG) for name in names)
        # LiteLLM lists its patterns: openai/*.
        self._prefixes = tuple(name.partition("*")[0] for name in names if "*" in name)

    def has_model(self, model: str) -> bool:
        """Whether the server accepts `model`, as far as its list shows."""
        if model in self._names or model in self._others:
            return True
        # A router's name with a variant or with the host that runs it: model:online, model:groq.
        return model.rpartition(":")[0] in self._names or model.startswith(self._prefixes)


def lists_deployments(host: str) -> bool:
    """Whether a server's model list contains the names that requests use."""
    return not host.endswith(_AZURE)

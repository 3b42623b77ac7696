"""``GET /v1/models`` in the three forms that clients read.

VAI's own form has `providers` with their models, and beside them the list that OpenAI's clients
expect (`object`, `data`), because the requests of those clients do not identify them.
Anthropic's form is a page: Claude models under their bare names, all others as
``provider/model``.

Invariants: each id in a response is a model name that a request may carry. The response leaves
out what is unknown; only where a client's schema requires a date, it is the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final

import msgspec

from vai.errors import InvalidRequest, NotFound
from vai.policy.capabilities import CAPABILITIES, known_capabilities
from vai.policy.catalogue import Catalogue
from vai.policy.cost import price_on
from vai.policy.route import resolve_route
from vai.types.catalogue import ModelCard
from vai.types.provider import ProviderSpec

__all__ = ["MAX_PAGE", "Listing"]

MAX_PAGE: Final = 1000
_PAGE: Final = 20  # Anthropic's default
_LINES: Final = frozenset({"haiku", "sonnet", "opus", "fable", "mythos"})

_PRICES: Final = (
    ("input", "input_per_mtok"),
    ("output", "output_per_mtok"),
    ("cache_read", "cache_read_per_mtok"),
    ("cache_write", "cache_write_per_mtok"),
    ("cache_write_1h", "cache_write_1h_per_mtok"),
)


class Listing:
    """The models that one gateway lists.

    Args:
        states: provider -> ``configured``, ``simulated`` or ``byok``.
        aliases: other names for models, as the settings have them.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        specs: Mapping[str, ProviderSpec],
        states: Mapping[str, str],
        aliases: Mapping[str, str],
    ) -> None:
        self._catalogue = catalogue
        self._specs = specs
        self._states = states
        self._aliases = aliases
        self._cards = [card for card in catalogue.cards if card.provider in specs]
        self._nicknames = {name: self._routed_card(name) for name in aliases}

    def list_vai(
        self, day: date, *, provider: str | None = None, capability: str | None = None
    ) -> dict[str, Any]:
        """VAI's own form, prices as of `day`. Both filters must hold.

        Raises:
            InvalidRequest: there is no such provider or capability.
        """
        chosen, nicknames = self._select_cards(provider, capability)
        listed = {name for name in self._specs if provider in (None, name)}
        if capability is not None:
            listed &= {card.provider for card in chosen}
        providers = [
            {
                "id": spec.id,
                "name": spec.name,
                "status": self._states.get(spec.id, "byok"),
                "capabilities": msgspec.to_builtins(spec.capabilities, order="deterministic"),
                "models": [
                    self._describe_card(card, day) for card in chosen if card.provider == spec.id
                ],
            }
            for spec in self._specs.values()
            if spec.id in listed
        ]
        return {
            **_openai_list(chosen, nicknames),
            "providers": providers,
            "aliases": {name: card.full_id for name, card in nicknames.items()},
            "voice": {"stt": [], "tts": []},
        }

    def _select_cards(
        self, provider: str | None, capability: str | None
    ) -> tuple[list[ModelCard], dict[str, ModelCard]]:
        """The models and aliases for which both filters hold. Raises as `check_filters`."""
        self.check_filters(provider, capability)
        chosen = [
            card
            for card in self._cards
            if provider in (None, card.provider)
            and (capability is None or known_capabilities(card).get(capability, False))
        ]
        if provider is None and capability is None:
            return chosen, self._nicknames
        ids = {card.full_id for card in chosen}
        return chosen, {n: card for n, card in self._nicknames.items() if card.full_id in ids}

    def check_filters(self, provider: str | None, capability: str | None) -> None:
        """
        Raises:
            InvalidRequest: there is no such provider or capability; the message names all.
        """
        for name, value, allowed in (
            ("provider", provider, self._specs),
            ("capability", capability, CAPABILITIES),
        ):
            if value is not None and value not in allowed:
                raise InvalidRequest(f"{name}: expected one of {', '.join(allowed)}", param=name)

    def list_openai(
        self, *, provider: str | None = None, capability: str | None = None
    ) -> dict[str, Any]:
        """OpenAI's list. Filters as for `list_vai`."""
        return _openai_list(*self._select_cards(provider, capability))

    def list_anthropic(
        self,
        day: date,
        *,
        provider: str | None = None,
        capability: str | None = None,
        limit: int = _PAGE,
        after_id: str | None = None,
        before_id: str | None = None,
    ) -> dict[str, Any]:
        """A page of Anthropic's form. Filters as for `list_vai`.

        Raises:
            InvalidRequest: an impossible limit, or a cursor that is no id of the list.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit: expected 1 to {MAX_PAGE}", param="limit")
        chosen, nicknames = self._select_cards(provider, capability)
        items = [_anthropic_entry(card, self._short_name(card), day) for card in chosen]
        items += [_anthropic_entry(card, name, day) for name, card in nicknames.items()]
        start, end = 0, len(items)
        if after_id is not None:
            start = _position_of(items, after_id, "after_id") + 1
        if before_id is not None:
            end = _position_of(items, before_id, "before_id")
        backwards = before_id is not None and after_id is None
        page = items[max(start, end - limit) : end] if backwards else items[start:end][:limit]
        more = max(end - start, 0) > len(page)
        return {
            "data": page,
            "has_more": more,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }

    def describe_model(self, name: str, form: str, day: date) -> dict[str, Any]:
        """One model, by any name that a request may carry. `form` as in the query.

        Raises:
            NotFound: the catalogue does not list it; the provider may still have it.
        """
        try:
            card = self._nicknames.get(name) or self._routed_card(name)
        except InvalidRequest as error:
            raise NotFound(error.message, param="model") from None
        if card not in self._cards and name not in self._nicknames:
            raise NotFound(
                "model: not in the catalogue of this gateway; expected an id of GET /v1/models",
                param="model",
            )
        if form == "anthropic":
            return _anthropic_entry(card, name, day)
        wire = _openai_entry(card, name)
        return wire if form == "openai" else self._describe_card(card, day) | wire

    def _routed_card(self, name: str) -> ModelCard:
        """The card that `name` leads to; one without facts for a model that is not listed."""
        route = resolve_route(name, self._specs, self._aliases, self._catalogue)
        card = self._catalogue.find_card(route.spec.id, route.model)
        if card is not None and card.provider == route.spec.id:
            return card
        facts = ModelCard(provider=route.spec.id, id=route.model) if card is None else card
        return msgspec.structs.replace(facts, provider=route.spec.id, id=route.model, name=None)

    def _short_name(self, card: ModelCard) -> str:
        """The bare name if the provider claims it, for Anthropic's clients; else the full name."""
        prefixes = self._specs[card.provider].bare_prefixes
        return card.id if prefixes and card.id.startswith(prefixes) else card.full_id

    def _describe_card(self, card: ModelCard, day: date) -> dict[str, Any]:
        price = price_on(card, day)
        pricing = {
            wire: float(value)
            for name, wire in _PRICES
            if price is not None and (value := getattr(price, name)) is not None
        }
        facts = {
            "family": card.family,
            "context_window": card.context_window,
            "max_input_tokens": card.longest_prompt,
            "max_output_tokens": card.max_output.limit_for(streamed=True),
            "native_tools": card.features.server_tools,
            "pricing": pricing or None,
            "released": card.released,
            "deprecated_at": card.deprecated_at,
            "retires_at": card.retires_at,
            "thinking": msgspec.to_builtins(card.features.thinking) or None,
        }
        wire: dict[str, Any] = {
            "id": card.id,
            "name": card.name or card.id,
            "full_id": card.full_id,
            "provider": card.provider,
            "status": self._states.get(card.provider, "byok"),
            "capabilities": known_capabilities(card),
        }
        return wire | {name: value for name, value in facts.items() if value is not None}


def _openai_list(cards: Iterable[ModelCard], nicknames: Mapping[str, ModelCard]) -> dict[str, Any]:
    data = [_openai_entry(card, card.full_id) for card in cards]
    data += [_openai_entry(card, name) for name, card in nicknames.items()]
    return {"object": "list", "data": data}


def _openai_entry(card: ModelCard, name: str) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": int(_midnight_utc(card.released).timestamp()),
        "owned_by": card.provider,
    }
    return wire if card.retires_at is None else wire | {"shutdown_date": str(card.retires_at)}


def _anthropic_entry(card: ModelCard, name: str, day: date) -> dict[str, Any]:
    lifecycle = "active"
    if card.deprecated_at is not None or card.retires_at is not None:
        lifecycle = "deprecated"
    if card.retires_at is not None and card.retires_at < day:
        lifecycle = "retired"
    return {
        "type": "model",
        "id": name,
        "display_name": card.name or card.id,
        "created_at": _midnight_utc(card.released),
        "lifecycle": lifecycle,
        "deprecated_at": _optional_midnight(card.deprecated_at),
        "retires_at": _optional_midnight(card.retires_at),
        "line": card.family if card.family in _LINES else None,
        "max_input_tokens": card.longest_prompt,
        "max_tokens": card.max_output.limit_for(streamed=True),
        "capabilities": None,
    }


def _midnight_utc(day: date | None) -> datetime:
    return datetime.combine(day or date(1970, 1, 1), time(), UTC)


def _optional_midnight(day: date | None) -> datetime | None:
    return None if day is None else _midnight_utc(day)


def _position_of(items: Sequence[Mapping[str, Any]], id: str, name: str) -> int:
    for number, item in enumerate(items):
        if item["id"] == id:
            return number
    raise InvalidRequest(f"{name}: expected an id of this list", param=name)

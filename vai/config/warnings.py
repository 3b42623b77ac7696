"""What settings allow that an operator hardly wants: requests that will fail, or go astray.

Invariants: pure functions over finished settings, the catalogue and the day, each yielding
(path, text). What is found here stops no start: a server may differ from what is usual, and a
model's last day must not keep a gateway from coming up again. What can never work is an error
(`vai.config.rules`). One mistake is one warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from vai.config.addresses import address_fault, is_exposed, is_own_host
from vai.config.login import TERMS
from vai.config.names import BUILT_IN, LOGGED_IN_TO
from vai.config.openai import joined, region_left
from vai.config.rules import Finding
from vai.config.schema import Provider, Settings
from vai.config.states import OFF, provider_states
from vai.policy.catalogue import Catalogue
from vai.policy.hosts import is_loopback
from vai.policy.targets import is_pattern
from vai.providers.registry import ROWS
from vai.types.catalogue import ModelCard

__all__ = ["SOON", "warnings"]

SOON: Final = 60
"""Days before the end of a model from which it is warned of."""


def warnings(settings: Settings, catalogue: Catalogue, today: date) -> Iterator[Finding]:
    """Everything about `settings` that will hardly do what it was meant to do.

    Args:
        settings: as they were written, without contradictions.
        catalogue: that of the package: a model that only the settings describe is none of it.
        today: the day in UTC.
    """
    if settings.auth.mode == "none" and not is_loopback(settings.host):
        yield ("host",), "without auth, and reachable from other machines"
    yield from _addresses(settings)
    effective = joined(settings)
    if (left := region_left(effective)) is not None:
        other = "openai" if left != "openai" else "oai-resp"
        path = ("providers", left, "base_url")
        yield path, f"{other} is in a region of OpenAI's, and requests to {left} leave it"
    yield from _aliases(effective, catalogue, today)
    yield from _described(effective, catalogue, today)


def _addresses(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        path = ("providers", name)
        if name == LOGGED_IN_TO and provider.enabled:
            yield (*path, "enabled"), TERMS
        kind = ROWS[name].kind if name in ROWS else provider.kind
        if provider.base_url is None or kind is None:
            continue
        fault = address_fault(kind, provider.base_url)
        if fault is not None and not fault.is_certain:
            yield (*path, "base_url"), fault.text
        if is_exposed(provider.base_url) and _sends_secrets(settings, provider):
            yield (*path, "base_url"), "keys travel unencrypted to a public host; expected https://"


def _sends_secrets(settings: Settings, provider: Provider) -> bool:
    callers_own = settings.auth.mode == "passthrough"
    return callers_own or provider.api_key is not None or bool(provider.headers)


def _aliases(settings: Settings, catalogue: Catalogue, today: date) -> Iterator[Finding]:
    for alias, targets in settings.aliases.items():
        # An alias behind this one is warned of by its own name.
        own = [target for target in targets if target not in settings.aliases]
        doubts = [_alias_doubt(settings, catalogue, alias, target, today) for target in own]
        for doubt in dict.fromkeys(doubts):  # a provider that is off is named once
            if doubt is not None:
                yield ("aliases", alias), doubt


def _alias_doubt(
    settings: Settings, catalogue: Catalogue, alias: str, target: str, today: date
) -> str | None:
    provider, _, model = target.partition("/")
    if provider_states(settings).get(provider, "").startswith(OFF):
        return f"{provider} is off: {_what_turns_on(provider)}"
    if is_pattern(alias) and "*" in model:
        if _matches(catalogue, settings, provider, model):
            return None
        return f"{target}: no model of the catalogue has such a name"
    doubt = _doubt(settings, catalogue, target, today)
    return None if doubt is None else f"{target}: {doubt}"


def _described(settings: Settings, catalogue: Catalogue, today: date) -> Iterator[Finding]:
    """Models that the settings speak of without leading requests to them."""
    for name, own in settings.providers.items():
        if own.price_as is not None:
            card = catalogue.find(*own.price_as.split("/", 1))
            if card is not None and (end := _end_of(card, catalogue, today)):
                yield ("providers", name, "price_as"), end
    states = provider_states(settings)
    for target in settings.models:
        provider, _, model = target.partition("/")
        card = catalogue.find(provider, model)
        if states.get(provider, "").startswith(OFF):
            yield ("models", target), f"{provider} is off: {_what_turns_on(provider)}"
        elif card is not None and (end := _end_of(card, catalogue, today)):
            yield ("models", target), end


def _doubt(settings: Settings, catalogue: Catalogue, target: str, today: date) -> str | None:
    """Why requests for `target` will fail, now or soon; None if nothing says so."""
    provider, _, model = target.partition("/")
    if provider not in ROWS or _is_elsewhere(settings, provider):
        return None  # what a server of the operator's own serves is not known
    card = catalogue.find(provider, model)
    if card is None:
        described = target in settings.models
        return None if described else "not in the catalogue; is the name right? (vai models)"
    return _end_of(card, catalogue, today)


def _is_elsewhere(settings: Settings, provider: str) -> bool:
    """Whether a built-in provider was moved to a server that may name its models otherwise."""
    base_url = settings.providers.get(provider, Provider()).base_url
    return base_url is not None and not is_own_host(ROWS[provider], base_url)


def _matches(catalogue: Catalogue, settings: Settings, provider: str, model: str) -> bool:
    if provider not in ROWS or _is_elsewhere(settings, provider):
        return True
    start, _, end = model.partition("*")
    names = [
        name
        for card in catalogue.cards
        if card.provider == provider
        for name in (card.id, *card.aliases)
    ]
    names += [name.partition("/")[2] for name in settings.models if name.startswith(provider + "/")]
    return any(name.startswith(start) and name.endswith(end) for name in names)


def _end_of(card: ModelCard, catalogue: Catalogue, today: date) -> str | None:
    """That the model of `card` is retired or soon will be, and what else there is."""
    last = card.retires_at
    if last is None or (last - today).days > SOON:
        return None
    successor = _successor(card, catalogue)
    instead = "" if successor is None else f"; of its family there is {successor.full_id}"
    if last < today:
        return f"retired on {last}{instead}"
    days = (last - today).days
    when = "today" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
    return f"retires on {last}, {when}{instead}"


def _successor(card: ModelCard, catalogue: Catalogue) -> ModelCard | None:
    """The newest model of the same family that has no end yet, as far as release days are known."""
    if card.family is None:
        return None
    alive = [
        other
        for other in catalogue.cards
        if (other.provider, other.family) == (card.provider, card.family)
        and other.retires_at is None
        and other.deprecated_at is None
    ]
    return max(alive, key=lambda other: other.released or date.min, default=None)


def _what_turns_on(provider: str) -> str:
    if provider == LOGGED_IN_TO:
        return f"set providers.{provider}.enabled"
    names: Mapping[str, tuple[str, ...]] = BUILT_IN
    variables = " or ".join(names.get(provider, ()))
    return f"it has no key (providers.{provider}.api_key{', ' if variables else ''}{variables})"

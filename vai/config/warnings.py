"""Valid settings that are probably mistakes: requests fail, or go to another region or host.

Invariants: the rules are pure functions over finished settings, the catalogue and the day, each
yielding (path, text). A warning does not stop the start: a server may be unusual, and a model's
last day must not keep a gateway from restarting. A setting that can never work is an error
(`vai.config.rules`). One mistake is one warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from vai.config.addresses import address_fault, is_exposed, is_provider_host
from vai.config.login import TERMS
from vai.config.names import KEY_VARIABLES, LOGGED_IN_TO
from vai.config.openai import endpoint_outside_region, join_endpoints
from vai.config.rules import SettingFault
from vai.config.schema import Provider, Settings
from vai.config.states import OFF, provider_states
from vai.policy.aliases import is_pattern
from vai.policy.catalogue import Catalogue
from vai.policy.hosts import is_loopback
from vai.providers.registry import PROVIDER_SPECS
from vai.types.catalogue import ModelCard

__all__ = ["SOON", "find_warnings"]

SOON: Final = 60
"""Days before a model's retirement from which `vai check` warns of it."""
_UNKNOWN: Final = (
    "not in the catalogue (vai models): correct the name, or describe the model under [models]"
)
_OWN_MODELS: Final = {"openai": "ft:", "oai-resp": "ft:", "gemini": "tunedModels/"}
"""Provider -> the beginning of the names of an account's own trained models, which no list has
(https://platform.openai.com/docs/guides/fine-tuning, https://ai.google.dev/api/tuning,
2026-11-28)."""
_NO_MATCH: Final = "no model of the catalogue has such a name"


def find_warnings(settings: Settings, catalogue: Catalogue, today: date) -> Iterator[SettingFault]:
    """All warnings about `settings`.

    Args:
        settings: as written, without contradictions.
        catalogue: the package's, without the models that only the settings describe.
        today: the day in UTC.
    """
    if settings.auth.mode == "none" and not is_loopback(settings.host):
        yield ("host",), "without auth, and reachable from other machines"
    yield from _https_warnings(settings)
    yield from _address_warnings(settings)
    effective = join_endpoints(settings)
    if (left := endpoint_outside_region(effective)) is not None:
        other = "openai" if left != "openai" else "oai-resp"
        path = ("providers", left, "base_url")
        yield path, f"{other} is in a region of OpenAI's, and requests to {left} leave it"
    models = _ModelFacts(effective, catalogue, today)
    yield from _alias_warnings(effective, models)
    yield from _model_warnings(effective, models)


def _https_warnings(settings: Settings) -> Iterator[SettingFault]:
    if settings.tls.cert_file and not settings.tls.enabled:
        yield ("tls", "cert_file"), "HTTPS is off all the same; turn it on with tls.enabled"


def _address_warnings(settings: Settings) -> Iterator[SettingFault]:
    for name, provider in settings.providers.items():
        path = ("providers", name)
        if name == LOGGED_IN_TO and provider.enabled:
            yield (*path, "enabled"), TERMS
        kind = PROVIDER_SPECS[name].kind if name in PROVIDER_SPECS else provider.kind
        if provider.base_url is None or kind is None:
            continue
        fault = address_fault(kind, provider.base_url)
        if fault is not None and not fault.is_certain:
            yield (*path, "base_url"), fault.text
        if name in PROVIDER_SPECS and _lacks_key(settings, name):
            names = " or ".join((f"providers.{name}.api_key", *KEY_VARIABLES[name]))
            yield (*path, "base_url"), f"this host refuses requests without a key; set {names}"
        if is_exposed(provider.base_url) and _sends_secrets(settings, provider):
            yield (*path, "base_url"), "keys travel unencrypted to a public host; expected https://"


def _lacks_key(settings: Settings, name: str) -> bool:
    """Whether a built-in provider is at its own host and has no key."""
    provider = join_endpoints(settings).providers[name]
    is_home = provider.base_url is not None and is_provider_host(
        PROVIDER_SPECS[name], provider.base_url
    )
    may_be_brought = settings.auth.mode == "passthrough" or name == LOGGED_IN_TO
    return is_home and provider.api_key is None and not may_be_brought


def _sends_secrets(settings: Settings, provider: Provider) -> bool:
    is_passthrough = settings.auth.mode == "passthrough"
    return is_passthrough or provider.api_key is not None or bool(provider.headers)


def _alias_warnings(settings: Settings, models: _ModelFacts) -> Iterator[SettingFault]:
    for alias, targets in settings.aliases.items():
        # An alias among the targets gets warnings under its own name.
        direct_targets = [target for target in targets if target not in settings.aliases]
        doubts = [
            models.target_warning(target, is_pattern=is_pattern(alias)) for target in direct_targets
        ]
        for doubt in dict.fromkeys(doubts):  # a provider that is off is named once
            if doubt is not None:
                yield ("aliases", alias), doubt


def _model_warnings(settings: Settings, models: _ModelFacts) -> Iterator[SettingFault]:
    """Warnings about models that the settings name without leading requests to them."""
    for name, server in settings.providers.items():
        if server.price_as is not None and (end := models.retirement_of(server.price_as)):
            yield ("providers", name, "price_as"), end
    for target in settings.models:
        if doubt := models.off_reason(target) or models.retirement_of(target):
            yield ("models", target), doubt


class _ModelFacts:
    """The facts about the models that settings name, on one day."""

    def __init__(self, settings: Settings, catalogue: Catalogue, today: date) -> None:
        self._catalogue = catalogue
        self._today = today
        self._states = provider_states(settings)
        self._described = settings.models
        self._silent = {
            # The models of an operator's own server are unknown.
            name
            for name, server in settings.providers.items()
            if name not in PROVIDER_SPECS
            or (
                server.base_url is not None
                and not is_provider_host(PROVIDER_SPECS[name], server.base_url)
            )
        }
        self._names: dict[str, list[str]] = {}
        listed = [(card.provider, name) for card in catalogue.cards for name in _names_of(card)]
        described = [(name.partition("/")[0], name.partition("/")[2]) for name in settings.models]
        for provider, name in listed + described:
            self._names.setdefault(provider, []).append(name)

    def target_warning(self, target: str, *, is_pattern: bool) -> str | None:
        """Why requests for the target of an alias will fail; None if no reason is known."""
        if off := self.off_reason(target):
            return off
        provider, _, model = target.partition("/")
        if provider in self._silent or model.startswith(_OWN_MODELS.get(provider, "/")):
            return None
        if is_pattern and "*" in model:
            return None if self._has_match(provider, model) else f"{target}: {_NO_MATCH}"
        if self._catalogue.find_card(provider, model) is None:
            return None if target in self._described else f"{target}: {_UNKNOWN}"
        end = self.retirement_of(target)
        return None if end is None else f"{target}: {end}"

    def off_reason(self, target: str) -> str | None:
        """States that the provider of a model is off, and what turns it on; else None."""
        provider = target.partition("/")[0]
        if not self._states.get(provider, "").startswith(OFF):
            return None
        return f"{provider} is off: {_turn_on_hint(provider)}"

    def retirement_of(self, target: str) -> str | None:
        """States that a model is retired or soon will be, and its successor; else None."""
        provider, _, model = target.partition("/")
        card = self._catalogue.find_card(provider, model)
        last = None if card is None else card.retires_at
        if card is None or last is None or (last - self._today).days > SOON:
            return None
        successor = self._find_successor(card)
        instead = "" if successor is None else f"; of its family there is {successor.full_id}"
        days = (last - self._today).days
        if days < 0:
            return f"retired on {last}{instead}"
        when = "today" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
        return f"retires on {last}, {when}{instead}"

    def _find_successor(self, card: ModelCard) -> ModelCard | None:
        """The newest model of the family without an end, as far as release days are known."""
        if card.family is None:
            return None
        alive = [
            other
            for other in self._catalogue.cards
            if (other.provider, other.family) == (card.provider, card.family)
            and other.retires_at is None
            and other.deprecated_at is None
        ]
        return max(alive, key=lambda other: other.released or date.min, default=None)

    def _has_match(self, provider: str, pattern: str) -> bool:
        start, _, end = pattern.partition("*")
        names = self._names.get(provider, ())
        return any(name.startswith(start) and name.endswith(end) for name in names)


def _names_of(card: ModelCard) -> tuple[str, ...]:
    return (card.id, *card.aliases)


def _turn_on_hint(provider: str) -> str:
    if provider == LOGGED_IN_TO:
        return f"set providers.{provider}.enabled"
    names: Mapping[str, tuple[str, ...]] = KEY_VARIABLES
    variables = " or ".join(names.get(provider, ()))
    return f"it has no key (providers.{provider}.api_key{', ' if variables else ''}{variables})"

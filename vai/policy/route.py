"""Which provider serves a model name, and in whose dialect the response is written.

``provider/model`` is split at the first slash; the rest may hold slashes and colons.
A bare name is an alias, a name that a provider claims (``claude-...``) or one that the catalogue
lists for a single provider; an exchange with such a name and a provider that speaks the Messages
API is the pure dialect: every byte of the response is the upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from vai.errors import InvalidRequest, NotFound
from vai.policy.catalogue import EMPTY, Catalogue
from vai.types.provider import ProviderSpec

__all__ = ["Route", "resolve_route"]

_FORM = "model: expected provider/model-name, e.g. openai/gpt-5.4"


class Route(msgspec.Struct, frozen=True):
    """Where a request goes.

    `model` is the provider's name for it, `name` is ``provider/model``; `dialect` is
    ``upstream`` when the response must be the upstream's own bytes, else ``vai``.
    """

    spec: ProviderSpec
    model: str
    name: str
    dialect: Literal["vai", "upstream"]


def resolve_route(
    requested: str,
    specs: Mapping[str, ProviderSpec],
    aliases: Mapping[str, str],
    catalogue: Catalogue = EMPTY,
) -> Route:
    """The route of a model name as the client wrote it.

    Raises:
        InvalidRequest: it is not of the form ``provider/model``, nor a known bare name, or
            several providers serve a model of this name.
        NotFound: no such provider.
    """
    bare = requested in aliases or "/" not in requested
    target = requested
    for _ in aliases:  # an alias may stand for another; the settings allow no circle
        if target not in aliases:
            break
        target = aliases[target]
    provider, slash, model = target.partition("/")
    if not slash:
        return _resolve_bare(provider, specs, catalogue)
    if not provider or not model:
        raise InvalidRequest(_FORM, param="model")
    spec = specs.get(provider)
    if spec is None:
        raise NotFound(
            f"model: no such provider; expected one of {', '.join(sorted(specs))}",
            param="model",
        )
    return _make_route(spec, model, bare=bare)


def _resolve_bare(model: str, specs: Mapping[str, ProviderSpec], catalogue: Catalogue) -> Route:
    for spec in specs.values():
        if model.startswith(spec.bare_prefixes):
            return _make_route(spec, model, bare=True)
    homes = [provider for provider in catalogue.providers_of_name(model) if provider in specs]
    if len(homes) > 1:
        names = " or ".join(f"{provider}/{model}" for provider in homes)
        raise InvalidRequest(f"model: several providers serve it; expected {names}", param="model")
    if homes:
        return _make_route(specs[homes[0]], model, bare=True)
    raise InvalidRequest(_FORM, param="model")


def _make_route(spec: ProviderSpec, model: str, *, bare: bool) -> Route:
    pure = bare and spec.kind == "anthropic"
    return Route(spec, model, f"{spec.id}/{model}", "upstream" if pure else "vai")

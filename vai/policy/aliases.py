"""The targets of an alias, in the order in which VAI tries them.

Invariants: an alias of aliases stands for all of their targets, in order and each of them once.
The settings ensure that there is no circle and that there are few. An alias that ends with ``*``
is a pattern: it stands for every name with that beginning, and a ``*`` in its targets stands for
the rest of the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from vai.policy.catalogue import EMPTY, Catalogue
from vai.policy.route import Route, resolve_route
from vai.types.provider import ProviderSpec

__all__ = [
    "MAX_TARGETS",
    "AliasPattern",
    "Aliases",
    "alias_patterns",
    "aliased_routes",
    "expand_alias",
    "is_pattern",
    "matched_routes",
]

Aliases = Mapping[str, tuple[str, ...]]
"""Alias -> what it stands for: ``provider/model``, or another alias."""

MAX_TARGETS: Final = 8
_WILD: Final = "*"


class AliasPattern(NamedTuple):
    """An alias for all names that begin with `prefix`."""

    prefix: str
    targets: tuple[str, ...]


def is_pattern(alias: str) -> bool:
    """Whether `alias` stands for many names."""
    return alias.endswith(_WILD)


def alias_patterns(aliases: Aliases) -> tuple[AliasPattern, ...]:
    """The patterns among `aliases`, the longest first."""
    patterns = [
        AliasPattern(alias.removesuffix(_WILD), expand_alias(alias, aliases) or ())
        for alias in aliases
        if is_pattern(alias)
    ]
    return tuple(sorted(patterns, key=lambda pattern: -len(pattern.prefix)))


def matched_routes(
    requested: str,
    patterns: Iterable[AliasPattern],
    specs: Mapping[str, ProviderSpec],
    catalogue: Catalogue = EMPTY,
) -> tuple[Route, ...]:
    """The routes of a name that a pattern matches, none where no pattern does.

    Raises:
        InvalidRequest: the rest of the name is no valid model name.
    """
    for prefix, targets in patterns:
        if requested.startswith(prefix):
            names = [target.replace(_WILD, requested[len(prefix) :]) for target in targets]
            return tuple(
                resolve_route(requested, specs, {requested: name}, catalogue) for name in names
            )
    return ()


def expand_alias(alias: str, aliases: Aliases) -> tuple[str, ...] | None:
    """The targets of `alias`; None when it stands, directly or indirectly, for itself."""
    return _expand_below(alias, aliases, ())


def _expand_below(name: str, aliases: Aliases, above: tuple[str, ...]) -> tuple[str, ...] | None:
    if name not in aliases:
        return (name,)
    if name in above:
        return None
    expanded: dict[str, None] = {}
    for behind in aliases[name]:
        targets = _expand_below(behind, aliases, (*above, name))
        if targets is None:
            return None
        expanded |= dict.fromkeys(targets)
    return tuple(expanded)


def aliased_routes(
    aliases: Aliases, specs: Mapping[str, ProviderSpec], catalogue: Catalogue = EMPTY
) -> dict[str, tuple[Route, ...]]:
    """Alias -> its routes, without patterns. The targets must have passed the settings' rules."""
    return {
        alias: tuple(
            resolve_route(alias, specs, {alias: target}, catalogue)
            for target in expand_alias(alias, aliases) or ()
        )
        for alias in aliases
        if not is_pattern(alias)
    }

"""Which targets stand behind an alias, in the order in which they are tried.

The law of this module: an alias of aliases is all of their targets, one after the other and
each of them once. The settings see to it that there is no circle and that there are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vai.policy.catalogue import EMPTY, Catalogue
from vai.policy.route import Route, resolve
from vai.types.provider import ProviderRow

__all__ = ["MAX_TARGETS", "Aliases", "aliased_routes", "targets_of"]

Aliases = Mapping[str, tuple[str, ...]]
"""Alias -> what it stands for: ``provider/model``, or another alias."""

MAX_TARGETS: Final = 8


def targets_of(alias: str, aliases: Aliases) -> tuple[str, ...] | None:
    """The targets of `alias`; None when it stands, at whatever remove, for itself."""
    return _targets(alias, aliases, ())


def _targets(name: str, aliases: Aliases, above: tuple[str, ...]) -> tuple[str, ...] | None:
    if name not in aliases:
        return (name,)
    if name in above:
        return None
    found: dict[str, None] = {}
    for behind in aliases[name]:
        targets = _targets(behind, aliases, (*above, name))
        if targets is None:
            return None
        found |= dict.fromkeys(targets)
    return tuple(found)


def aliased_routes(
    aliases: Aliases, rows: Mapping[str, ProviderRow], catalogue: Catalogue = EMPTY
) -> dict[str, tuple[Route, ...]]:
    """Alias -> its routes. The targets must have passed the rules of the settings."""
    return {
        alias: tuple(
            resolve(alias, rows, {alias: target}, catalogue)
            for target in targets_of(alias, aliases) or ()
        )
        for alias in aliases
    }

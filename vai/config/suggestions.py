"""What is meant by a name that is no setting: where the setting of that name stands, or which
name is near.

Invariants: pure functions of names; no value gets into a text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from vai.config.names import BUILT_IN, ELSEWHERE, SPELLINGS, canonical, provider_id

__all__ = ["Suggestion", "elsewhere", "suggest"]

Path = tuple[str, ...]

_MOST_TABLES: Final = 4
_NEAR: Final = 0.7
_VERY_NEAR: Final = 0.85
"""How alike two names are: those of one table go before others, where they are very near."""
_OWN_NAMES: Final = {"tiers": "<name>", "api_keys": "<name>", "aliases": "<alias>"}


class Suggestion(NamedTuple):
    """A sentence for the person who wrote an unknown name, and the settings it may stand for."""

    text: str
    meant: tuple[Path, ...] = ()


def suggest(
    path: Path, names: Iterable[str], known: tuple[str, ...], source: str, below: Iterable[str] = ()
) -> Suggestion:
    """Say what `path` may stand for.

    Args:
        path: the unknown name, with those of its tables.
        names: the settings of its table.
        known: all settings, dotted; `*` stands for a name that the user chooses.
        source: `toml`, `yaml`, `json`, or `variable`.
        below: the names inside, where it is a table.
    """
    inside = list(below)
    if len(path) == 1 and inside:
        if provider_id(path[0]) in BUILT_IN:
            return _near(("providers", provider_id(path[0])), source)
        if all(name in known for name in inside):
            return _of_the_top(inside, path, source)
    if source == "variable" and (meant := _by_underscores(path, known)):
        return _near(meant, source)
    name = path[-1]
    if near := difflib.get_close_matches(name, names, 1, _VERY_NEAR):
        return _near((*path[:-1], *near), source)
    if name in ELSEWHERE:
        meant = tuple(ELSEWHERE[name].split("."))
        return Suggestion(f"; VAI's setting for it is {_spelled(meant, source)}", (meant,))
    if belongs := elsewhere(path, known, source):
        return belongs
    if near := difflib.get_close_matches(name, names, 1, _NEAR):
        return _near((*path[:-1], *near), source)
    if near := difflib.get_close_matches(".".join(path), [*_plain(known), *SPELLINGS], 1, _NEAR):
        return _near(tuple(near[0].split(".")), source)
    return Suggestion("; docs/configuration.md lists all settings")


def elsewhere(path: Path, known: tuple[str, ...], source: str) -> Suggestion | None:
    """Where a setting of this name belongs; None where no setting has it."""
    *above, name = path
    name = name.replace("-", "_")  # as a provider's id it has hyphens
    if above and name in known:
        return _of_the_top([name], tuple(above), source)
    if above and name in _tables_of_the_top(known):
        return Suggestion(f"; {name} is a table of its own, at the top", ((name,),))
    tables = _all_tables(known).get(name)
    if tables is None:
        return None
    meant = tuple((*table.split("."), name) for table in tables)
    shown = meant[:_MOST_TABLES]
    if source == "variable":
        return Suggestion(f"; did you mean {_listed([_spelled(m, source) for m in shown])}?", meant)
    return Suggestion(f"; {name} belongs in {_listed(tables[:_MOST_TABLES])}", meant)


def _near(path: Path, source: str) -> Suggestion:
    meant = canonical(path)
    return Suggestion(f"; did you mean {_spelled(meant, source)}?", (meant,))


def _of_the_top(names: list[str], table: Path, source: str) -> Suggestion:
    listed = " and ".join(_spelled((name,), source) for name in names[:_MOST_TABLES])
    one = len(names) == 1
    what = f"{listed} is a top-level setting" if one else f"{listed} are top-level settings"
    dotted = ".".join(table)
    how = {
        "toml": f": in TOML every line below [{dotted}] belongs to {dotted}; "
        f"move {'it' if one else 'them'} above the first table",
        "variable": "",
    }.get(source, f": write {'it' if one else 'them'} outside of {dotted}")
    return Suggestion(f"; {what}{how}", tuple((name,) for name in names))


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _spelled(path: Path, source: str) -> str:
    if source == "variable":
        return "VAI_" + "__".join(path).upper().replace("<", "").replace(">", "")
    return ".".join(path)


@cache
def _all_tables(known: tuple[str, ...]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for dotted in known:
        parts = dotted.split(".")
        shown = [
            _OWN_NAMES.get(before, "<id>") if part == "*" else part
            for before, part in zip(["", *parts], parts, strict=False)
        ]
        for end in range(1, len(parts)):
            above = ".".join(shown[:end])
            if parts[end] != "*" and above not in tables.setdefault(parts[end], []):
                tables[parts[end]].append(above)
    return tables


@cache
def _tables_of_the_top(known: tuple[str, ...]) -> frozenset[str]:
    return frozenset(dotted.partition(".")[0] for dotted in known if "." in dotted)


@cache
def _plain(known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dotted for dotted in known if "*" not in dotted)


def _by_underscores(path: Path, known: tuple[str, ...]) -> Path | None:
    """The setting of a variable that is written with one underscore between its names."""
    flat = "_".join(path)
    for pattern, dotted in _patterns(known):
        if found := pattern.fullmatch(flat):
            own = iter(found.groups())
            return tuple(next(own) if part == "*" else part for part in dotted.split("."))
    return None


@cache
def _patterns(known: tuple[str, ...]) -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile("([a-z0-9-]+)".join(map(re.escape, d.replace(".", "_").split("*")))), d)
        for d in known
        if "." in d
    ]

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

from vai.config.names import ELSEWHERE, KEY_VARIABLES, SPELLINGS, canonical
from vai.providers.registry import provider_id

__all__ = ["Suggestion", "instead_of_a_value", "suggest"]

Path = tuple[str, ...]

_MOST_TABLES: Final = 4
_NEAR: Final = 0.7
_VERY_NEAR: Final = 0.85
"""How alike two names are: those of one table go before others, where they are very near."""
_FILE: Final = "_file"
_HELD_IN_FILES: Final = frozenset({"api_key", "client_secret", "key", "proxy", "url"})
"""Settings that other programs let stand in a file that a setting named `..._file` names."""
_SETTINGS_FILE: Final = frozenset({"config_file", "config_path", "settings", "settings_file"})
"""What the variable VAI_CONFIG, which is no setting, is called elsewhere."""
_OWN_NAMES: Final = {
    "tiers": "<name>",
    "api_keys": "<name>",
    "aliases": "<alias>",
    "headers": "<name>",
    "models": "<provider/model>",
}


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
    inside, names = list(below), list(names)
    if len(path) == 1 and (found := _at_the_top(path, inside, known, source)):
        return found
    if source == "toml" and path[0] in ("aliases", "models") and path[-1][:1].isdigit():
        quoted = f'{path[0]}."{".".join(path[1:])}"'
        return Suggestion(f"; in TOML a name with dots needs quotes: {quoted}")
    if source == "variable" and (meant := _by_underscores(path, known)):
        return _near(meant, source)
    name = path[-1]
    if inside and path[-2:-1] and path[-2].endswith("]"):
        listed = ".".join(path[:-1]).rpartition("[")[0]
        return Suggestion(f"; write it as an entry of {listed}, like the one before it")
    if inside and name in _tables_below_the_top(known) and name not in names:
        # A table of exactly this name goes before a near one.
        return _elsewhere(path, known, source) or Suggestion("")
    if near := difflib.get_close_matches(name, names, 1, _VERY_NEAR):
        return _near((*path[:-1], *near), source)
    if name.endswith(_FILE) and name.removesuffix(_FILE) in _HELD_IN_FILES.intersection(names):
        held = (*path[:-1], name.removesuffix(_FILE))
        text = f"; write ${{file:/path/of/the/file}} as {_spelled(held, source)}"
        return Suggestion(text, (held,))
    if name in ELSEWHERE:
        return _called_here(ELSEWHERE[name], path, names, known, source)
    parts_of_it = [one for one in names if f"_{name}_" in f"_{one}_"]
    if len(parts_of_it) == 1:
        return _near((*path[:-1], *parts_of_it), source)
    if belongs := _elsewhere(path, known, source):
        return belongs
    if near := difflib.get_close_matches(name, names, 1, _NEAR):
        return _near((*path[:-1], *near), source)
    if near := difflib.get_close_matches(".".join(path), [*_plain(known), *SPELLINGS], 1, _NEAR):
        return _near(tuple(near[0].split(".")), source)
    return Suggestion("; docs/configuration.md lists all settings")


def _at_the_top(
    path: Path, inside: list[str], known: tuple[str, ...], source: str
) -> Suggestion | None:
    """What a name may stand for that has no table above it, as the one of a wrapper has none."""
    (name,) = path
    for provider, variables in KEY_VARIABLES.items():
        if name.upper() in variables:
            return _near(("providers", provider, "api_key"), source)
        if inside and provider_id(name.strip()) == provider:
            return _near(("providers", provider), source)
    if inside and all(one in known for one in inside):
        return _of_the_top(inside, path, source)
    tables = _tables_of_the_top(known)
    if inside and all(one in known or one in tables for one in inside):
        text = f"; what stands in it belongs at the top: write it without {name}"
        return Suggestion(text, tuple((one,) for one in inside))
    if source == "variable" and name in _SETTINGS_FILE:
        return Suggestion("; did you mean VAI_CONFIG?")
    if source != "variable" and name.startswith("vai_"):
        return Suggestion("; in a file the names of settings stand without VAI_")
    return None


def _called_here(
    dotted: str, path: Path, names: list[str], known: tuple[str, ...], source: str
) -> Suggestion:
    """VAI's setting for one of other gateways; one that stands in many tables is that of `path`."""
    meant = _split(dotted)
    if len(meant) == 1 and meant[0] in names:
        meant = (*path[:-1], *meant)
    elif len(meant) == 1 and not _is_of_the_top(meant[0], known):
        tables = _all_tables(known)[meant[0]]
        shown = _listed([_spelled((*_split(table), *meant), source) for table in tables])
        return Suggestion(f"; VAI's setting for it is {shown}")
    return Suggestion(f"; VAI's setting for it is {_spelled(meant, source)}", (meant,))


def _is_of_the_top(name: str, known: tuple[str, ...]) -> bool:
    return name in known or name in _tables_of_the_top(known)


def _elsewhere(path: Path, known: tuple[str, ...], source: str) -> Suggestion | None:
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


def instead_of_a_value(
    path: Path, known: tuple[str, ...], source: str, needed: str | None = None
) -> str:
    """What to write where a value stands and a table of settings is expected.

    Args:
        path: the table; `known` and `source` are as for `suggest`.
        needed: the setting without which the table is none, and which the value is likely to be.
    """
    if needed not in (None, path[-1]):
        return f"write it as {_spelled((*path, needed), source)}"
    below = [parts for parts in map(_split, known) if _is_below(parts, path)]
    is_named = any(parts[len(path) - 1] == path[-1] for parts in below)
    if not is_named and (belongs := _elsewhere(path, known, source)):
        return belongs.text.removeprefix("; ")
    if not below:
        return "docs/configuration.md lists all settings"
    inside = (*path, *_with_own_names(below[0])[len(path) :])
    return f"set what stands in it, like {_spelled(inside, source)}"


def _split(dotted: str) -> Path:
    return tuple(dotted.split("."))


def _is_below(setting: Path, table: Path) -> bool:
    return len(setting) > len(table) and all(
        want in ("*", have) for want, have in zip(setting, table, strict=False)
    )


def _with_own_names(parts: Path) -> Path:
    """The names of a setting, with what the user chooses in angle brackets."""
    pairs = zip(("", *parts), parts, strict=False)
    return tuple(_OWN_NAMES.get(before, "<id>") if part == "*" else part for before, part in pairs)


def _near(path: Path, source: str) -> Suggestion:
    meant = canonical(path)
    return Suggestion(f"; did you mean {_spelled(meant, source)}?", (meant,))


def _of_the_top(names: list[str], table: Path, source: str) -> Suggestion:
    listed = " and ".join(_spelled((name,), source) for name in names[:_MOST_TABLES])
    one = len(names) == 1
    what = f"{listed} is a top-level setting" if one else f"{listed} are top-level settings"
    dotted = ".".join(table)
    header = f"[[{dotted.rpartition('[')[0]}]]" if dotted.endswith("]") else f"[{dotted}]"
    how = {
        "toml": f": in TOML every line below {header} belongs to {dotted}; "
        f"move {'it' if one else 'them'} above the first table",
        "variable": "",
    }.get(source, f": write {'it' if one else 'them'} outside of {dotted}")
    return Suggestion(f"; {what}{how}", tuple((name,) for name in names))


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _spelled(path: Path, source: str) -> str:
    # A place in a list has no variable of its own.
    if source == "variable" and not any(name.endswith("]") for name in path):
        return "VAI_" + "__".join(path).upper().replace("<", "").replace(">", "")
    return ".".join(path)


@cache
def _all_tables(known: tuple[str, ...]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for dotted in known:
        parts = _split(dotted)
        shown = _with_own_names(parts)
        for end in range(1, len(parts)):
            above = ".".join(shown[:end])
            if parts[end] != "*" and above not in tables.setdefault(parts[end], []):
                tables[parts[end]].append(above)
    return tables


@cache
def _tables_of_the_top(known: tuple[str, ...]) -> frozenset[str]:
    return frozenset(dotted.partition(".")[0] for dotted in known if "." in dotted)


@cache
def _tables_below_the_top(known: tuple[str, ...]) -> frozenset[str]:
    """The names of tables that stand in another one."""
    parts = (name for dotted in known for name in _split(dotted)[1:-1])
    return frozenset(parts) - {"*"}


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

"""Suggestions for an unknown setting: the table in which a setting of that name stands, or a
similar name.

Invariants: the functions are pure functions of names; no text contains a value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from vai.config.names import FOREIGN_NAMES, KEY_VARIABLES, SPELLINGS, canonical_path
from vai.providers.registry import provider_id

__all__ = ["Suggestion", "suggest_setting", "table_hint"]

Path = tuple[str, ...]

_MOST_TABLES: Final = 4
_NEAR: Final = 0.7
_VERY_NEAR: Final = 0.85
"""Similarity from which names of the same table go before names of other tables."""
_FILE: Final = "_file"
_HELD_IN_FILES: Final = frozenset({"api_key", "client_secret", "key", "proxy", "url"})
"""Settings that other programs read from a file, which a setting named `..._file` names."""
_SETTINGS_FILE: Final = frozenset({"config_file", "config_path", "settings", "settings_file"})
"""Names in other programs for the variable VAI_CONFIG, which is no setting."""
_USER_NAMES: Final = {
    "tiers": "<name>",
    "api_keys": "<name>",
    "aliases": "<alias>",
    "headers": "<name>",
    "models": "<provider/model>",
}


class Suggestion(NamedTuple):
    """A hint about an unknown name, and the settings that it may stand for."""

    text: str
    settings: tuple[Path, ...] = ()


def suggest_setting(
    path: Path,
    names: Iterable[str],
    all_names: tuple[str, ...],
    source: str,
    below: Iterable[str] = (),
) -> Suggestion:
    """Suggest what `path` may stand for.

    Args:
        path: the unknown name, with the names of its tables.
        names: the settings of its table.
        all_names: all settings, dotted; `*` stands for a name that the user chooses.
        source: `toml`, `yaml`, `json`, or `variable`.
        below: the names inside, where it is a table.
    """
    inside, names = list(below), list(names)
    if len(path) == 1 and (suggestion := _suggest_top_level(path, inside, all_names, source)):
        return suggestion
    if source == "toml" and path[0] in ("aliases", "models") and path[-1][:1].isdigit():
        quoted = f'{path[0]}."{".".join(path[1:])}"'
        return Suggestion(f"; in TOML a name with dots needs quotes: {quoted}")
    if source == "variable" and (setting := _by_underscores(path, all_names)):
        return _suggest_near(setting, source)
    name = path[-1]
    if inside and path[-2:-1] and path[-2].endswith("]"):
        listed = ".".join(path[:-1]).rpartition("[")[0]
        return Suggestion(f"; write it as an entry of {listed}, like the one before it")
    if inside and name in _nested_tables(all_names) and name not in names:
        # A table of exactly this name goes before a near one.
        return _suggest_table(path, all_names, source) or Suggestion("")
    if near := difflib.get_close_matches(name, names, 1, _VERY_NEAR):
        return _suggest_near((*path[:-1], *near), source)
    if name.endswith(_FILE) and name.removesuffix(_FILE) in _HELD_IN_FILES.intersection(names):
        held = (*path[:-1], name.removesuffix(_FILE))
        text = f"; write ${{file:/path/of/the/file}} as {_spell_setting(held, source)}"
        return Suggestion(text, (held,))
    if name in FOREIGN_NAMES:
        return _suggest_vai_name(FOREIGN_NAMES[name], path, names, all_names, source)
    parts_of_it = [one for one in names if f"_{name}_" in f"_{one}_"]
    if len(parts_of_it) == 1:
        return _suggest_near((*path[:-1], *parts_of_it), source)
    if belongs := _suggest_table(path, all_names, source):
        return belongs
    if near := difflib.get_close_matches(name, names, 1, _NEAR):
        return _suggest_near((*path[:-1], *near), source)
    if near := difflib.get_close_matches(
        ".".join(path), [*_fixed_names(all_names), *SPELLINGS], 1, _NEAR
    ):
        return _suggest_near(tuple(near[0].split(".")), source)
    return Suggestion("; docs/configuration.md lists all settings")


def _suggest_top_level(
    path: Path, inside: list[str], all_names: tuple[str, ...], source: str
) -> Suggestion | None:
    """What a name without a table above it may stand for, such as the name of a wrapper."""
    (name,) = path
    for provider, variables in KEY_VARIABLES.items():
        if name.upper() in variables:
            return _suggest_near(("providers", provider, "api_key"), source)
        if inside and provider_id(name.strip()) == provider:
            return _suggest_near(("providers", provider), source)
    if inside and all(one in all_names for one in inside):
        return _suggest_move_to_top(inside, path, source)
    tables = _top_level_tables(all_names)
    if inside and all(one in all_names or one in tables for one in inside):
        text = f"; what stands in it belongs at the top: write it without {name}"
        return Suggestion(text, tuple((one,) for one in inside))
    if source == "variable" and name in _SETTINGS_FILE:
        return Suggestion("; did you mean VAI_CONFIG?")
    if source != "variable" and name.startswith("vai_"):
        return Suggestion("; in a file the names of settings stand without VAI_")
    return None


def _suggest_vai_name(
    dotted: str, path: Path, names: list[str], all_names: tuple[str, ...], source: str
) -> Suggestion:
    """VAI's setting for another gateway's; of one in many tables, that in the table of `path`."""
    setting = _split_name(dotted)
    if len(setting) == 1 and setting[0] in names:
        setting = (*path[:-1], *setting)
    elif len(setting) == 1 and not _is_top_level(setting[0], all_names):
        tables = _all_tables(all_names)[setting[0]]
        shown = _join_names(
            [_spell_setting((*_split_name(table), *setting), source) for table in tables]
        )
        return Suggestion(f"; VAI's setting for it is {shown}")
    return Suggestion(f"; VAI's setting for it is {_spell_setting(setting, source)}", (setting,))


def _is_top_level(name: str, all_names: tuple[str, ...]) -> bool:
    return name in all_names or name in _top_level_tables(all_names)


def _suggest_table(path: Path, all_names: tuple[str, ...], source: str) -> Suggestion | None:
    """Where a setting of this name belongs; None where no setting has it."""
    *above, name = path
    name = name.replace("-", "_")  # as a provider's id it has hyphens
    if above and name in all_names:
        return _suggest_move_to_top([name], tuple(above), source)
    if above and name in _top_level_tables(all_names):
        return Suggestion(f"; {name} is a table of its own, at the top", ((name,),))
    tables = _all_tables(all_names).get(name)
    if tables is None:
        return None
    settings = tuple((*table.split("."), name) for table in tables)
    shown = settings[:_MOST_TABLES]
    if source == "variable":
        return Suggestion(
            f"; did you mean {_join_names([_spell_setting(m, source) for m in shown])}?", settings
        )
    return Suggestion(f"; {name} belongs in {_join_names(tables[:_MOST_TABLES])}", settings)


def table_hint(
    path: Path, all_names: tuple[str, ...], source: str, needed: str | None = None
) -> str:
    """What to write in place of a value where a table of settings is expected.

    Args:
        path: the table; `all_names` and `source` are as for `suggest_setting`.
        needed: the setting that the table requires, and which the value is likely to be.
    """
    if needed not in (None, path[-1]):
        return f"write it as {_spell_setting((*path, needed), source)}"
    below = [parts for parts in map(_split_name, all_names) if _is_below(parts, path)]
    is_named = any(parts[len(path) - 1] == path[-1] for parts in below)
    if not is_named and (belongs := _suggest_table(path, all_names, source)):
        return belongs.text.removeprefix("; ")
    if not below:
        return "docs/configuration.md lists all settings"
    inside = (*path, *_with_user_names(below[0])[len(path) :])
    return f"set what stands in it, like {_spell_setting(inside, source)}"


def _split_name(dotted: str) -> Path:
    return tuple(dotted.split("."))


def _is_below(setting: Path, table: Path) -> bool:
    return len(setting) > len(table) and all(
        want in ("*", have) for want, have in zip(setting, table, strict=False)
    )


def _with_user_names(parts: Path) -> Path:
    """The names of a setting, with what the user chooses in angle brackets."""
    pairs = zip(("", *parts), parts, strict=False)
    return tuple(_USER_NAMES.get(before, "<id>") if part == "*" else part for before, part in pairs)


def _suggest_near(path: Path, source: str) -> Suggestion:
    setting = canonical_path(path)
    return Suggestion(f"; did you mean {_spell_setting(setting, source)}?", (setting,))


def _suggest_move_to_top(names: list[str], table: Path, source: str) -> Suggestion:
    listed = " and ".join(_spell_setting((name,), source) for name in names[:_MOST_TABLES])
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


def _join_names(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _spell_setting(path: Path, source: str) -> str:
    # An item of a list has no variable of its own.
    if source == "variable" and not any(name.endswith("]") for name in path):
        return "VAI_" + "__".join(path).upper().replace("<", "").replace(">", "")
    return ".".join(path)


@cache
def _all_tables(all_names: tuple[str, ...]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for dotted in all_names:
        parts = _split_name(dotted)
        shown = _with_user_names(parts)
        for end in range(1, len(parts)):
            above = ".".join(shown[:end])
            if parts[end] != "*" and above not in tables.setdefault(parts[end], []):
                tables[parts[end]].append(above)
    return tables


@cache
def _top_level_tables(all_names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(dotted.partition(".")[0] for dotted in all_names if "." in dotted)


@cache
def _nested_tables(all_names: tuple[str, ...]) -> frozenset[str]:
    """The names of tables inside another table."""
    parts = (name for dotted in all_names for name in _split_name(dotted)[1:-1])
    return frozenset(parts) - {"*"}


@cache
def _fixed_names(all_names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dotted for dotted in all_names if "*" not in dotted)


def _by_underscores(path: Path, all_names: tuple[str, ...]) -> Path | None:
    """The setting of a variable that is written with one underscore between its names."""
    flat = "_".join(path)
    for pattern, dotted in _name_patterns(all_names):
        if match := pattern.fullmatch(flat):
            user_names = iter(match.groups())
            return tuple(next(user_names) if part == "*" else part for part in dotted.split("."))
    return None


@cache
def _name_patterns(all_names: tuple[str, ...]) -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile("([a-z0-9-]+)".join(map(re.escape, d.replace(".", "_").split("*")))), d)
        for d in all_names
        if "." in d
    ]

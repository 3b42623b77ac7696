"""Conversion of a layer of values to the settings structs, with every problem in it.

Invariants: types come from `vai.config.schema` alone. msgspec converts the single value; the
recursion around it exists because msgspec stops at the first error, and because its messages quote
values.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from vai.config.names import canonical_path
from vai.config.problems import Problem
from vai.config.schema import Settings
from vai.config.sources import DEFAULTS, Layer, SettingValue, UnresolvedReference
from vai.config.suggestions import suggest_setting, table_hint
from vai.errors import InvalidRequest
from vai.secret import Secret
from vai.types.settings import DURATION, SettingsSection

__all__ = ["SettingsConverter", "parse_duration", "setting_names"]

Path = tuple[str, ...]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_IN_QUOTES: Final = re.compile(r"-?\d+(?:\.\d+)?|true|false")
_INVALID: Final = object()


def parse_duration(text: str) -> float:
    """Seconds of `"90"`, `"60s"`, `"1h30m"`, `"250ms"`.

    Raises:
        ValueError: the text has no such form. The message does not quote it.
    """
    plain = text.strip().lower()
    if _DURATION.fullmatch(plain):
        return sum(float(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(plain))
    try:
        return float(plain)
    except ValueError:
        raise ValueError("expected a duration") from None


def setting_names(kind: type[SettingsSection] = Settings, above: str = "") -> list[str]:
    """The dotted name of every setting; `*` stands for a name the user chooses."""
    names: list[str] = []
    for name, hint in _field_hints(kind).items():
        inner, tail = _item_type(hint), f"{above}{name}"
        if isinstance(inner, type) and issubclass(inner, SettingsSection):
            names += setting_names(inner, f"{tail}." if inner is hint else f"{tail}.*.")
        else:
            names.append(tail if _dict_origin(hint) is None else f"{tail}.*")
    return names


class SettingsConverter:
    """One conversion. `problems` grows while it runs.

    Args:
        is_partial: a file could not be read, so a missing setting may be in it.
    """

    def __init__(self, layer: Layer, *, is_partial: bool = False) -> None:
        self.problems: list[Problem] = []
        self._is_partial = is_partial
        self._values: Layer = {}
        self._first_below: Layer = {}
        """A leaf below each table: the first that the user sets, or one of the defaults."""
        self._written_at: dict[Path, Path] = {}
        """Where an entry of a finished list was written: by name, or after broken entries."""
        self._broken: set[Path] = set()
        self._above_broken: set[Path] = set()
        for path, leaf in layer.items():
            self._values[path] = leaf
            for end in range(1, len(path)):
                if self._first_below.setdefault(path[:end], leaf).where == DEFAULTS:
                    self._first_below[path[:end]] = leaf

    def convert_settings(self) -> Settings:
        """The settings, with defaults in place of wrong values."""
        built = self._convert_section(Settings, _build_tree(self._values), ())
        return built if isinstance(built, Settings) else Settings()

    def add_contradiction(self, path: Path, text: str, *others: Path) -> None:
        """Add a problem of the finished settings, unless it may follow from another one.

        Args:
            others: further settings that the problem concerns.
        """
        for end in range(1, len(path) + 1):
            if path[:end] in self._written_at:
                path = (*self._written_at[path[:end]], *path[end:])
                break
        lineage = _path_lineage(path)
        if lineage[-1] in self._above_broken or not self._broken.isdisjoint(lineage):
            return
        if all(self._broken.isdisjoint(_path_lineage(other)) for other in others):
            self.add_problem(path, text)

    def add_problem(self, path: Path, text: str) -> None:
        """Add the problem `text` of the setting at `path`."""
        self._mark_broken(path)
        self.problems.append(self.locate_problem(path, text))

    def locate_problem(self, path: Path, text: str) -> Problem:
        """A problem of the setting at `path`, with its name and position as written."""
        leaf, where = self._find_origin(path)
        key = _dotted_name(path)
        if leaf is not None:
            # In the file's own spelling of the setting.
            setting = _dotted_name(canonical_path(tuple(leaf.key.split("."))))
            key = leaf.key if key == setting else key
        return Problem(key, where, text)

    def _mark_broken(self, path: Path) -> None:
        """Suppress contradictions about `path`, what is below it and what is above it."""
        lineage = _path_lineage(path)
        self._broken.add(lineage[-1])
        self._above_broken.update(lineage[:-1])

    def _find_origin(self, path: Path) -> tuple[SettingValue | None, str]:
        """The leaf at, above or below `path`, and where that is."""
        for end in range(len(path), 0, -1):
            for name in (path[:end], (*path[: end - 1], _without_indexes(path[:end])[-1])):
                if leaf := self._values.get(name):
                    return leaf, _entry_position(
                        leaf, _dotted_name(path)[len(_dotted_name(name)) :]
                    )
        if below := self._first_below.get(path):
            return below, below.where
        # Of a missing setting: the position of the table that it belongs to.
        for table in reversed(_path_lineage(path)[1:-1]):
            near = self._first_below.get(table)
            if near is not None and near.where != DEFAULTS:
                return None, near.where
        return None, ""

    def _convert_any(self, hint: Any, raw: Any, path: Path) -> Any:
        if isinstance(raw, UnresolvedReference):
            for fault in raw.faults:
                self.add_problem(path, fault)
            return _INVALID
        if _is_empty_table(hint, raw) and path in self._broken:
            return _INVALID
        inner = _item_type(hint)
        if inner is not hint and get_origin(hint) in (Union, types.UnionType):
            # An empty text means "not set" in a variable.
            return None if raw in (None, "") else self._convert_any(inner, raw, path)
        if isinstance(hint, type) and issubclass(hint, SettingsSection):
            return self._convert_section(hint, raw, path)
        if get_origin(hint) is dict:
            return self._convert_table(inner, raw, path)
        if get_origin(hint) is tuple:
            return self._convert_array(inner, raw, path)
        return self._convert_single(hint, raw, path)

    def _convert_section(self, kind: type[SettingsSection], raw: Any, path: Path) -> Any:
        if not isinstance(raw, Mapping):
            needed = [field.name for field in _fields_of(kind) if field.required]
            self.add_problem(
                path, f"expected a table of settings; {self._table_hint(raw, path, needed)}"
            )
            return _INVALID if needed else kind()
        fields = _field_hints(kind)
        empty = [name for name, hint in fields.items() if _is_empty_table(hint, raw.get(name, ""))]
        for name in raw:
            if name not in fields:
                self._report_unknown(name, raw[name], fields, path, empty)
        values = {
            attribute: self._convert_any(fields[name], raw[name], (*path, name))
            for attribute, name in _encoded_names(kind)
            if name in raw
        }
        fields_of = _fields_of(kind)
        for field in fields_of:
            if field.required and field.name not in values:
                values[field.name] = _INVALID
                # A wrong name that stands for this setting is already a problem.
                if not self._is_partial and (*path, field.name) not in self._broken:
                    self.add_problem((*path, field.name), "required; set it beside the others")
        if any(field.required and values[field.name] is _INVALID for field in fields_of):
            return _INVALID
        return kind(**{name: value for name, value in values.items() if value is not _INVALID})

    def _table_hint(self, raw: Any, path: Path, needed: list[str]) -> str:
        """A hint for a value where a table is expected."""
        if raw is None:
            return "write its settings below it, or leave it out"
        leaf, _ = self._find_origin(path)
        source = leaf.source if leaf else ""
        if path and source == "toml" and _is_list_of_tables(raw):
            return f"write [{_dotted_name(path)}] in single brackets"
        return table_hint(path, _all_setting_names(), source, next(iter(needed), None))

    def _report_unknown(
        self, name: str, raw: Any, fields: Mapping[str, Any], above: Path, empty: list[str]
    ) -> None:
        path = (*above, name)
        leaf, _ = self._find_origin(path)
        below = list(raw) if isinstance(raw, Mapping) else []
        if len(below) == 1 and len(path) == 1 and below[0] in _all_setting_names():
            path, below, fields = (*path, *below), [], {}
        text, settings = suggest_setting(
            path, fields, _all_setting_names(), leaf.source if leaf else "", below
        )
        what = "no such table of settings" if below else "no such setting"
        if empty:
            # In YAML, indenting it moves it into one of these tables.
            text = f"; indent it below {' or '.join(empty)} if it belongs there{text}"
        self.add_problem(path, f"{what}{text}")
        for setting in (*settings, *((*above, table) for table in empty)):
            self._mark_broken(setting)

    def _convert_table(self, inner: Any, raw: Any, path: Path) -> Any:
        if not isinstance(raw, Mapping):
            leaf, _ = self._find_origin(path)
            hint = table_hint(path, _all_setting_names(), leaf.source if leaf else "")
            self.add_problem(path, f"expected a table by name; {hint}")
            return _INVALID
        built = {name: self._convert_any(inner, item, (*path, name)) for name, item in raw.items()}
        return {name: item for name, item in built.items() if item is not _INVALID}

    def _convert_array(self, inner: Any, raw: Any, path: Path) -> Any:
        if (
            isinstance(raw, Mapping)
            and isinstance(inner, type)
            and issubclass(inner, SettingsSection)
        ):
            # Variables cannot address an item of a list, so a list of tables may have names.
            items = [
                ((*path, name), {"name": name, **item} if isinstance(item, Mapping) else item)
                for name, item in raw.items()
            ]
        elif isinstance(raw, list):
            items = [((*path[:-1], f"{path[-1]}[{n}]"), item) for n, item in enumerate(raw)]
        elif (
            isinstance(raw, str)
            and raw
            and not _is_list_in_text(raw)
            and str in (inner, *get_args(inner))
        ):
            items = [(path, raw)]  # a list of one text may be written as the text
        else:
            hint = self._quotes_hint(path) if isinstance(raw, Mapping) else ""
            hint = hint or ("; this one is empty" if raw is None else "")
            self.add_problem(path, f"expected {self._list_words(inner, path)}{hint}")
            return _INVALID
        if isinstance(inner, type) and issubclass(inner, SettingsSection):
            # All entries that are no tables are one mistake.
            wrong = [
                item for item in items if not isinstance(item[1], (Mapping, UnresolvedReference))
            ]
            items = [
                item for item in items if isinstance(item[1], (Mapping, UnresolvedReference))
            ] + wrong[:1]
        built: list[Any] = []
        for at, item in items:
            value = self._convert_any(inner, item, at)
            if value is not _INVALID:
                self._written_at[(*path[:-1], f"{path[-1]}[{len(built)}]")] = at
                built.append(value)
        return tuple(built)

    def _quotes_hint(self, path: Path) -> str:
        """A hint for a name that TOML has split at its dots."""
        below = self._first_below.get(path)
        if below is None:
            return ""
        names = tuple(below.key.split("."))
        hint = suggest_setting(names, (), _all_setting_names(), below.source).text
        return hint if len(names) > len(path) and "needs quotes" in hint else ""

    def _list_words(self, inner: Any, path: Path) -> str:
        if str in (inner, *get_args(inner)):
            return 'a text or a list of texts, ["..."]'
        leaf, _ = self._find_origin(path)
        if leaf is not None and leaf.source == "variable":
            return f"a list of tables; set VAI_{'__'.join(path).upper()}__ALICE__KEY for one entry"
        return "a list of tables, or a table of them by name"

    def _convert_single(self, hint: Any, raw: Any, path: Path) -> Any:
        leaf = self._values.get(path)
        text = leaf.text if leaf else None
        meta = _meta_of(hint)
        base = get_args(hint)[0] if meta else hint
        if base in (str, Secret) and text is not None:
            raw = text
        if base is Secret:
            if isinstance(raw, str):
                try:
                    return Secret(raw.strip())
                except InvalidRequest:
                    pass
        else:
            try:
                if isinstance(raw, str) and meta and meta.extra == DURATION:
                    raw = parse_duration(raw)
                return msgspec.convert(raw, hint, strict=text is None)
            except (msgspec.ValidationError, ValueError):
                pass
        self.add_problem(
            path, f"expected {_describe_expected(base, meta)}{_value_hint(base, raw, text)}"
        )
        return _INVALID


def _is_empty_table(hint: Any, raw: Any) -> bool:
    is_section = isinstance(hint, type) and issubclass(hint, SettingsSection)
    return raw is None and (is_section or get_origin(hint) is dict)


def _is_list_in_text(raw: str) -> bool:
    """Whether a text is a list with a mistake; a valid list in a variable is parsed before this."""
    return raw.replace(" ", "")[:2] in ('["', "['")


def _is_list_of_tables(raw: Any) -> bool:
    return isinstance(raw, list) and bool(raw) and isinstance(raw[0], Mapping)


@cache
def _all_setting_names() -> tuple[str, ...]:
    return tuple(setting_names())


def _build_tree(leaves: Layer) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        table = root
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = leaf.value
    return root


_fields_of = cache(msgspec.structs.fields)


@cache
def _encoded_names(kind: type[SettingsSection]) -> list[tuple[str, str]]:
    return [(field.name, field.encode_name) for field in msgspec.structs.fields(kind)]


@cache
def _field_hints(kind: type[SettingsSection]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[attribute] for attribute, name in _encoded_names(kind)}


def _item_type(hint: Any) -> Any:
    """The item type of a hint: the T of `T | None`, `dict[str, T]` and `tuple[T, ...]`."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return next(item for item in arguments if item is not types.NoneType)
    if get_origin(hint) is dict:
        return arguments[1]
    return arguments[0] if get_origin(hint) is tuple else hint


def _dict_origin(hint: Any) -> Any:
    return get_origin(hint) if get_origin(hint) is dict else None


def _meta_of(hint: Any) -> msgspec.Meta | None:
    return next((item for item in get_args(hint) if isinstance(item, msgspec.Meta)), None)


def _describe_expected(base: Any, meta: msgspec.Meta | None) -> str:
    if get_origin(base) is Literal:
        return f"one of {', '.join(get_args(base))}"
    if meta and meta.extra and "expected" in meta.extra:
        return str(meta.extra["expected"])
    if base is Secret:
        return "visible ASCII characters, in one line"
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    word = words.get(base, "a text that is not empty")
    if meta and meta.extra == DURATION:
        word = 'seconds or a duration like "1m30s"'
    return word + _describe_bounds(meta)


def _describe_bounds(meta: msgspec.Meta | None) -> str:
    if meta is None:
        return ""
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.ge is not None:
        return f", {meta.ge} or more"
    return f", more than {meta.gt} and at most {meta.le}" if meta.gt is not None else ""


def _value_hint(base: Any, raw: Any, text: str | None) -> str:
    """A hint for a value of the wrong type; `text` is the text of a variable."""
    if isinstance(raw, str):
        if (
            text is None
            and base in (int, float, bool)
            and _IN_QUOTES.fullmatch(raw.strip().lower())
        ):
            return "; write it without quotes"
        if not raw.strip():
            return "; this one is empty"
        if get_origin(base) is Literal and raw.lower() in get_args(base):
            return "; write it in lower case"
        if raw[:1] == raw[-1:] and raw[:1] in "'\"":
            return "; write it without the quotes around it"
    if raw is None:
        return "; this one is empty"
    if base is int and isinstance(raw, float):
        return "; write it without a point or an exponent"
    if base in (str, Secret) and not isinstance(raw, (str, list, dict)):
        return "; write it in quotes"
    return ""


def _path_lineage(path: Path) -> list[Path]:
    """All paths above a path, and the path itself: a list is above its entries."""
    lineage: list[Path] = [()]
    for end, name in enumerate(path):
        plain, bracket, _ = name.partition("[")
        if bracket and name.endswith("]"):
            lineage.append((*path[:end], plain))
        lineage.append(path[: end + 1])
    return lineage


def _entry_position(leaf: SettingValue, steps: str) -> str:
    """The position of a list entry, or of the nearest enclosing one that is known."""
    while steps and steps not in leaf.entries:
        steps = steps[: max(steps.rfind("."), steps.rfind("["), 0)]
    return leaf.entries.get(steps, leaf.where)


def _without_indexes(path: Path) -> Path:
    """A path without list indexes."""
    return tuple(name.partition("[")[0] for name in path)


def _dotted_name(path: Path) -> str:
    return ".".join(path)

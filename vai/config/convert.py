"""From a layer of values to the settings structs, collecting every problem on the way.

The law of this module: types come from `vai.config.schema` alone. msgspec judges the
single value; the walk around it exists because msgspec stops at the first error, and
because its messages quote values.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from vai.config.names import SPELLINGS, canonical
from vai.config.problems import Problem
from vai.config.schema import DURATION, Section, Settings
from vai.config.sources import Layer, Leaf
from vai.errors import InvalidRequest
from vai.secret import Secret

__all__ = ["Walk", "parse_duration", "setting_names"]

Path = tuple[str, ...]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_INVALID: Final = object()


def parse_duration(text: str) -> float:
    """Seconds of `"90"`, `"60s"`, `"1h30m"`, `"250ms"`.

    Raises:
        ValueError: it is none of these. The message does not quote it.
    """
    plain = text.strip().lower()
    if _DURATION.fullmatch(plain):
        return sum(float(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(plain))
    try:
        return float(plain)
    except ValueError:
        raise ValueError("expected a duration") from None


def setting_names(kind: type[Section] = Settings, above: str = "") -> list[str]:
    """The dotted name of every setting; `*` stands for a name the user chooses."""
    names: list[str] = []
    for name, hint in _fields(kind).items():
        inner, tail = _item(hint), f"{above}{name}"
        if isinstance(inner, type) and issubclass(inner, Section):
            names += setting_names(inner, f"{tail}." if inner is hint else f"{tail}.*.")
        else:
            names.append(tail if _table(hint) is None else f"{tail}.*")
    return names


class Walk:
    """One conversion. `problems` grows while it runs."""

    def __init__(self, layer: Layer) -> None:
        self.problems: list[Problem] = []
        self._leaves: Layer = {}
        self._first_below: Layer = {}
        """The first leaf below each table."""
        self._broken: set[Path] = set()
        self._above_broken: set[Path] = set()
        for path, leaf in layer.items():
            self._add(path, leaf)

    def settings(self) -> Settings:
        """The settings, with defaults in place of what was wrong."""
        built = self._section(Settings, _tree(self._leaves), ())
        return built if isinstance(built, Settings) else Settings()

    def contradiction(self, path: Path, text: str) -> None:
        """Note a finding about the finished settings, unless it may follow from a problem."""
        plain = _plain(path)
        above = {plain[:end] for end in range(len(plain) + 1)}
        if plain not in self._above_broken and self._broken.isdisjoint(above):
            self.problem(path, text)

    def problem(self, path: Path, text: str) -> None:
        """Note what is wrong with the setting at `path`."""
        plain = _plain(path)
        self._broken.add(plain)
        self._above_broken.update(plain[:end] for end in range(len(plain)))
        self.problems.append(self.located(path, text))

    def located(self, path: Path, text: str) -> Problem:
        """What is to be said of the setting at `path`, with its name and place as written."""
        leaf = self._origin(path)
        key = leaf.key if leaf and canonical(tuple(leaf.key.split("."))) == path else _dotted(path)
        return Problem(key, leaf.where if leaf else "", text)

    def _origin(self, path: Path) -> Leaf | None:
        """The leaf at, above or below `path`."""
        for end in range(len(path), 0, -1):
            for name in (path[:end], (*path[: end - 1], _plain(path[:end])[-1])):
                if leaf := self._leaves.get(name):
                    return leaf
        return self._first_below.get(path)

    def _add(self, path: Path, leaf: Leaf) -> None:
        self._leaves[path] = leaf
        for end in range(1, len(path)):
            self._first_below.setdefault(path[:end], leaf)

    def _value(self, hint: Any, raw: Any, path: Path) -> Any:
        inner = _item(hint)
        if inner is not hint and get_origin(hint) in (Union, types.UnionType):
            # An empty text is how a variable says "not set".
            return None if raw in (None, "") else self._value(inner, raw, path)
        if isinstance(hint, type) and issubclass(hint, Section):
            return self._section(hint, raw, path)
        if get_origin(hint) is dict:
            return self._table(inner, raw, path)
        if get_origin(hint) is tuple:
            return self._array(inner, raw, path)
        return self._leaf(hint, raw, path)

    def _section(self, kind: type[Section], raw: Any, path: Path) -> Any:
        if not isinstance(raw, Mapping):
            self.problem(path, "expected a table of settings")
            return _INVALID
        fields = _fields(kind)
        for name in raw:
            if name not in fields:
                self._unknown(name, fields, path)
        known = {
            attribute: self._value(fields[name], raw[name], (*path, name))
            for attribute, name in _encoded(kind)
            if name in raw
        }
        fields_of = _fields_of(kind)
        for field in fields_of:
            if field.required and field.name not in known:
                self.problem((*path, field.name), "required")
                known[field.name] = _INVALID
        if any(field.required and known[field.name] is _INVALID for field in fields_of):
            return _INVALID
        return kind(**{name: value for name, value in known.items() if value is not _INVALID})

    def _unknown(self, name: str, fields: Mapping[str, Any], path: Path) -> None:
        dotted = _dotted((*path, name))
        near = difflib.get_close_matches(name, fields, 1)
        better = [_dotted((*path, *near))] if near else []
        better = better or difflib.get_close_matches(dotted, setting_names(), 1)
        elsewhere = [*setting_names(), *SPELLINGS]
        better = better or [known for known in elsewhere if known.endswith(f".{name}")]
        hint = f"; did you mean {better[0]}?" if better else ""
        self.problem((*path, name), f"no such setting{hint}")

    def _table(self, inner: Any, raw: Any, path: Path) -> Any:
        if not isinstance(raw, Mapping):
            self.problem(path, "expected a table")
            return _INVALID
        built = {name: self._value(inner, item, (*path, name)) for name, item in raw.items()}
        return {name: item for name, item in built.items() if item is not _INVALID}

    def _array(self, inner: Any, raw: Any, path: Path) -> Any:
        if isinstance(raw, Mapping) and isinstance(inner, type) and issubclass(inner, Section):
            # Variables cannot address a place in a list, so a list of tables may have names.
            items = [
                ((*path, name), {"name": name, **item} if isinstance(item, Mapping) else item)
                for name, item in raw.items()
            ]
        elif isinstance(raw, list):
            items = [((*path[:-1], f"{path[-1]}[{n}]"), item) for n, item in enumerate(raw)]
        elif isinstance(raw, str) and raw and str in (inner, *get_args(inner)):
            items = [(path, raw)]  # a list of one text may be written as the text
        else:
            self.problem(path, "expected a list")
            return _INVALID
        built = []
        for number, (at, item) in enumerate(items):
            if origin := self._origin(at):
                numbered = (*path[:-1], f"{path[-1]}[{number}]")
                self._add(numbered, origin._replace(key=_dotted(at), text=None))
            built.append(self._value(inner, item, at))
        return tuple(item for item in built if item is not _INVALID)

    def _leaf(self, hint: Any, raw: Any, path: Path) -> Any:
        leaf = self._leaves.get(path)
        text = leaf.text if leaf else None
        meta = _meta(hint)
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
        self.problem(path, f"expected {_expected(base, meta)}")
        return _INVALID


def _tree(leaves: Layer) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        table = root
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = leaf.value
    return root


_fields_of = cache(msgspec.structs.fields)


@cache
def _encoded(kind: type[Section]) -> list[tuple[str, str]]:
    return [(field.name, field.encode_name) for field in msgspec.structs.fields(kind)]


@cache
def _fields(kind: type[Section]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[attribute] for attribute, name in _encoded(kind)}


def _item(hint: Any) -> Any:
    """What a hint is made of: the T of `T | None`, `dict[str, T]` and `tuple[T, ...]`."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return next(item for item in arguments if item is not types.NoneType)
    if get_origin(hint) is dict:
        return arguments[1]
    return arguments[0] if get_origin(hint) is tuple else hint


def _table(hint: Any) -> Any:
    return get_origin(hint) if get_origin(hint) is dict else None


def _meta(hint: Any) -> msgspec.Meta | None:
    return next((item for item in get_args(hint) if isinstance(item, msgspec.Meta)), None)


def _expected(base: Any, meta: msgspec.Meta | None) -> str:
    if get_origin(base) is Literal:
        return f"one of {', '.join(get_args(base))}"
    if meta and meta.extra and "expected" in meta.extra:
        return str(meta.extra["expected"])
    if base is Secret:
        return "visible ASCII characters"
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    word = words.get(base, "a text that is not empty")
    if meta and meta.extra == DURATION:
        word = 'seconds or a duration like "1m30s"'
    return word + _bounds(meta)


def _bounds(meta: msgspec.Meta | None) -> str:
    if meta is None:
        return ""
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.ge is not None:
        return f", {meta.ge} or more"
    return f", more than {meta.gt} and at most {meta.le}" if meta.gt is not None else ""


def _plain(path: Path) -> Path:
    """A path without places in lists."""
    return tuple(name.partition("[")[0] for name in path)


def _dotted(path: Path) -> str:
    return ".".join(path)

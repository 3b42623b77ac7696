"""The sources of settings: files and the environment, each read into one flat layer.

Invariants: every returned value has its origin.
`vai.config.syntax` parses the file formats; this module types the values of variables, and
merges, because a merged tree does not show which source set a value.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from vai.config.line_numbers import Lines
from vai.config.names import canonical_path, is_reserved
from vai.config.problems import Problem
from vai.config.secret_files import FILE_REFERENCE, SecretFiles

__all__ = [
    "DEFAULTS",
    "Layer",
    "SettingValue",
    "UnresolvedReference",
    "expand_references",
    "merge_layers",
    "read_environment",
    "read_file",
]

_PREFIX: Final = "VAI_"
_MOST_BYTES: Final = 2 << 20
"""Bytes of a file; YAML of this size takes seconds to read."""
_SUFFIXES: Final = (".toml", ".yaml", ".yml", ".json")
_REFERENCE: Final = re.compile(
    r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|" + FILE_REFERENCE
)


class SettingValue(NamedTuple):
    """A value other than a table, and its origin."""

    value: Any
    key: str
    """The dotted name as it was written."""
    where: str
    text: str | None = None
    """The unparsed value of a variable; a setting of type text uses it unchanged."""
    entries: Mapping[str, str] = {}
    """The positions of the entries of a list, by their steps: `[0].key`."""
    source: str = "variable"
    """`toml`, `yaml`, `json`, or `variable`."""


class UnresolvedReference(NamedTuple):
    """Replaces a text with references that cannot be resolved."""

    faults: tuple[str, ...]


Layer = dict[tuple[str, ...], SettingValue]

DEFAULTS: Final = "the defaults"
"""The origin of settings that only the package sets."""


def read_file(path: Path, problems: list[Problem], *, shown: str = "") -> Layer:
    """The settings of a file. An unreadable file is a problem, and an empty layer.

    Args:
        shown: the name in messages, instead of its path and line.
    """
    # A worker receives a snapshot, and the YAML parser would take 60 ms of its start.
    from vai.config.syntax import SyntaxFault, parse_settings_file  # noqa: PLC0415

    suffix = path.suffix.lower()
    try:
        tree = parse_settings_file(_read_text(path), suffix)
    except OSError as error:
        problems.append(Problem("", str(path), f"cannot be read ({_read_error_reason(error)}"))
        return {}
    except SyntaxFault as fault:
        line = f", line {fault.line}" if fault.line else ""
        column = f", column {fault.column}" if fault.column else ""
        text = f"not valid {suffix[1:].upper()}: {fault.reason}"
        problems.append(Problem("", f"{path}{line}{column}", text))
        return {}
    except _NoSettings as fault:
        problems.append(Problem("", str(path), str(fault)))
        return {}
    positions = _FilePositions(path, tree.lines)
    layer: Layer = {}
    for written, value in _flatten_tree(tree.values):
        names = _split_names(written)
        position, entries = positions.position_of(names)
        _put_value(
            layer,
            names,
            SettingValue(value, ".".join(names), shown or position, None, entries, suffix[1:]),
        )
    return layer


def _read_error_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file); expected the path of a file in VAI_CONFIG or --config"
    if isinstance(error, PermissionError):
        return f"permission denied); let the user with uid {os.geteuid()} read it"
    return f"{error.strerror}); expected a file of settings"


class _NoSettings(Exception):
    """A file holds no text in a format that VAI reads."""


def _read_text(path: Path) -> str:
    """The text of a file of settings.

    Raises:
        OSError: the file cannot be read.
        _NoSettings: its name, size or bytes show that it holds no settings.
    """
    if path.is_dir():
        raise _NoSettings("cannot be read (is a directory); expected a file of settings")
    if path.exists() and path.suffix.lower() not in _SUFFIXES:
        raise _NoSettings(f"expected one of {', '.join(_SUFFIXES)} at the end of its name")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _NoSettings(f"expected a file of settings, of at most {_MOST_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _NoSettings("expected UTF-8 text; save it in that encoding") from None
    if "\0" in text:
        raise _NoSettings("expected UTF-8 text; save it in that encoding")
    return text


def read_environment(environ: Mapping[str, str]) -> Layer:
    """The settings among the variables: `VAI_PORT`, `VAI_LIMITS__PER_USER__TOKENS_PER_MINUTE`."""
    layer: Layer = {}
    for variable in sorted(environ):
        upper = variable.upper()
        if not upper.startswith(_PREFIX) or is_reserved(upper):
            continue
        text = environ[variable]
        value = _parse_variable(text)
        root = tuple(upper[len(_PREFIX) :].lower().split("__"))
        where = f"environment variable {variable}"
        for below, leaf in _flatten_tree(value) if isinstance(value, dict) else [((), value)]:
            path = root + below
            _put_value(
                layer, path, SettingValue(leaf, ".".join(path), where, None if below else text)
            )
    return layer


def _parse_variable(text: str) -> Any:
    """The value of a variable: JSON after `@json`, else as in TOML, else the text.

    dynaconf, whose names these are, has more casts (`@int`, `@format`, ...). Here they are text,
    because they quote the text when they fail, and some of them read other variables.
    """
    cast, _, rest = text.strip().partition(" ")
    if cast == "@json":
        try:
            # The strict parser for bodies accepts bodies of requests only.
            return json.loads(rest)  # noqa: TID251
        except (ValueError, RecursionError):
            return text
    if cast.startswith("@"):
        return text
    try:
        return tomllib.loads(f"value={text}")["value"]
    except (ValueError, RecursionError):
        return text


def merge_layers(layers: Iterable[Layer]) -> Layer:
    """One layer in which later ones win; lists are replaced as a whole."""
    merged: Layer = {}
    below: dict[tuple[str, ...], dict[tuple[str, ...], None]] = {}
    for layer in layers:
        for path, leaf in layer.items():
            above = [path[:end] for end in range(1, len(path))]
            for other in [*filter(merged.__contains__, above), *below.pop(path, ())]:
                merged.pop(other, None)
            merged[path] = leaf
            for table in above:
                below.setdefault(table, {})[path] = None
    return merged


def expand_references(layer: Layer, environ: Mapping[str, str], files: SecretFiles) -> Layer:
    """Replace `${NAME}` and `${NAME:-default}` by variables and `${file:/path}` by the file's
    content; a text with an unresolvable reference becomes an `UnresolvedReference`."""
    expanded: Layer = {}
    for path, leaf in layer.items():
        value = _expand_value(leaf.value, environ, files)
        text = value if isinstance(value, str) and value != leaf.value else leaf.text
        expanded[path] = leaf._replace(value=value, text=text)
    return expanded


def _expand_value(value: Any, environ: Mapping[str, str], files: SecretFiles) -> Any:
    if isinstance(value, list):
        return [_expand_value(item, environ, files) for item in value]
    if isinstance(value, dict):
        return {key: _expand_value(item, environ, files) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    faults: set[str] = set()

    def replace_reference(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            try:
                return files.read_reference(match, environ)
            except ValueError as error:
                faults.add(str(error))
                return ""
        if default is not None and "${" in default:
            faults.add(f"the default of {name} holds a reference; expected plain text")
            return ""
        text: str | None = environ.get(name)
        if default is not None:
            return text or str(default)
        if text is None:
            faults.add(f"the variable {name} is not set; set it where the gateway is started")
            return ""
        return text

    expanded = _REFERENCE.sub(replace_reference, value)
    return UnresolvedReference(tuple(sorted(faults))) if faults else expanded


def _flatten_tree(
    tree: Mapping[Any, Any], above: tuple[str, ...] = ()
) -> Iterable[tuple[Any, Any]]:
    for name, value in tree.items():
        path = (*above, str(name))
        if isinstance(value, dict):
            yield from _flatten_tree(value, path)
        else:
            yield path, value


def _put_value(layer: Layer, written: tuple[str, ...], leaf: SettingValue) -> None:
    """Enter a leaf under its canonical name. Of two spellings in one source the nested one wins."""
    path = canonical_path(written)
    other = layer.get(path)
    if other is None or other.key.count(".") <= leaf.key.count("."):
        layer[path] = leaf


def _split_names(written: Iterable[str]) -> tuple[str, ...]:
    """The path of a setting; a file may write its first names with dots between them."""
    first, *rest = written
    return (*re.split(r"\.|__", first.lower()), *rest)


class _FilePositions:
    """The positions of a file's settings and of the entries of its lists."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self._path = str(path)
        self._lines: Lines = {}
        self._inside: dict[tuple[str, ...], dict[str, str]] = {}
        for written, line in lines.items():
            names = _split_names(written)
            self._lines.setdefault(names, line)
            entry = next((n for n, name in enumerate(names) if name.startswith("[")), None)
            if entry is not None:
                steps = ".".join(names[entry:]).replace(".[", "[")
                self._inside.setdefault(names[:entry], {}).setdefault(
                    steps, self._format_position(line)
                )

    def position_of(self, names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
        """The position of a setting, and those of its entries by their steps, `[0].key`."""
        # A name from a YAML anchor has no line here: messages show the line of its table.
        ends = range(len(names), 0, -1)
        line = next((self._lines[names[:end]] for end in ends if names[:end] in self._lines), 0)
        return self._format_position(line), self._inside.get(names, {})

    def _format_position(self, line: int) -> str:
        return f"{self._path}, line {line}" if line else self._path

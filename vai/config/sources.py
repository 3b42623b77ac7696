"""Where settings come from: files and the environment, each read into one flat layer.

The law of this module: it is the only one that reads, and every value it hands on knows
its origin. dynaconf knows the file formats and the typed values of variables; merging
is done here, because a merged tree has forgotten who said what.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from dynaconf import Dynaconf
from dynaconf.utils.parse_conf import parse_conf_data

from vai.config.names import canonical, is_reserved
from vai.config.problems import Problem
from vai.config.secret_files import FILE_REFERENCE, SecretFiles

__all__ = ["Layer", "Leaf", "expand", "merge", "read_environment", "read_file"]

_PREFIX: Final = "VAI_"
_SUFFIXES: Final = (".toml", ".yaml", ".yml", ".json")
_REFERENCE: Final = re.compile(
    r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|" + FILE_REFERENCE
)


class Leaf(NamedTuple):
    """A value that is no table, and its origin."""

    value: Any
    key: str
    """The dotted name as it was written."""
    where: str
    text: str | None = None
    """The unparsed value of a variable; a setting of type text wants it as it stands."""


Layer = dict[tuple[str, ...], Leaf]


def read_file(path: Path, problems: list[Problem]) -> Layer:
    """The settings of a file. What cannot be read is a problem, and an empty layer."""
    try:
        # As text first: dynaconf skips a file that is missing, and quotes one that is broken.
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problems.append(Problem("", str(path), f"cannot be read ({error.strerror})"))
        return {}
    except UnicodeDecodeError:
        problems.append(Problem("", str(path), "expected UTF-8 text"))
        return {}
    if path.suffix.lower() not in _SUFFIXES:
        problems.append(Problem("", str(path), f"expected one of {', '.join(_SUFFIXES)}"))
        return {}
    try:
        tree = Dynaconf(
            settings_files=[str(path.resolve())],
            environments=False,
            merge_enabled=True,
            load_dotenv=False,
            loaders=[],
        ).as_dict()
    except Exception as error:  # noqa: BLE001  each format's parser has its own error class
        place = _line_of(error)
        problems.append(Problem("", str(path), f"not valid {path.suffix[1:].upper()}{place}"))
        return {}
    tree.pop("LOAD_DOTENV", None)
    places = _Places(text)
    layer: Layer = {}
    for written, value in _leaves({name.lower(): value for name, value in tree.items()}):
        line = places.line_of(written)
        where = f"{path}, line {line}" if line else str(path)
        _put(layer, written, Leaf(value, ".".join(written), where))
    return layer


def read_environment(environ: Mapping[str, str]) -> Layer:
    """The settings among the variables: `VAI_PORT`, `VAI_LIMITS__PER_USER__TOKENS_PER_MINUTE`."""
    layer: Layer = {}
    for variable in sorted(environ):
        upper = variable.upper()
        if not upper.startswith(_PREFIX) or is_reserved(upper):
            continue
        text = environ[variable]
        value = parse_conf_data(text, tomlfy=True, box_settings={})
        root = tuple(upper[len(_PREFIX) :].lower().split("__"))
        where = f"environment variable {variable}"
        for below, leaf in _leaves(value) if isinstance(value, dict) else [((), value)]:
            path = root + below
            _put(layer, path, Leaf(leaf, ".".join(path), where, None if below else text))
    return layer


def merge(layers: Iterable[Layer]) -> Layer:
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


def expand(
    layer: Layer, environ: Mapping[str, str], problems: list[Problem], files: SecretFiles
) -> Layer:
    """Put the environment in place of `${NAME}` and `${NAME:-default}`, and the content of a
    file in place of `${file:/path}`."""
    expanded: Layer = {}
    for path, leaf in layer.items():
        faults: set[str] = set()
        value = _expand(leaf.value, environ, files, faults)
        text = value if isinstance(value, str) and value != leaf.value else leaf.text
        expanded[path] = leaf._replace(value=value, text=text)
        problems.extend(Problem(leaf.key, leaf.where, fault) for fault in sorted(faults))
    return expanded


def _expand(value: Any, environ: Mapping[str, str], files: SecretFiles, faults: set[str]) -> Any:
    if isinstance(value, list):
        return [_expand(item, environ, files, faults) for item in value]
    if isinstance(value, dict):
        return {key: _expand(item, environ, files, faults) for key, item in value.items()}
    if not isinstance(value, str):
        return value

    def replace(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if name is None:
            try:
                return files.text_of(found, environ)
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
            faults.add(f"the variable {name} is not set")
            return ""
        return text

    return _REFERENCE.sub(replace, value)


def _leaves(tree: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterable[tuple[Any, Any]]:
    for name, value in tree.items():
        path = (*above, str(name))
        if isinstance(value, dict):
            yield from _leaves(value, path)
        else:
            yield path, value


def _put(layer: Layer, written: tuple[str, ...], leaf: Leaf) -> None:
    """Enter a leaf under its one name. Of two spellings in one source the nested one wins."""
    path = canonical(written)
    other = layer.get(path)
    if other is None or other.key.count(".") <= leaf.key.count("."):
        layer[path] = leaf


class _Places:
    """In which lines of a file each name stands as a key, found in one pass; close enough to
    look at."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, list[int]] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            plain = line.split("#", 1)[0].lower()
            whole = _WHOLE_KEY.match(plain)
            names = {name for found in _KEY.findall(plain) for name in found if name}
            for name in names | ({whole[1]} if whole else set()):
                self._lines.setdefault(name, []).append(number)

    def line_of(self, path: tuple[str, ...]) -> int | None:
        """The line of a key: its names stand in it or before it, in their order."""
        at = 1
        for name in path:
            lines = self._lines.get(name.lower(), [])
            index = bisect_left(lines, at)
            if index == len(lines):
                return None
            at = lines[index]
        return at


_KEY: Final = re.compile(r"""(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*[=:.\]]""")
_WHOLE_KEY: Final = re.compile(r"\s*(?:- +)?(\S.*?)\s*(?:=|:(?:\s|$))")
"""A name of YAML without quotes may hold points and slashes."""


def _line_of(error: Exception) -> str:
    """Where a parser stumbled. Its message is left out: it quotes the text."""
    mark = getattr(error, "problem_mark", None)
    line = getattr(error, "lineno", None) or (mark.line + 1 if mark is not None else None)
    if line is None:
        found = re.search(r"\bline (\d+)\b", str(error))
        line = found and found.group(1)
    return f", line {line}" if line else ""

"""The text of a settings file as a tree of values, and the line of each name in it.

Invariants: a text that cannot be read is a `SyntaxFault`, whose reason is one of VAI's own: the
parsers quote the text, and the text holds keys. A tree is bounded in its depth and its size.
"""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from dynaconf.vendor.ruamel import yaml

from vai.codec.lookalikes import describe_odd_character
from vai.config.places import Lines, scan
from vai.config.reasons import json_reason, toml_reason, yaml_reason

__all__ = ["SyntaxFault", "Tree", "parse"]

_MOST_VALUES: Final = 250_000
_MOST_LEVELS: Final = 32
_TOML_PLACE: Final = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)$")
_TOO_DEEP: Final = f"expected at most {_MOST_LEVELS} levels of tables and lists"
_TOO_MANY: Final = f"expected at most {_MOST_VALUES} values, with those that aliases repeat"
_TWICE: Final = "a name is written twice in this table; keep one of them"
_HALF: Final = "expected a whole character: \\ud800 to \\udfff are halves of one"
_HALF_A_CHARACTER: Final = re.compile(r"\\[uU](?:0000)?[dD][89a-fA-F]")
_YAML_TAG: Final = "tag:yaml.org,2002:"
_BEHIND_COLON: Final = re.compile(r":(?=[^\x00-\x7f])")
_NAME: Final = "expected a text as the name; put text that begins with { or [ in quotes"
_NO_TABLE: Final = "expected settings by name; this file begins with a list or a single value"


class Tree(NamedTuple):
    """The values of a file, and where their names stand."""

    values: dict[Any, Any]
    lines: Lines


class SyntaxFault(Exception):
    """A text is no TOML, YAML or JSON. Line and column count from 1; 0 where unknown."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line, self.column = reason, line, column


def parse(text: str, suffix: str) -> Tree:
    """Read `text` as the format of `suffix`, `.toml`, `.yaml`, `.yml` or `.json`.

    Raises:
        SyntaxFault: it is not of this format, or out of bounds.
    """
    read = {".toml": _toml, ".json": _json}.get(suffix, _yaml)
    text = text.replace("\r\n", "\n")
    try:
        tree = read(text)
    except RecursionError:
        raise SyntaxFault(_TOO_DEEP) from None
    if half := _HALF_A_CHARACTER.search(text):
        _prove_characters(tree.values, text.count("\n", 0, half.start()) + 1)
    return tree


def _prove_characters(values: dict[Any, Any], line: int) -> None:
    """Refuse half of a surrogate pair, which no text that is sent or shown may hold."""
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise SyntaxFault(_HALF, line) from None


def _toml(text: str) -> Tree:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _TOML_PLACE.search(message)
        line, column = (int(found[1]), int(found[2])) if found and found[1] else _end_of(text)
        reason = toml_reason(message, _rest_of_line(text, line, column))
        raise SyntaxFault(reason, line, column) from None
    except ValueError:  # a number of thousands of digits
        raise SyntaxFault("expected numbers of at most 4300 digits") from None
    _bound(values)
    return Tree(values, scan(text, "="))


def _json(text: str) -> Tree:
    if not text.strip():
        return Tree({}, {})
    try:
        # The body's strict reader tells no line and column.
        values = json.loads(text, object_pairs_hook=_without_duplicates)  # noqa: TID251
    except json.JSONDecodeError as error:
        reason = json_reason(error.msg, text[: error.pos], text[error.pos : error.pos + 8])
        raise SyntaxFault(reason, error.lineno, error.colno) from None
    except _Duplicate:
        twice: list[tuple[int, int]] = []
        scan(text, ":", twice)
        raise SyntaxFault(_TWICE, *(twice[0] if twice else ())) from None
    except ValueError:
        raise SyntaxFault("expected numbers of at most 4300 digits") from None
    if not isinstance(values, dict):
        raise SyntaxFault(_NO_TABLE, 1, 1)
    _bound(values)
    return Tree(values, scan(text, ":"))


class _Duplicate(Exception):
    """A name stands twice in an object of JSON."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Duplicate
    return table


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses nesting as it is met: the package takes quadratic time for it."""

    latest: Any = None
    """The node whose value is made."""

    def fetch_flow_collection_start(self, *arguments: Any, **others: Any) -> None:
        """Open one more list or table in brackets."""
        if self.flow_level >= _MOST_LEVELS:
            raise SyntaxFault(_TOO_DEEP, self.reader.line + 1)
        super().fetch_flow_collection_start(*arguments, **others)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node, and know which one it is."""
        self.latest = node
        return super().construct_object(node, deep)

    def add_indent(self, column: int) -> bool:
        """Open one more list or table by its indentation."""
        if len(self.indents) >= _MOST_LEVELS:
            raise SyntaxFault(_TOO_DEEP, self.reader.line + 1)
        return bool(super().add_indent(column))


def _yaml(text: str) -> Tree:
    try:
        loader = _YamlLoader(text)
        with warnings.catch_warnings():
            # It quotes the text.
            warnings.simplefilter("ignore", yaml.error.ReusedAnchorWarning)
            root = loader._composer.get_single_node()  # noqa: SLF001  as the package itself does
        if root is None:
            return Tree({}, {})
        if isinstance(root, yaml.nodes.ScalarNode):
            raise SyntaxFault(yaml_reason("could not find expected ':'", ""), _line(root), 1)
        if not isinstance(root, yaml.nodes.MappingNode):
            raise SyntaxFault(_NO_TABLE, root.start_mark.line + 1, root.start_mark.column + 1)
        _weigh(root, {}, 0)
        lines: Lines = {}
        _note_lines(root, (), lines)
        values = loader._constructor.construct_document(root)  # noqa: SLF001
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SyntaxFault("expected no control characters", line) from None
    except (yaml.YAMLError, yaml.error.MarkedYAMLFutureWarning) as error:
        problem, context = getattr(error, "problem", ""), getattr(error, "context", "")
        marks = [getattr(error, f"{which}_mark", None) for which in ("problem", "context")]
        # What is not closed is missed at the end of the file, and opened where it can be mended.
        is_open = context and (context.endswith("quoted scalar") or "flow" in context)
        mark = next((mark for mark in marks[:: -1 if is_open else 1] if mark), None)
        reason = yaml_reason(problem, context)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise SyntaxFault(reason, line, column) from None
    except ValueError:  # !!int abc
        raise SyntaxFault("expected no tag before this value", _line(loader.latest)) from None
    return Tree(values, lines)


def _weigh(node: Any, weights: dict[int, int], level: int) -> int:
    """How many values a node stands for, with all that its aliases repeat."""
    known = weights.get(id(node))
    if known is not None:
        if known == 0:  # it is being weighed: it holds itself
            raise SyntaxFault("an alias (*name) stands inside its own anchor", _line(node))
        return known
    if level > _MOST_LEVELS:
        raise SyntaxFault(_TOO_DEEP, _line(node))
    weights[id(node)] = 0
    weight = 1 + sum(_weigh(item, weights, level + 1) for item in _below(node))
    if weight > _MOST_VALUES:
        raise SyntaxFault(_TOO_MANY, _line(node))
    weights[id(node)] = weight
    return weight


def _below(node: Any) -> Iterator[Any]:
    if isinstance(node.value, list):
        for item in node.value:
            if isinstance(item, tuple):
                yield from item
            else:
                yield item


def _note_lines(node: Any, path: tuple[str, ...], lines: Lines) -> None:
    """Enter where each name and each entry of a list stands; refuse a name that stands twice."""
    if not isinstance(node.value, list):
        _take_as_written(node)
        return
    seen: set[str] = set()
    for number, item in enumerate(node.value):
        if isinstance(item, tuple):
            key, value = item
            name = _name_of(key)
            if name in seen:
                raise SyntaxFault(_TWICE, _line(key), key.start_mark.column + 1)
            seen.add(name)
            lines[(*path, name)] = _line(key)
        else:
            name, value = f"[{number}]", item
            lines[(*path, name)] = _line(item)
        _note_lines(value, (*path, name), lines)


def _name_of(key: Any) -> str:
    """The name that a key is, as it is written: `no`, `5.40` and `~` are names like others."""
    if not isinstance(key, yaml.nodes.ScalarNode):
        raise SyntaxFault(_NAME, _line(key), key.start_mark.column + 1)
    _take_as_written(key)
    if key.tag != f"{_YAML_TAG}merge":
        key.tag = f"{_YAML_TAG}str"
    return str(key.value)


def _take_as_written(scalar: Any) -> None:
    """Refuse quotes and spaces that are none to YAML; leave a date the text that it is."""
    if scalar.tag == f"{_YAML_TAG}timestamp":
        scalar.tag = f"{_YAML_TAG}str"
    text = scalar.value
    if scalar.style is not None or text.isascii():
        return
    column = scalar.start_mark.column + 1
    for at in {0, len(text) - 1, *(found.end() for found in _BEHIND_COLON.finditer(text))}:
        if reason := describe_odd_character(text[at]):
            raise SyntaxFault(reason, _line(scalar), column + at)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _bound(values: dict[Any, Any]) -> None:
    """Refuse a tree that is too deep or too large to be settings."""
    level: list[Any] = [values]
    count = 0
    for _ in range(_MOST_LEVELS):
        count += len(level)
        if count > _MOST_VALUES:
            raise SyntaxFault(_TOO_MANY)
        level = [
            item
            for table in level
            if isinstance(table, (dict, list))
            for item in (table.values() if isinstance(table, dict) else table)
        ]
    if level:
        raise SyntaxFault(_TOO_DEEP)


def _end_of(text: str) -> tuple[int, int]:
    lines = text.rstrip().split("\n")
    return len(lines), len(lines[-1]) + 1


def _rest_of_line(text: str, line: int, column: int) -> str:
    lines = text.split("\n")
    return lines[line - 1][column - 1 :] if line <= len(lines) else ""

"""The text of a settings file as a tree of values, and the line of each name in it.

Invariants: an invalid text raises a `SyntaxFault` with one of VAI's own reasons: the parsers quote
the text, and the text holds keys. The beginning of a parser's message selects the reason, which
contains no part of the message. A tree is bounded in its depth and its size.
"""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from dynaconf.vendor.ruamel import yaml

from vai.codec.json_faults import describe_lookalike, describe_odd_character
from vai.config.line_numbers import Lines, find_lines

__all__ = [
    "SyntaxFault",
    "Tree",
    "json_reason",
    "parse_settings_file",
    "toml_reason",
    "yaml_reason",
]

_MOST_VALUES: Final = 250_000
_MOST_LEVELS: Final = 32
_TOML_POSITION: Final = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)$")
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
    """The values of a file, and the lines of their names."""

    values: dict[Any, Any]
    lines: Lines


class SyntaxFault(Exception):
    """A text is not TOML, YAML or JSON. Line and column count from 1; 0 where unknown."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line, self.column = reason, line, column


def parse_settings_file(text: str, suffix: str) -> Tree:
    """Read `text` as the format of `suffix`, `.toml`, `.yaml`, `.yml` or `.json`.

    Raises:
        SyntaxFault: the text is not of this format, or too deep or too large.
    """
    parse_format = {".toml": _parse_toml, ".json": _parse_json}.get(suffix, _parse_yaml)
    text = text.replace("\r\n", "\n")
    try:
        tree = parse_format(text)
    except RecursionError:
        raise SyntaxFault(_TOO_DEEP) from None
    if half := _HALF_A_CHARACTER.search(text):
        _check_characters(tree.values, text.count("\n", 0, half.start()) + 1)
    return tree


def _check_characters(values: dict[Any, Any], line: int) -> None:
    """Refuse a lone surrogate, which no text to send or show may contain."""
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise SyntaxFault(_HALF, line) from None


def _parse_toml(text: str) -> Tree:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = _TOML_POSITION.search(message)
        line, column = (int(match[1]), int(match[2])) if match and match[1] else _end_of(text)
        reason = toml_reason(message, _rest_of_line(text, line, column))
        raise SyntaxFault(reason, line, column) from None
    except ValueError:  # a number of thousands of digits
        raise SyntaxFault("expected numbers of at most 4300 digits") from None
    _check_size(values)
    return Tree(values, find_lines(text, "="))


def _parse_json(text: str) -> Tree:
    if not text.strip():
        return Tree({}, {})
    try:
        # The strict parser for bodies reports no line and column.
        values = json.loads(text, object_pairs_hook=_without_duplicates)  # noqa: TID251
    except json.JSONDecodeError as error:
        reason = json_reason(error.msg, text[: error.pos], text[error.pos : error.pos + 8])
        raise SyntaxFault(reason, error.lineno, error.colno) from None
    except _Duplicate:
        twice: list[tuple[int, int]] = []
        find_lines(text, ":", twice)
        raise SyntaxFault(_TWICE, *(twice[0] if twice else ())) from None
    except ValueError:
        raise SyntaxFault("expected numbers of at most 4300 digits") from None
    if not isinstance(values, dict):
        raise SyntaxFault(_NO_TABLE, 1, 1)
    _check_size(values)
    return Tree(values, find_lines(text, ":"))


class _Duplicate(Exception):
    """An object of JSON has a name twice."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Duplicate
    return table


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses deep nesting during parsing: the package needs quadratic time for it."""

    latest: Any = None
    """The node whose value the loader makes now."""

    def fetch_flow_collection_start(self, *arguments: Any, **others: Any) -> None:
        """Open one more list or table in brackets."""
        if self.flow_level >= _MOST_LEVELS:
            raise SyntaxFault(_TOO_DEEP, self.reader.line + 1)
        super().fetch_flow_collection_start(*arguments, **others)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node, and record the node in `latest`."""
        self.latest = node
        return super().construct_object(node, deep)

    def add_indent(self, column: int) -> bool:
        """Open one more list or table by its indentation."""
        if len(self.indents) >= _MOST_LEVELS:
            raise SyntaxFault(_TOO_DEEP, self.reader.line + 1)
        return bool(super().add_indent(column))


def _parse_yaml(text: str) -> Tree:
    try:
        loader = _YamlLoader(text)
        with warnings.catch_warnings():
            # It quotes the text.
            warnings.simplefilter("ignore", yaml.error.ReusedAnchorWarning)
            root = loader._composer.get_single_node()  # noqa: SLF001  as the package itself does
        if root is None:
            return Tree({}, {})
        if isinstance(root, yaml.nodes.ScalarNode):
            raise SyntaxFault(yaml_reason("could not find expected ':'", ""), _line_of(root), 1)
        if not isinstance(root, yaml.nodes.MappingNode):
            raise SyntaxFault(_NO_TABLE, root.start_mark.line + 1, root.start_mark.column + 1)
        _count_values(root, {}, 0)
        lines: Lines = {}
        _note_lines(root, (), lines)
        values = loader._constructor.construct_document(root)  # noqa: SLF001
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SyntaxFault("expected no control characters", line) from None
    except (yaml.YAMLError, yaml.error.MarkedYAMLFutureWarning) as error:
        problem, context = getattr(error, "problem", ""), getattr(error, "context", "")
        marks = [getattr(error, f"{which}_mark", None) for which in ("problem", "context")]
        # The parser finds an unclosed bracket at the end of the file; the user repairs it where
        # it opens.
        is_open = context and (context.endswith("quoted scalar") or "flow" in context)
        mark = next((mark for mark in marks[:: -1 if is_open else 1] if mark), None)
        reason = yaml_reason(problem, context)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise SyntaxFault(reason, line, column) from None
    except ValueError:  # !!int abc
        raise SyntaxFault("expected no tag before this value", _line_of(loader.latest)) from None
    return Tree(values, lines)


def _count_values(node: Any, weights: dict[int, int], level: int) -> int:
    """How many values a node stands for, with all that its aliases repeat."""
    counted = weights.get(id(node))
    if counted is not None:
        if counted == 0:  # it is being counted: it contains itself
            raise SyntaxFault("an alias (*name) stands inside its own anchor", _line_of(node))
        return counted
    if level > _MOST_LEVELS:
        raise SyntaxFault(_TOO_DEEP, _line_of(node))
    weights[id(node)] = 0
    weight = 1 + sum(_count_values(item, weights, level + 1) for item in _child_nodes(node))
    if weight > _MOST_VALUES:
        raise SyntaxFault(_TOO_MANY, _line_of(node))
    weights[id(node)] = weight
    return weight


def _child_nodes(node: Any) -> Iterator[Any]:
    if isinstance(node.value, list):
        for item in node.value:
            if isinstance(item, tuple):
                yield from item
            else:
                yield item


def _note_lines(node: Any, path: tuple[str, ...], lines: Lines) -> None:
    """Add the line of each name and each entry of a list; refuse a duplicate name."""
    if not isinstance(node.value, list):
        _take_as_written(node)
        return
    seen: set[str] = set()
    for number, item in enumerate(node.value):
        if isinstance(item, tuple):
            key, value = item
            name = _name_of(key)
            if name in seen:
                raise SyntaxFault(_TWICE, _line_of(key), key.start_mark.column + 1)
            seen.add(name)
            lines[(*path, name)] = _line_of(key)
        else:
            name, value = f"[{number}]", item
            lines[(*path, name)] = _line_of(item)
        _note_lines(value, (*path, name), lines)


def _name_of(key: Any) -> str:
    """A key's name as written: `no`, `5.40` and `~` are names like others."""
    if not isinstance(key, yaml.nodes.ScalarNode):
        raise SyntaxFault(_NAME, _line_of(key), key.start_mark.column + 1)
    _take_as_written(key)
    if key.tag != f"{_YAML_TAG}merge":
        key.tag = f"{_YAML_TAG}str"
    return str(key.value)


def _take_as_written(scalar: Any) -> None:
    """Refuse quotes and spaces that YAML does not recognise; keep a date as text."""
    if scalar.tag == f"{_YAML_TAG}timestamp":
        scalar.tag = f"{_YAML_TAG}str"
    text = scalar.value
    if scalar.style is not None or text.isascii():
        return
    column = scalar.start_mark.column + 1
    for at in {0, len(text) - 1, *(match.end() for match in _BEHIND_COLON.finditer(text))}:
        if reason := describe_odd_character(text[at]):
            raise SyntaxFault(reason, _line_of(scalar), column + at)


def _line_of(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _check_size(values: dict[Any, Any]) -> None:
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


Reasons = tuple[tuple[str, str], ...]

_SET_ALREADY: Final = "this name has a value already; keep one of them"
_OPEN_QUOTE: Final = "a quote is opened and not closed"
_WRONG_ESCAPE: Final = "a backslash starts no known escape; write it twice, or use single quotes"

_PLAIN_NAMES: Final = "; a name with more than letters, digits, - and _ needs quotes"

_TOML: Final[Reasons] = (
    ("Expected '=' after a key", "expected '=' after a key" + _PLAIN_NAMES),
    ("Expected newline or end of document", "expected the end of the line after the value"),
    ('Expected "', _OPEN_QUOTE),
    ("Expected ']]' at the end", "expected ']]' at the end of the table's name" + _PLAIN_NAMES),
    ("Expected ']' at the end", "expected ']' at the end of the table's name" + _PLAIN_NAMES),
    ("Unclosed array", "expected ',' or ']': a list is opened and not closed"),
    ("Unclosed inline table", "expected ',' or '}' in the same line: a table is not closed"),
    ("Unterminated string", _OPEN_QUOTE),
    ("Illegal character '\\n'", "a quote is opened and not closed in the same line"),
    ("Illegal character", "expected no control characters in a text"),
    ("Found invalid character", "expected no control characters in a comment"),
    ("Unescaped", _WRONG_ESCAPE),
    ("Invalid hex value", _WRONG_ESCAPE),
    ("Escaped character", _WRONG_ESCAPE),
    ("Cannot declare", "this table is declared already; write its settings below one header"),
    ("Cannot overwrite a value", _SET_ALREADY),
    ("Duplicate inline table key", _SET_ALREADY),
    ("Cannot mutate", "this table or list is complete already; write all of it in one place"),
    ("Cannot redefine", "this table is declared already; write its settings below one header"),
    ("Invalid initial character", "expected a name, or one in quotes"),
    ("Invalid statement", "expected a line like name = value, or [table]"),
    ("Invalid date", "expected a date that exists; put other text in quotes"),
)  # fmt: skip
_TOML_VALUES: Final = (
    (re.compile(r"\s*(?:#.*)?$"), "expected a value after '='"),
    (re.compile(r"(?:true|false)\b", re.IGNORECASE), "expected true or false in lower case"),
    (re.compile(r"(?:yes|no|on|off)\b", re.IGNORECASE), (
        "expected true or false; text needs quotes")),
    (re.compile(r"(?:null|none|nil|~)(?!\w)", re.IGNORECASE), (
        "expected a value; TOML has no null: leave the setting out")),
)  # fmt: skip
_TOML_PIECES: Final = (
    ("Invalid statement", re.compile(r";|//|--|/\*"), "expected '#' before a comment"),
    ("Expected newline", re.compile(r"[,;]"), (
        "expected the end of the line after the value, without ',' or ';'")),
    ("Expected newline", re.compile(r"[\w.:/%]"), (
        "expected the end of the line: each setting has its own; text needs quotes, and a number"
        " has no unit and no zero before it")),
    ("Invalid initial character", re.compile(r"(?:\}|\s*(?:#.*)?$)"), (
        "expected the next setting: a table in braces stands in one line, and ends without a comma"
    )),
    ("Cannot overwrite a value", re.compile(r"\]\]"), (
        "this name is a table or has a value already; write either a list of tables [[...]]"
        " or tables by name")),
)  # fmt: skip
"""The beginning of a message, the text where the parser stopped, and the reason."""

_COMMENT: Final = "expected no comments: JSON has none"
_JSON: Final[Reasons] = (
    ("Expecting ':'", "expected ':' after a name"),
    ("Expecting ','", "expected ',' or a closing bracket after the value"),
    ("Expecting property name", "expected a name in double quotes"),
    ("Illegal trailing comma", "expected no comma before a closing bracket"),
    ("Unterminated string", _OPEN_QUOTE),
    ("Invalid control character", "expected no tabs and control characters in a text; write \\t"),
    ("Invalid \\escape", "a backslash starts no known escape; write it twice"),
    ("Invalid \\uXXXX", "expected four hexadecimal digits after \\u"),
    ("Extra data", "expected nothing after the closing bracket of the file"),
    ("Expecting value", "expected a value: text in double quotes, a number, true, false or null"),
)

_YAML: Final[Reasons] = (
    ("found character '\\t'", "expected spaces: YAML is not indented with tabs"),
    ("found character", "expected quotes around a text that begins with this character"),
    ("mapping values are not allowed", ("a colon stands where no value can follow: the lines of a"
     " table begin in one column, and text with a colon and a space needs quotes")),
    ("could not find expected ':'", "expected name: value, with a space after the colon"),
    ("sequence entries are not allowed", "a list's '-' stands where no list can begin"),
    ("expected <block end>", ("the lines of a table or a list begin in one column; this one does"
     " not, or text with quotes inside is not quoted as a whole")),
    ("expected ',' or ']'", "expected ',' or ']': a list is opened and not closed"),
    ("expected ',' or '}'", ("expected ',' or '}': a table is opened and not closed, or text with"
     " braces or commas inside it is not in quotes")),
    ("found undefined alias", ("an alias (*name) has no anchor (&name) before it; put text that"
     " begins with * in quotes")),
    ("expected alphabetic", "expected quotes around a text that begins with * or &"),
    ("found duplicate anchor", "an anchor (&name) is set twice"),
    ("but found another document", "expected one document: what follows --- is a second one"),
    ("could not determine a constructor", "expected no tag; put text that begins with ! in quotes"),
    ("found unknown escape", _WRONG_ESCAPE),
    ("expected escape sequence", _WRONG_ESCAPE),
    ("expected the node content", "expected a value"),
    ("found duplicate key", "a name is written twice in this table; keep one of them"),
    ("expected a mapping or list of mappings for merging", (
        "expected a table, or an alias (*name) of one, after <<")),
)  # fmt: skip


def toml_reason(message: str, rest: str) -> str:
    """Why TOML's parser stopped, where `rest` is what follows in the line."""
    if odd := describe_lookalike(rest):
        return odd
    for start, pattern, reason in _TOML_PIECES:
        if message.startswith(start) and pattern.match(rest):
            return reason
    if message.startswith("Invalid value"):
        for pattern, reason in _TOML_VALUES:
            if pattern.match(rest):
                return reason
        return "expected a value; text needs quotes"
    reason = _first_reason(_TOML, message) or "expected a line like name = value, or [table]"
    if message.startswith("Expected '='") and rest.lstrip()[:1] == ":":
        return "expected '=' after a key, not ':'"
    return reason


def json_reason(message: str, before: str, rest: str) -> str:
    """Why JSON's parser stopped, between the text `before` and what follows."""
    if odd := describe_lookalike(rest):
        return odd
    if rest[:1] == "\n" and message.startswith("Invalid control character"):
        return "a quote is opened and not closed in the same line"
    if not before.strip():
        return "expected { at the beginning: settings by name" if rest[:1] not in "#/" else _COMMENT
    if rest[:1] in ("#", "/"):
        return _COMMENT
    if rest[:1] == "'":
        return "expected double quotes, not single ones"
    if rest[:1] in ("}", "]") and before.rstrip()[-1:] == ",":
        return "expected no comma before a closing bracket"
    if not rest and message.startswith("Expecting"):
        return "expected a closing bracket: the file ends before it"
    return _first_reason(_JSON, message) or "expected JSON"


def yaml_reason(problem: str | None, context: str | None) -> str:
    """Why YAML's parser stopped."""
    if (problem or "").startswith("found unexpected end") and "quoted" in (context or ""):
        return _OPEN_QUOTE
    return _first_reason(_YAML, problem or "") or "expected a line like name: value"


def _first_reason(reasons: Reasons, message: str) -> str | None:
    return next((reason for start, reason in reasons if message.startswith(start)), None)

"""Why a text is no TOML, JSON or YAML, in VAI's words.

Invariants: the parsers' messages quote the text, which may hold keys; so a reason is chosen by
what a message begins with, and no part of the message or of the text gets into it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["json_reason", "toml_reason", "yaml_reason"]

Reasons = tuple[tuple[str, str], ...]

_SET_ALREADY: Final = "this name has a value already; keep one of them"
_OPEN_QUOTE: Final = "a quote is opened and not closed"
_WRONG_ESCAPE: Final = "a backslash starts no known escape; write it twice, or use single quotes"

_TOML: Final[Reasons] = (
    ("Expected '=' after a key", "expected '=' after a key"),
    ("Expected newline or end of document", "expected the end of the line after the value"),
    ('Expected "', _OPEN_QUOTE),
    ("Expected ']]' at the end", "expected ']]' at the end of the table's name"),
    ("Expected ']' at the end", "expected ']' at the end of the table's name"),
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
)
_TOML_VALUES: Final = (
    (re.compile(r"\s*(?:#.*)?$"), "expected a value after '='"),
    (re.compile(r"(?:true|false)\b", re.IGNORECASE), "expected true or false in lower case"),
    (re.compile("[\u2018\u2019\u201c\u201d]"), "expected straight quotes, not typographic ones"),
)

_JSON: Final[Reasons] = (
    ("Expecting ':'", "expected ':' after a name"),
    ("Expecting ','", "expected ',' or a closing bracket after the value"),
    ("Expecting property name", "expected a name in double quotes"),
    ("Illegal trailing comma", "expected no comma before a closing bracket"),
    ("Unterminated string", _OPEN_QUOTE),
    ("Invalid control character", "a quote is opened and not closed in the same line"),
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
    ("expected ',' or '}'", "expected ',' or '}': a table is opened and not closed"),
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
)  # fmt: skip


def toml_reason(message: str, rest: str) -> str:
    """Why TOML's parser stopped, where `rest` is what follows in the line."""
    if message.startswith("Invalid value"):
        for pattern, reason in _TOML_VALUES:
            if pattern.match(rest):
                return reason
        return "expected a value; text needs quotes"
    reason = _first(_TOML, message) or "expected a line like name = value, or [table]"
    if message.startswith("Expected '='") and rest.lstrip()[:1] == ":":
        return f"{reason}, not ':'"
    return reason


def json_reason(message: str, before: str, rest: str) -> str:
    """Why JSON's parser stopped, between the text `before` and what follows."""
    if rest[:1] in ("#", "/"):
        return "expected no comments: JSON has none"
    if rest[:1] == "'":
        return "expected double quotes, not single ones"
    if rest[:1] in ("}", "]") and before.rstrip()[-1:] == ",":
        return "expected no comma before a closing bracket"
    if not rest and message.startswith("Expecting"):
        return "expected a closing bracket: the file ends before it"
    return _first(_JSON, message) or "expected JSON"


def yaml_reason(problem: str | None, context: str | None) -> str:
    """Why YAML's parser stopped."""
    if (problem or "").startswith("found unexpected end") and "quoted" in (context or ""):
        return _OPEN_QUOTE
    return _first(_YAML, problem or "") or "expected a line like name: value"


def _first(reasons: Reasons, message: str) -> str | None:
    return next((reason for start, reason in reasons if message.startswith(start)), None)

"""Why a text is no TOML, JSON or YAML, in VAI's words.

Invariants: the parsers' messages quote the text, which may hold keys; so a reason is chosen by
what a message begins with, and no part of the message or of the text gets into it.
"""

from __future__ import annotations

import re
from typing import Final

from vai.codec.lookalikes import describe_lookalike

__all__ = ["json_reason", "toml_reason", "yaml_reason"]

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
"""What a message begins with, what stands where the parser stopped, and the reason."""

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
    reason = _first(_TOML, message) or "expected a line like name = value, or [table]"
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
    return _first(_JSON, message) or "expected JSON"


def yaml_reason(problem: str | None, context: str | None) -> str:
    """Why YAML's parser stopped."""
    if (problem or "").startswith("found unexpected end") and "quoted" in (context or ""):
        return _OPEN_QUOTE
    return _first(_YAML, problem or "") or "expected a line like name: value"


def _first(reasons: Reasons, message: str) -> str | None:
    return next((reason for start, reason in reasons if message.startswith(start)), None)

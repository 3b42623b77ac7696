"""Why a text is no JSON, or no TOML or YAML, in VAI's own words; only for the message.

Invariants: no part of the document enters a sentence; the parser's message and the text at the
position where it stopped select the reason. Pasted text contains characters that look like
spaces, quotes or signs and that no parser accepts: the message names an invisible one by number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import orjson

__all__ = [
    "describe_depth",
    "describe_digits",
    "describe_lookalike",
    "describe_odd_character",
    "describe_syntax_fault",
]

_TYPOGRAPHIC: Final = frozenset(
    "`\u00ab\u00b4\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a"
)
_MINUS: Final = "\u2212"


def describe_odd_character(character: str) -> str | None:
    """Why a character is no quote or no space; None where it does not look like one."""
    if character in _TYPOGRAPHIC:
        return "expected straight quotes, not typographic ones"
    if character.isascii():
        is_odd = character < " " and character not in "\t\n"
    else:
        is_odd = unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cf", "Cc")
    if is_odd:
        return (
            f"an invisible character (U+{ord(character):04X}) stands here; "
            "delete it, or write a plain space"
        )
    return None


def describe_lookalike(rest: str) -> str | None:
    """Why a parser stopped before `rest`, where that begins with a lookalike of valid text."""
    if not rest:
        return None
    if odd := describe_odd_character(rest[0]):
        return odd
    if unicodedata.normalize("NFKC", rest[0]) != rest[0] or rest[0] == _MINUS:
        return "expected a plain ASCII character here, not one that looks like it"
    return None


_BOM: Final = b"\xef\xbb\xbf"
_MOST_SEEN: Final = 12
_VALUE: Final = "expected a value: text in double quotes, a number, true, false or null"
_MARKS: Final = (
    (re.compile(r"//|/\*|#"), "JSON has no comments"),
    (re.compile(r"'"), "expected double quotes, not single ones"),
)
_WORDS: Final = (
    (re.compile(r"(?:True|TRUE|False|FALSE)\b"), "expected true or false in lower case"),
    (re.compile(r"(?:None|nil|undefined|NULL|Null)\b"), "expected null, or no such member"),
    (re.compile(r"(?:NaN|nan|Infinity|inf)\b"), "JSON has no such number"),
)
"""Text where the parser stopped, outside of strings, and the reason; words stand for values."""
_FAULTS: Final = (
    ("end of data", "it ends too early: expected a closing quote or bracket"),
    ("trailing comma", "expected no comma before the closing bracket"),
    ("string key", "expected a member's name in double quotes"),
    ("JSON value", _VALUE),
    ("invalid literal", _VALUE),
    ("':' after", "expected a colon between a name and its value"),
    ("',' or", "expected a comma or the closing bracket"),
    ("after document", "expected nothing behind the document"),
    ("leading zero", "a number begins with a zero"),
    ("no digit", "expected a digit: a number has one before and behind its point, and no plus"),
    ("surrogate", "half of a surrogate pair in a string"),
    ("control character", "a control character in a string, which has to be escaped"),
    ("escape", "an unknown escape in a string; a backslash is written twice"),
)
"""The parser's message -> the same in VAI's own words."""
_IN_STRINGS: Final = ("surrogate", "control character", "escape", "end of data")


def describe_syntax_fault(data: bytes, error: orjson.JSONDecodeError, most_levels: int) -> str:
    """Why the parser refused `data`.

    Args:
        error: the parser's error; its message is one of a few fixed ones.
        most_levels: the allowed depth of a document.
    """
    fault, position = str(error.msg), f"line {error.lineno}, column {error.colno}"
    if data.startswith(_BOM):
        return "a byte order mark is not allowed"
    if "UTF-8" in fault:
        try:
            data.decode()
        except UnicodeDecodeError as bad:
            return f"the body is not valid UTF-8 at {_position_of(data, bad.start)}"
    if "depth" in fault:
        return describe_depth(data, most_levels)
    if "infinity" in fault:
        return f"a number is out of range at {position}"
    words = _describe_stop(fault, str(error.doc), error.pos)
    return f"the body is not well-formed at {position}" + (f": {words}" if words else "")


def describe_depth(data: bytes, most_levels: int) -> str:
    """The message that `data` is too deep, with the position of the first bracket that is, unless
    finding it takes more than a few milliseconds."""
    depth = 0
    for bracket, at in _brackets(data):
        depth += 1 if bracket in b"[{" else -1
        if depth > most_levels:
            return f"nested deeper than {most_levels} levels at {_position_of(data, at)}"
    return f"nested deeper than {most_levels} levels"


def _brackets(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The brackets of `data` that stand outside of strings, and their offsets.

    It stops after `_MOST_STEPS` brackets and quotes, and before a quote behind `_MOST_ESCAPES`
    backslashes: a body may have millions of either.
    """
    at, inside = 0, False
    for _ in range(_MOST_STEPS):
        if not inside:
            match = _BRACKET_OR_QUOTE.search(data, at)
            if match is None:
                return
            at = match.end()
            inside = match[0] == b'"'
            if not inside:
                yield match[0], match.start()
            continue
        end = data.find(b'"', at)
        if end < 0:
            return
        before = data[max(at, end - _MOST_ESCAPES) : end]
        escapes = len(before) - len(before.rstrip(b"\\"))
        if escapes == _MOST_ESCAPES:
            return
        inside, at = escapes % 2 == 1, end + 1


def describe_digits(data: bytes, most: int) -> str | None:
    """That an integer of `data` has too many digits, and its position; None if none has.

    Exact, for the rare body with a huge number: 1e20 is fine, its 21 digits are not.
    """
    # An integer part: not behind a point, and not the rest of a longer run.
    plain, parts = _outside_strings(data)
    match = re.search(rb"(?<![.\d])\d{%d}" % (most + 1), plain)
    if match is None:
        return None
    at = _position_outside(data, plain, parts, match.start())
    return f"an integer has more than {most} digits at {at}"


def _outside_strings(data: bytes) -> tuple[bytes, list[bytes]]:
    """`data` with a quote for each string, and the parts between its quotes.

    Without its escapes, what stands between the odd and the even quotes are strings.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    parts = data.split(b'"')
    return b'"'.join(parts[::2]), parts


def _position_outside(data: bytes, plain: bytes, parts: list[bytes], offset: int) -> str:
    """The position in `data` of an offset of `_outside_strings`."""
    strings = plain.count(b'"', 0, offset)
    skipped = sum(map(len, parts[1 : 2 * strings : 2])) + strings
    return _position_of(data, offset + skipped)


def _position_of(data: bytes, offset: int) -> str:
    """Line and column, from 1, of a byte of UTF-8 text; in a very long line the byte, from 1."""
    start = data.rfind(b"\n", 0, offset) + 1
    if offset - start > _LONG_LINE:  # counting its characters would copy it
        return f"byte {offset + 1}"
    column = len(data[start:offset].decode("utf-8", "replace")) + 1
    line = data.count(b"\n", 0, offset) + 1
    return f"line {line}, column {column}"


_LONG_LINE: Final = 1 << 20
_MOST_STEPS: Final = 20_000
_MOST_ESCAPES: Final = 64
_BRACKET_OR_QUOTE: Final = re.compile(rb'["\[\]{}]')


def _describe_stop(fault: str, document: str, at: int) -> str:
    if at <= _MOST_SEEN and not document[:at].strip() and "end of data" not in fault:
        return "expected a JSON object, which begins with {"
    rest = document[at : at + _MOST_SEEN]
    if not any(mark in fault for mark in _IN_STRINGS):
        if odd := describe_lookalike(rest):
            return odd
        for pattern, words in _MARKS if "string key" in fault else _MARKS + _WORDS:
            if pattern.match(rest):
                return words
    return next((words for mark, words in _FAULTS if mark in fault), "")

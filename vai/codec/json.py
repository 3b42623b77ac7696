"""Strict JSON for requests: VAI refuses what two parsers could read differently.

Invariants: a document that passes means the same to every conforming parser, here and upstream,
and costs every parser time at most linear in its length. RFC 8259 leaves four things open that
attackers use: nesting depth, the size of numbers, repeated names and broken Unicode. This
module restricts all four:

- at most `MAX_DEPTH` nested containers;
- at most `MAX_DIGITS` digits before the point, and no number beyond a double;
- no name twice in the top-level object, in any spelling (the members there steer routing and
  billing; below it the provider decides, and a body may be large);
- UTF-8 only, no byte order mark, no lone surrogate, raw or escaped.

The full parse is orjson's. It costs less than any scan in Python that skips strings
(at 107 KB: splitting at quotes 110 to 440 us, a regular expression 400 to 600 us,
the parse 30 to 100 us), so a full parse also checks a body that VAI only forwards.
The cost is linear in the body; 10 MB of nothing but empty strings take about 150 ms.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from vai.codec.json_faults import describe_depth, describe_digits, describe_syntax_fault
from vai.errors import InvalidRequest

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_MEMBERS",
    "Member",
    "dumps",
    "find_member",
    "load_members",
    "load_object",
    "loads",
    "locate_compact_members",
    "locate_members",
]

MAX_DEPTH = 64
"""Nested containers, the outermost counted."""

MAX_DIGITS = 20
"""Digits of an integer; enough for every 64-bit value."""

MAX_MEMBERS = 1024
"""Members of the top-level object."""

_MOST_REWRITTEN = 512 * 1024
"""Bytes of a body that is compared with the text of its value: that text takes as much memory."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """The position of one top-level member: byte offsets into the body it was read from."""

    key: int
    value: int
    end: int


def loads(data: bytes) -> Any:
    """Parse one JSON document of any type.

    Raises:
        InvalidRequest: the document breaks a rule of this module. The message starts
            with ``Invalid JSON:`` and never quotes the document.
    """
    value, _ = _parse_strictly(data)
    if type(value) is dict:
        _locate_unless_compact(data, value)
    return value


def load_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON document that must be an object. Raises as `loads` does."""
    return load_members(data)[0]


def load_members(
    data: bytes, most: int | None = None
) -> tuple[dict[str, Any], dict[str, Member] | None, int]:
    """Parse one object, locate its members, and count its values, itself included.

    The members are None where the body is compact: `find_member` computes a position when it is
    needed. Raises as `loads` does, and where there are more than `most` values.
    """
    if most is not None:
        _prove_count(data, most)
    value, count = _parse_strictly(data)
    if most is not None and count > most:
        raise _too_many(most)
    if type(value) is not dict:
        raise _invalid_json("the top level must be an object")
    return value, _locate_unless_compact(data, value), count


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON of plain values.

    Raises:
        TypeError: `value` has no JSON form: a foreign type, a lone surrogate, or nesting
            beyond what the encoder allows.
    """
    try:
        return orjson.dumps(value)
    except TypeError as error:
        if not str(error).startswith("Integer exceeds"):
            raise
    # An upstream may send any number; the other encoder is slower, and writes them all.
    return msgspec.json.encode(value)


def find_member(value: dict[str, Any], name: str, size: int) -> Member:
    """The position of one member of `value` in its compact text of `size` bytes.

    It is as far from an end of that text as the text of the members in between is long.
    """
    before: dict[str, Any] = {}
    for other, item in value.items():
        if other == name:
            break
        before[other] = item
    if _LONGEST in before:  # then the way from the end is shorter
        after = {other: item for other, item in value.items() if other not in before}
        key = size + 1 - len(orjson.dumps(after))
    else:
        key = len(orjson.dumps(before)) if before else 1
    start = key + len(orjson.dumps(name)) + 1
    return Member(key, start, start + len(orjson.dumps(value[name])))


def locate_compact_members(value: dict[str, Any]) -> dict[str, Member]:
    """The positions of all members of `value` in its compact text; each is written once."""
    members: dict[str, Member] = {}
    key = 1
    for name, item in value.items():
        start = key + len(orjson.dumps(name)) + 1
        end = start + len(orjson.dumps(item))
        members[name] = Member(key, start, end)
        key = end + 1
    return members


_LONGEST = "messages"
"""The member that takes most of nearly every large body."""


def locate_members(data: bytes) -> dict[str, Member]:
    """The top-level members of an object that `loads` accepts, by name, in their order.

    A first pass yields each distinct name with the raw text of its value. Walking the body with
    those texts then finds every member exactly where it stands, unless a later member of the same
    name replaced one: then the walk does not reach the end of the body.

    Raises:
        InvalidRequest: a name occurs twice, or there are more than `MAX_MEMBERS`.
    """
    try:
        texts = _TEXTS.decode(data)
    except msgspec.DecodeError:
        raise _invalid_json("the top level must be a well-formed object") from None
    if len(texts) > MAX_MEMBERS:
        raise _too_many_members()
    return _locate_by_length(data, texts) or _locate_by_walk(data, texts)


def _locate_unless_compact(data: bytes, value: dict[str, Any]) -> dict[str, Member] | None:
    """The members of a body, None where it is compact: the very text that `dumps` makes of `value`.

    Such a text has no blank, no escaped name and no name twice, so `find_member` knows each
    position. Most clients write so, and to write `value` again costs half of what it costs to
    locate the members of a large body, and a sixth for a small one.
    """
    after_name = data.find(b":") + 1
    if (
        len(data) > _MOST_REWRITTEN
        or data[after_name : after_name + 1].isspace()  # so are the others: spare the writing
        or orjson.dumps(value) != data
    ):
        return locate_members(data)
    if len(value) > MAX_MEMBERS:
        raise _too_many_members()
    return None


def _locate_by_length(data: bytes, texts: dict[str, msgspec.Raw]) -> dict[str, Member] | None:
    """The members of a body without a blank, an escaped name or a repeated one.

    Each of those makes a body longer than its distinct names and their values have to be,
    so a body of exactly that length has none, and its offsets are a sum. Clients write so.
    """
    located: dict[str, Member] = {}
    at = 0
    for name, raw in texts.items():
        key = at + 1
        value = key + len(name.encode()) + 3  # two quotes and a colon
        at = value + len(raw)
        located[name] = Member(key, value, at)
    return located if at + 1 == len(data) else None


def _locate_by_walk(data: bytes, texts: dict[str, msgspec.Raw]) -> dict[str, Member]:
    """The members of any other body, each found where it stands."""
    located: dict[str, Member] = {}
    at = 0
    for name, raw in texts.items():
        text = bytes(raw)
        match = _NAME.match(data, at)
        if match is None or not _is_spelling_of(match[1], name):
            raise _repeated_member()
        start = match.end()
        if not data.startswith(text, start):
            raise _repeated_member()
        at = start + len(text)
        located[name] = Member(match.start(1), start, at)
    if texts and _CLOSING.match(data, at) is None:
        raise _repeated_member()
    return located


_TEXTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WS = rb"[ \t\r\n]*+"
_NAME = re.compile(
    _WS + rb"[{,]" + _WS + rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")' + _WS + rb":" + _WS, re.DOTALL
)
_CLOSING = re.compile(_WS + rb"\}" + _WS + rb"\Z")


def _is_spelling_of(quoted: bytes, name: str) -> bool:
    """Whether the quoted text is `name`, possibly written with escapes."""
    if b"\\" in quoted:
        return bool(orjson.loads(quoted) == name)
    return quoted[1:-1] == name.encode()


def _parse_strictly(data: bytes) -> tuple[Any, int]:
    """The value, and how many values it is made of."""
    if not data or data.isspace():
        raise _invalid_json("the body is empty")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # The exception itself is dropped: it carries the document.
        fault = describe_syntax_fault(data, error, MAX_DEPTH)
    else:
        return value, _prove_depth_and_numbers(value, data)
    raise _invalid_json(fault)


def _prove_depth_and_numbers(value: Any, data: bytes) -> int:
    """Walk `value` level by level, and return the number of its values.

    The number of levels is its depth; its large floats may be integers with too many digits.

    The parser turns an integer beyond 64 bits into a float, so a number of more than
    `MAX_DIGITS` digits always appears as a float of at least 10 ** `MAX_DIGITS`.
    """
    level = [value]
    count = 0
    huge = False
    for _ in range(MAX_DEPTH + 1):
        nested = False
        count += len(level)
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                continue
            if kind is dict:
                nested = True
                below.extend(item.values())
            elif kind is list:
                nested = True
                below.extend(item)
            elif kind is float and not -_HUGE < item < _HUGE:
                huge = True
        if not nested:
            break
        level = below
    else:
        raise _invalid_json(describe_depth(data, MAX_DEPTH))
    if huge and (fault := describe_digits(data, MAX_DIGITS)):
        raise _invalid_json(fault)
    return count


_HUGE = 10.0**MAX_DIGITS


def _prove_count(data: bytes, most: int) -> None:
    """Refuse a document of far too many values before parsing it: each value takes memory.

    A comma or an opening bracket precedes every value, and a bracket is a value itself, so a
    document of `most` values has at most twice as many of these. The second count is
    exact; it reads the document in pieces, each of which begins inside or outside a string.
    """
    if len(data) <= 2 * most or len(data) - len(data.translate(None, _STARTS)) <= 2 * most:
        return
    at, count, inside = 0, 0, 0
    while at < len(data):
        end = min(at + _PIECE, len(data))
        while end < len(data) and data[end - 1] == _BACKSLASH:
            end += 1  # an escape is not cut
        piece = data[at:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        plain = b"".join(parts[inside::2])
        count += len(plain) - len(plain.translate(None, _STARTS))
        if count > 2 * most:
            raise _too_many(most)
        inside ^= (len(parts) - 1) & 1
        at = end


_STARTS = b",[{"
_PIECE = 1 << 16
_BACKSLASH = ord("\\")


def _too_many(most: int) -> InvalidRequest:
    return InvalidRequest(
        f"body: too many values; expected at most {most} strings, numbers, objects and "
        "arrays in all",
        code="too_many_values",
    )


def _invalid_json(reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid JSON: {reason}")


def _too_many_members() -> InvalidRequest:
    return _invalid_json(f"more than {MAX_MEMBERS} members at the top level")


def _repeated_member() -> InvalidRequest:
    return _invalid_json("a member of the top-level object occurs twice")

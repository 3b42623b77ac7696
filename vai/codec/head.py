"""The strict guard of HTTP/1.1 request heads, and what a good head says.

Invariants: a head passes only if every HTTP implementation between the client and VAI would cut
the same message out of the connection. The guard refuses what RFC 9112 forbids, and what it
merely allows when peers are known to disagree about it. After a refusal the gateway must close
the connection: no byte behind a bad head is trustworthy.

A head is the request line and the header lines joined by CRLF, *without* the CRLFCRLF that ends
it. One grammar checks its letters; what it says is then split once, and the rules read the result.

Stricter than the RFCs, on purpose:

- no request with Transfer-Encoding (411): VAI reads a body only with a Content-Length;
- origin-form targets, ``*`` with OPTIONS aside, and none that starts with ``//``; an
  absolute-form target must name the same host as Host does, and becomes origin-form;
- field values are printable ASCII and tabs; obs-text is refused;
- a repeated Content-Length is refused even when the values agree;
- HTTP/1.0 may leave Host out, nothing else may; Host has no percent-encoding;
- a WebSocket handshake has no body.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

__all__ = [
    "MAX_HEAD",
    "MAX_HEADERS",
    "MAX_TARGET",
    "HeadError",
    "HeaderFields",
    "RequestHead",
    "parse_head",
]

MAX_HEAD = 16 * 1024
"""Bytes of a head."""

MAX_HEADERS = 100
"""Header lines of a head."""

MAX_TARGET = 8 * 1024
"""Bytes of a request target."""


class HeadError(NamedTuple):
    """Why a head is refused. `message` never quotes it; `code` is stable."""

    status: int
    code: str
    message: str


class HeaderFields(dict[str, str]):
    """The header fields of a head: a name in lower case -> the value of its first field.

    Values have no space before them. Sanic's own mapping folds the case of each name that it
    looks up, and takes ten times as long for it.

    Attributes:
        repeated: the names that occur again, in the order in which they do.
    """

    __slots__ = ("_all", "repeated")

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._all: Sequence[tuple[str, str]] | None = None
        self.repeated: Sequence[str] = ()
        if pairs:
            self.update(pairs)
            if len(self) != len(pairs):
                self._keep_first_values(pairs)

    @classmethod
    def from_lines(cls, lines: list[str]) -> HeaderFields:
        """The fields of the header lines of a head.

        A list of pairs, which only a repeated name needs, would take half as much again.
        """
        fields = cls()
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.lstrip()
        if len(fields) == len(lines):
            return fields
        parts = [line.partition(":") for line in lines]
        return cls([(name.lower(), value.lstrip()) for name, _, value in parts])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All fields in their order."""
        return [*(self.items() if self._all is None else self._all)]

    def get_all(self, name: str) -> list[str]:
        """The values of all fields of this name, which may have none."""
        if name not in self:
            return []
        return [value for field, value in self.pairs if field == name]

    def _keep_first_values(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.clear()
        self._all = pairs
        self.repeated = repeated = []
        for name, value in pairs:
            if name in self:
                repeated.append(name)
            else:
                self[name] = value


class RequestHead(msgspec.Struct, frozen=True):
    """A head that passed.

    Attributes:
        raw: its bytes, in origin-form.
        target: the request target, origin-form or ``*``.
        version: ``1.0`` or ``1.1``.
        body_size: bytes of the body that follows.
    """

    raw: bytes
    method: str
    target: str
    version: str
    fields: HeaderFields
    body_size: int


# RFC 9110 5.6.2: token = 1*tchar
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# RFC 9112 3.2.1: origin-form = absolute-path [ "?" query ], in the letters of RFC 3986 3.3
# and 3.4. Brackets in the query are not in that grammar, but every browser sends them.
_PCT = rb"%[0-9A-Fa-f]{2}"
_PATH = rb"/(?!/)(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]++|" + _PCT + rb")*+"
_QUERY = rb"(?:\?(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]++|" + _PCT + rb")*+)?+"
# RFC 9112 3.2.4: asterisk-form is for OPTIONS alone.
_TARGET = _PATH + _QUERY
# RFC 9112 3: request-line = method SP request-target SP HTTP-version; single spaces.
_LINE = rb"(?:OPTIONS \*|" + _TOKEN + rb" " + _TARGET + rb") HTTP/1\.[01]"
# RFC 9112 5: field-line = field-name ":" OWS field-value OWS; 5.1: no space before the
# colon; 5.2: no obs-fold. RFC 9110 5.5: field-vchar, SP and HTAB; no CR, LF, NUL.
_FIELD = rb"\r\n" + _TOKEN + rb":[\t\x20-\x7e]*+"
_HEAD = re.compile(_LINE + rb"(?:" + _FIELD + rb"){0,%d}+" % MAX_HEADERS)

# RFC 9110 7.2, RFC 3986 3.2.2: Host = uri-host [ ":" port ], here a name or IP literal.
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~]{1,255}+|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?[ \t]*")
# RFC 9112 3.2.2: absolute-form, its path left to the grammar of origin-form.
_ABSOLUTE = re.compile(rb"(" + _TOKEN + rb") (?i:https?)://([^/?# \r]++)([^# \r]*+)(?= )")
_MOST_DIGITS = 19
"""Digits of a Content-Length: so many always fit 64 bits."""


def parse_head(head: bytes) -> RequestHead | HeadError:
    """Check a client's head, and split it.

    An absolute-form target becomes origin-form.
    """
    if len(head) <= MAX_TARGET and _HEAD.fullmatch(head) is not None:
        return _split_head(head)
    absolute = _ABSOLUTE.match(head)
    if absolute is not None:
        return _parse_absolute(head, absolute)
    return _check_grammar(head) or _split_head(head)


def _parse_absolute(head: bytes, match: re.Match[bytes]) -> RequestHead | HeadError:
    """RFC 9112 3.2.2 requires a server to accept absolute-form, which clients send that take it for
    a proxy, and to use its authority. VAI refuses a Host that differs, because 3.2 requires clients
    to send the same, and a peer that uses the Host would serve another site.
    """
    method, authority, target = match.groups()
    path = target if target.startswith(b"/") else b"/" + target
    plain = method + b" " + path + head[match.end() :]
    parsed = _check_grammar(plain) or _split_head(plain)
    if isinstance(parsed, HeadError):
        return parsed
    host = parsed.fields.get("host")
    named = authority if host is None else host.rstrip(" \t").encode()
    if named.lower() != authority.lower():
        return _OTHER_HOST
    if _HOST.fullmatch(authority.decode("latin-1")) is None:
        return _BAD_TARGET
    return parsed


def _check_grammar(head: bytes) -> HeadError | None:
    if len(head) > MAX_HEAD:
        return _TOO_LARGE
    if len(head) > MAX_TARGET and any(len(part) > MAX_TARGET for part in head.split(b" ", 2)[:2]):
        return _LONG_TARGET
    return None if _HEAD.fullmatch(head) is not None else _explain_head(head)


def _split_head(head: bytes) -> RequestHead | HeadError:
    """Split a head that has the right letters, and check what it says."""
    line, *lines = head.decode("ascii").split("\r\n")
    method, target, protocol = line.split(" ")
    version = protocol[5:]
    fields = HeaderFields.from_lines(lines)
    for name in fields.repeated:
        if name in _REPEATED:
            return _REPEATED[name]
    host = fields.get("host")
    if host is None:
        # RFC 9112 3.2: a server must respond 400 to an HTTP/1.1 request without Host.
        if version == "1.1":
            return _NO_HOST
    elif not _is_host(host):
        return _BAD_HOST
    error = _check_framing(fields)
    if error is not None:
        return error
    return RequestHead(head, method, target, version, fields, int(fields.get("content-length", 0)))


@lru_cache(256)  # clients send the same few: 1,500 instructions less a request
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _check_framing(fields: HeaderFields) -> HeadError | None:
    """RFC 9112 6: where the body ends, stated once and in one form."""
    length = fields.get("content-length")
    if "transfer-encoding" in fields:
        # RFC 9112 6.1: both together enable request smuggling.
        return _CHUNKED if length is None else _TWO_LENGTHS
    # RFC 9110 8.6: Content-Length = 1*DIGIT. The grammar has let ASCII alone pass.
    if length is not None:
        digits = length.rstrip(" \t")
        if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
            return _BAD_LENGTH
    # RFC 9110 10.1.1: any other expectation may be answered with 417.
    if "expect" in fields and fields["expect"].rstrip(" \t").lower() != "100-continue":
        return _EXPECTATION
    # A list over several lines is one list: RFC 9110 5.3.
    if (
        "upgrade" in fields
        and "websocket" in ",".join(fields.get_all("upgrade")).lower()
        and length is not None
        and int(length) > 0
    ):
        return _UPGRADE_BODY
    return None


_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_NAME = re.compile(_TOKEN)
_ORIGIN = re.compile(_TARGET)


def _explain_head(head: bytes) -> HeadError:
    """Why the grammar refused a head."""
    line, *fields = head.split(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3:
        return _BAD_LINE
    method, target, version = parts
    if _NAME.fullmatch(method) is None:
        return _BAD_LINE
    if _VERSION.fullmatch(version) is None:
        return _BAD_LINE
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return _BAD_VERSION
    if _ORIGIN.fullmatch(target) is None and (method, target) != (b"OPTIONS", b"*"):
        return _TWO_SLASHES if target.startswith(b"//") else _BAD_TARGET
    if len(fields) > MAX_HEADERS:
        return _TOO_MANY
    for field in fields:
        name, colon, _ = field.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            return _BAD_NAME
    # The request line and the names are valid, so a value is not.
    return _BAD_VALUE


_TOO_LARGE = HeadError(431, "head_too_large", f"The request head exceeds {MAX_HEAD} bytes")
_TOO_MANY = HeadError(431, "too_many_headers", f"More than {MAX_HEADERS} header lines")
_LONG_TARGET = HeadError(414, "target_too_long", f"The request target exceeds {MAX_TARGET} bytes")
_BAD_LINE = HeadError(400, "bad_request_line", "Malformed request line")
_BAD_VERSION = HeadError(505, "http_version", "Only HTTP/1.1 and HTTP/1.0 are served")
_BAD_TARGET = HeadError(400, "bad_target", "The request target must be a path of plain URI letters")
_TWO_SLASHES = HeadError(
    400,
    "bad_target",
    "The path begins with two slashes; expected a base URL that ends without",
)
_BAD_NAME = HeadError(400, "bad_header_name", "Malformed header line")
_BAD_VALUE = HeadError(
    400, "bad_header_value", "A header value has a character that is not allowed"
)
_NO_HOST = HeadError(400, "host_missing", "The Host header is required")
_TWO_HOSTS = HeadError(400, "host_repeated", "More than one Host header")
_OTHER_HOST = HeadError(400, "host_mismatch", "The Host header and the target name two hosts")
_BAD_HOST = HeadError(400, "bad_host", "Malformed Host header")
_BAD_LENGTH = HeadError(400, "bad_content_length", "Content-Length must be plain digits")
_TWO_LENGTHS = HeadError(400, "ambiguous_length", "The length of the body is given more than once")
_CHUNKED = HeadError(
    411, "length_required", "Send a Content-Length; Transfer-Encoding is not served"
)
_EXPECTATION = HeadError(417, "expectation", "The only expectation served is 100-continue")
_UPGRADE_BODY = HeadError(400, "upgrade_with_body", "A WebSocket handshake has no body")

_REPEATED = {
    "host": _TWO_HOSTS,
    "content-length": _TWO_LENGTHS,
    "transfer-encoding": _TWO_LENGTHS,
    "expect": _EXPECTATION,
}

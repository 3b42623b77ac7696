"""The strict guard of HTTP/1.1 request heads.

Invariants: a head passes only if every HTTP implementation between the client and VAI would cut
the same message out of the connection. The guard refuses what RFC 9112 forbids, and what it
merely allows when peers are known to disagree about it. After a refusal the gateway must close
the connection: no byte behind a bad head is trustworthy.

A head is the request line and the header lines joined by CRLF, *without* the CRLFCRLF that ends
it: the `head` of Sanic's ``http.lifecycle.read_head`` signal. Sanic sends the signal after it
split the request line at its spaces (a failure there is its own 400) and before it reads any
header, so a bare line without spaces never gets here.

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
from typing import NamedTuple

__all__ = ["MAX_HEAD", "MAX_HEADERS", "MAX_TARGET", "HeadError", "check_head", "normalize_head"]

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

# The fields that decide where a message ends and which host it is for.
_DECIDING = re.compile(
    rb"\r\n(host|content-length|transfer-encoding|expect|upgrade):[ \t]*+([^\r]*)", re.IGNORECASE
)
# RFC 9110 7.2, RFC 3986 3.2.2: Host = uri-host [ ":" port ], here a name or IP literal.
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?[ \t]*")
# RFC 9112 3.2.2: absolute-form, its path left to the grammar of origin-form.
_ABSOLUTE = re.compile(rb"(" + _TOKEN + rb") (?i:https?)://([^/?# \r]++)([^# \r]*+)(?= )")
_HOST_LINE = re.compile(rb"\r\nhost:[ \t]*+([^\r]*)", re.IGNORECASE)
# RFC 9110 8.6: Content-Length = 1*DIGIT; 19 digits always fit 64 bits.
_LENGTH = re.compile(rb"[0-9]{1,19}[ \t]*")


def check_head(head: bytes) -> HeadError | None:
    """Check a request head; None lets it pass."""
    if len(head) > MAX_HEAD:
        return _TOO_LARGE
    if len(head) > MAX_TARGET and any(len(part) > MAX_TARGET for part in head.split(b" ", 2)[:2]):
        return _LONG_TARGET
    if _HEAD.fullmatch(head) is None:
        return _explain_head(head)
    fields: dict[bytes, bytes] = {}
    for name, value in _DECIDING.findall(head):
        name = name.lower()
        if name in fields:
            if name != b"upgrade":
                return _REPEATED[name]
            # A list over several lines is one list: RFC 9110 5.3.
            value = fields[name] + b"," + value
        fields[name] = value
    host = fields.get(b"host")
    if host is None:
        # RFC 9112 3.2: a server must respond 400 to an HTTP/1.1 request without Host.
        if b" HTTP/1.1" in head.partition(b"\r\n")[0]:
            return _NO_HOST
    elif _HOST.fullmatch(host) is None:
        return _BAD_HOST
    if len(fields) > 1 or host is None:
        return _check_framing(fields)
    return None


def normalize_head(head: bytes) -> tuple[bytes, HeadError | None]:
    """Check a client's head: returns the head to process, and why it is refused, if it is.

    An absolute-form target becomes origin-form; any other head stays the same object. RFC 9112
    3.2.2 requires a server to accept absolute-form, which clients send that take it for a proxy,
    and to use its authority. VAI refuses a Host that differs, because 3.2 requires clients to send
    the same, and a peer that uses the Host would serve another site.
    """
    match = _ABSOLUTE.match(head)
    if match is None:
        return head, check_head(head)
    method, authority, target = match.groups()
    path = target if target.startswith(b"/") else b"/" + target
    plain = method + b" " + path + head[match.end() :]
    verdict = check_head(plain)
    host = _HOST_LINE.search(plain)
    named = authority if host is None else host[1].rstrip(b" \t")
    if verdict is None and named.lower() != authority.lower():
        verdict = _OTHER_HOST
    if verdict is None and _HOST.fullmatch(authority) is None:
        verdict = _BAD_TARGET
    return plain, verdict


def _check_framing(fields: dict[bytes, bytes]) -> HeadError | None:
    """RFC 9112 6: where the body ends, stated once and in one form."""
    length = fields.get(b"content-length")
    if b"transfer-encoding" in fields:
        # RFC 9112 6.1: both together enable request smuggling.
        return _CHUNKED if length is None else _TWO_LENGTHS
    if length is not None and _LENGTH.fullmatch(length) is None:
        return _BAD_LENGTH
    expect = fields.get(b"expect")
    # RFC 9110 10.1.1: any other expectation may be answered with 417.
    if expect is not None and expect.rstrip(b" \t").lower() != b"100-continue":
        return _EXPECTATION
    upgrade = fields.get(b"upgrade", b"").lower()
    if b"websocket" in upgrade and length is not None and int(length) > 0:
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
    b"host": _TWO_HOSTS,
    b"content-length": _TWO_LENGTHS,
    b"transfer-encoding": _TWO_LENGTHS,
    b"expect": _EXPECTATION,
}

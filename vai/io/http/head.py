"""The checks of a request's head: origins, base URLs and header lines, as text.

VAI refuses an invalid head before it sends anything; the error names the field and never its
value. Rules: RFC 9110 5.5 (field values), 5.6.2 (tokens), RFC 9112 3 (request line).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import httpx

from vai.errors import InvalidRequest
from vai.policy.headers import GATEWAY_FIELDS

__all__ = [
    "Endpoint",
    "Origin",
    "encode_forwarded_headers",
    "encode_headers",
    "encode_request_line",
]

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE: Final = r"(?:[\x21-\x7e][\x20-\x7e\t]*)?"
_RESERVED: Final = rf"(?!(?i:{'|'.join(GATEWAY_FIELDS)}):)"
_LINES: Final = re.compile(rf"(?:{_NAME}: {_VALUE}\r\n)*")
_FORWARDED_LINES: Final = re.compile(rf"(?:{_RESERVED}{_NAME}: {_VALUE}\r\n)*")
_METHOD: Final = re.compile(_NAME)
_TARGET: Final = re.compile(r"/[\x21-\x7e]*")
_PORTS: Final = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port. A connection, and a credential, belongs to one origin."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header: brackets around IPv6, the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @classmethod
    def from_url(cls, url: httpx.URL) -> Origin:
        """The origin of an absolute http(s) URL.

        Raises:
            ValueError: another scheme, no host, or no such port.
        """
        if url.scheme not in _PORTS or not url.host:
            raise ValueError("an upstream URL must be http:// or https:// with a host")
        # raw_host is the IDNA form, which the resolver receives and a certificate names.
        host = url.raw_host.decode("ascii").strip("[]")
        port = _PORTS[url.scheme] if url.port is None else url.port
        if not 0 < port < 65536:
            raise ValueError("an upstream URL has a port from 1 to 65535")
        return cls(url.scheme, host, port)


class Endpoint(NamedTuple):
    """A parsed base URL: the origin, and the path that begins every request's path."""

    origin: Origin
    prefix: str

    @classmethod
    def from_base_url(cls, base_url: str) -> Endpoint:
        """Parse a provider's base URL.

        Raises:
            ValueError: not absolute http(s), or it contains user info, a query or a fragment
                (a secret in a URL ends up in a log).
        """
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL:
            raise ValueError("the base URL is not a URL") from None
        if url.userinfo or url.query or url.fragment:
            raise ValueError("a base URL carries no user info, query or fragment")
        return cls(Origin.from_url(url), url.raw_path.decode("ascii").rstrip("/"))


@lru_cache(maxsize=256)
def encode_request_line(method: str, target: str) -> str:
    """``METHOD /target HTTP/1.1`` with its line end.

    Raises:
        InvalidRequest: the method is not a token, or the target has blanks or controls.
    """
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
        raise InvalidRequest("The request line of an upstream call is malformed")
    return f"{method} {target} HTTP/1.1\r\n"


def encode_headers(headers: Sequence[tuple[str, str]], *, forwarded: bool) -> str:
    """The header fields as lines of a head.

    One match over the joined text costs a third of one per field. An injected line end makes more
    lines than fields, so the count detects what the match alone cannot.

    Args:
        headers: names and values.
        forwarded: whether to refuse the names that VAI writes itself.

    Raises:
        InvalidRequest: a field breaks the rules; the error names it, without its value.
    """
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    rule = _FORWARDED_LINES if forwarded else _LINES
    if rule.fullmatch(text) and text.count("\n") == len(headers):
        return text
    raise _explain_header(headers, rule)


@lru_cache(maxsize=256)
def encode_forwarded_headers(headers: tuple[tuple[str, str], ...]) -> str:
    """`encode_headers` for the headers that VAI forwards from a client, cached: one client repeats
    the same headers. Its credentials are not among them, so the cache holds no secret."""
    return encode_headers(headers, forwarded=True)


def _explain_header(headers: Iterable[tuple[str, str]], rule: re.Pattern[str]) -> InvalidRequest:
    for name, value in headers:
        if not _METHOD.fullmatch(name):
            return InvalidRequest("A header name is malformed", code="invalid_header")
        line = f"{name}: {value}\r\n"
        if not rule.fullmatch(line) or line.count("\n") != 1:
            return InvalidRequest(
                f"{name.lower()}: expected a header of printable ASCII that may be forwarded",
                param=name,
                code="invalid_header",
            )
    return InvalidRequest("A header cannot be forwarded", code="invalid_header")

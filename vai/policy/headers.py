"""Which header fields cross the gateway.

Towards the upstream the list is open by prefix: every ``anthropic-*`` field passes, known
or not, because features come as pairs of header and body and a dropped half is a 400. All other
fields stay here: a client's cookies, proxy credentials and private headers do not concern the
provider. (A deny list was rejected: it would forward secrets that it does not list yet.)

Back to the client the list is closed: the fields that clients of the Messages API read. A client
would take a provider's fields about its own connection, cookies, redirects or pages for the
gateway's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from vai.codec.head import HeaderFields

__all__ = [
    "GATEWAY_FIELDS",
    "fields_to_upstream",
    "headers_from_upstream",
    "headers_to_upstream",
    "split_header_lines",
    "with_betas",
]

GATEWAY_FIELDS: Final = (
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "x-vai-key",
    "cookie",
    "proxy-authorization",
    "proxy-connection",
)
"""Framing and identity of an upstream request, which only the I/O ring writes: a second Host or
Content-Length enables request smuggling, a second credential mixes up keys, and VAI never sends
cookies."""

_FORWARDED_PREFIXES = ("anthropic-", "x-claude-code-", "x-stainless-")
_FORWARDED = frozenset({"user-agent", "x-app", "accept-language"})

_RETURNED_PREFIX = "anthropic-"
_RETURNED = frozenset({"cf-ray", "request-id", "retry-after", "retry-after-ms", "x-should-retry"})


def headers_to_upstream(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of a client's request that VAI forwards to a same-protocol upstream."""
    return [field for field in headers if _is_forwarded(field[0])]


def fields_to_upstream(fields: HeaderFields) -> list[tuple[str, str]]:
    """`headers_to_upstream` for all fields of a head."""
    if fields.repeated:
        return headers_to_upstream(fields.pairs)
    return [(name, fields[name]) for name in _forwarded_names(tuple(fields))]


@lru_cache(64)  # a client sends the same names each time: 5,000 instructions less a request
def _forwarded_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([name for name in names if _is_forwarded(name)])


@lru_cache(256)  # clients send the same dozen of names: 4,000 instructions less a request
def _is_forwarded(name: str) -> bool:
    return name.startswith(_FORWARDED_PREFIXES) or name in _FORWARDED


def with_betas(
    headers: Iterable[tuple[str, str]], betas: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """`headers` with one ``anthropic-beta`` field: the values listed there, and `betas`."""
    others = []
    listed: list[str] = []
    for name, value in headers:
        if name.lower() == "anthropic-beta":
            listed += [beta for part in value.split(",") if (beta := part.strip())]
        else:
            others.append((name, value))
    return (*others, ("anthropic-beta", ",".join(dict.fromkeys([*listed, *betas]))))


def headers_from_upstream(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The fields of an upstream's response that VAI forwards. Names are lower case.

    Fields that ``Connection`` names belong to the connection (RFC 9110 section 7.6.1).
    """
    returned = [(name, headers[name]) for name in _returned_names(tuple(headers))]
    connection = headers.get("connection", "close")
    if connection in ("close", "keep-alive"):  # options that name no field
        return returned
    hop = {name.strip().lower() for name in connection.split(",")}
    return [field for field in returned if field[0] not in hop]


@lru_cache(64)  # a server sends the same names each time
def _returned_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([name for name in names if name.startswith(_RETURNED_PREFIX) or name in _RETURNED])


def split_header_lines(lines: str) -> dict[str, str]:
    """Name -> value of lines ``name: value`` as they stand in a head, each with its line end."""
    fields = (line.partition(": ") for line in lines.splitlines())
    return {name: value for name, _, value in fields}

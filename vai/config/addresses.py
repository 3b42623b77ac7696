"""Whether a provider's paths can be appended to a base URL.

Each kind appends a path of its own: an Anthropic server gets ``/v1/messages``, so that its base URL
has no version; all others get a path without a version, so that theirs has one. A URL that is
wrong in this respect is well formed, and every request to it ends in a 404.

Invariants: pure; the text names what was expected and never quotes the URL. A fault is certain
where no server can answer; it is likely where servers differ, and then only a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from typing import Final, NamedTuple

import httpx

from vai.policy.hosts import is_address, is_local_name
from vai.providers.registry import ROWS
from vai.types.provider import Kind, ProviderRow

__all__ = ["AddressFault", "address_fault", "is_exposed", "is_own_host", "is_same_host"]

_VERSION: Final = re.compile(r"v\d+(?:\.\d+)?(?:(?:alpha|beta|rc|internal)\d*)?")
_VERSIONS: Final[dict[Kind, tuple[str, ...]]] = {"gemini": ("/v1beta", "/v1", "/v1alpha")}
"""The paths of a kind's own hosts, where there is more than that of its row
(https://ai.google.dev/gemini-api/docs/api-versions, 2026-11-28)."""
_UNVERSIONED: Final = frozenset({"api.deepseek.com", "models.github.ai"})
"""Servers of Chat Completions whose documented base URL has no version
(https://api-docs.deepseek.com/, https://docs.github.com/en/rest/models/inference, 2026-11-28)."""
_APPENDED: Final[dict[Kind, str]] = {
    **{row.kind: row.path for row in ROWS.values()},
    "gemini": "/models/MODEL:generateContent",
    "code-assist": "/v1internal:generateContent",
}
_ENDPOINT: Final = re.compile(
    r"/(?:(?:chat/)?completions|responses(?:/input_tokens)?|messages(?:/(?:count_tokens|batches))?"
    r"|embeddings|api/(?:chat|generate|tags)|v\d+\w*/models(?:/[^/]+)?"
    r"|[^/]*:(?:(?:stream)?generatecontent|counttokens|loadcodeassist))\Z",
    re.IGNORECASE,
)
"""What paths of endpoints end with, those of other APIs of the same servers among them."""


class AddressFault(NamedTuple):
    """What is wrong with a base URL."""

    is_certain: bool
    """Whether no server can answer there; False where it depends on the server."""
    text: str


def address_fault(kind: Kind, base_url: str) -> AddressFault | None:
    """The first thing wrong with `base_url` for a provider of this kind, None if nothing is.

    Args:
        base_url: an http(s) URL that httpx can parse.
    """
    return next(_faults(kind, httpx.URL(base_url)), None)


def is_exposed(base_url: str) -> bool:
    """Whether requests to `base_url` cross networks of others without encryption."""
    url = httpx.URL(base_url)
    if url.scheme != "http":
        return False
    host = _host(url).partition("%")[0]
    return ip_address(host).is_global if is_address(host) else not is_local_name(host)


def is_own_host(row: ProviderRow, base_url: str) -> bool:
    """Whether `base_url` is at the host of a built-in provider, or at a regional one below it."""
    return _is_own(row, _host(httpx.URL(base_url)))


def _is_own(row: ProviderRow, host: str) -> bool:
    own = _HOMES[row.id][0]
    return host == own or host.endswith(f".{own}")


def is_same_host(base_url: str, other: str) -> bool:
    """Whether two base URLs lead to the same host."""
    return _host(httpx.URL(base_url)) == _host(httpx.URL(other))


def _host(url: httpx.URL) -> str:
    """The host as it is resolved, in lower case and without brackets."""
    # URL.host would turn a name back from its IDNA form, and raise where it has none.
    return url.raw_host.decode("ascii").strip("[]")


def _faults(kind: Kind, url: httpx.URL) -> Iterator[AddressFault]:
    path = url.path.rstrip("/")
    segments = path.split("/")[1:]
    appends = f"VAI appends {_APPENDED[kind]}"
    host = _host(url)
    rows = (row for row in ROWS.values() if row.kind == kind and _is_own(row, host))
    row = next(rows, None)
    if row is not None and path not in _paths_of(row):
        paths = " or ".join(_paths_of(row)) or "no path"
        yield AddressFault(True, f"expected {paths} after the name of this host; {appends}")
    if _ENDPOINT.search(path):
        yield AddressFault(
            True, f"expected the base URL without the path of an endpoint; {appends}"
        )
    yield from _version_faults(kind, host, segments)
    if "" in segments:
        yield AddressFault(False, "the path has two slashes in a row")


def _version_faults(kind: Kind, host: str, segments: list[str]) -> Iterator[AddressFault]:
    appends = f"VAI appends {_APPENDED[kind]}"
    versions = [bool(_VERSION.fullmatch(segment)) for segment in segments]
    if kind in ("anthropic", "code-assist"):
        if versions and versions[-1]:
            is_certain = segments[-1] in ("v1", "v1internal")
            yield AddressFault(is_certain, f"expected no version at the end; {appends}")
        return
    for (one, two), both in zip(pairwise(segments), pairwise(versions), strict=True):
        if all(both) and (one == two or kind == "gemini"):
            yield AddressFault(True, "expected one version, there are two in a row")
    if not any(versions) and host not in _UNVERSIONED:
        version = "/v1beta" if kind == "gemini" else "/v1"
        yield AddressFault(
            False, f"most servers want a version such as {version} at the end; {appends}"
        )


def _paths_of(row: ProviderRow) -> tuple[str, ...]:
    return _VERSIONS.get(row.kind, (_HOMES[row.id][1],))


_HOMES: Final = {
    row.id: (_host(url), url.path.rstrip("/"))
    for row in ROWS.values()
    for url in (httpx.URL(row.base_url),)
}
"""Built-in provider -> the host and the path of its own base URL."""

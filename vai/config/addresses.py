"""Whether a provider's paths can be appended to a base URL.

VAI appends each kind's own path: ``/v1/messages`` for an Anthropic server, so that its base URL has
no version; a path without a version for all others, so that theirs has one. A URL that is wrong in
this respect is well formed, and every request to it ends in a 404.

Invariants: the module is pure; its text names the expected form and never quotes the URL. A fault
is certain where no server can respond. Where servers differ it is likely, and only a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from typing import Final, NamedTuple

import httpx

from vai.policy.hosts import is_address, is_local_name
from vai.providers.registry import PROVIDER_SPECS
from vai.types.provider import ProviderSpec, WireFormat

__all__ = ["AddressFault", "address_fault", "is_exposed", "is_provider_host", "is_same_host"]

_VERSION: Final = re.compile(r"v\d+(?:\.\d+)?(?:(?:alpha|beta|rc|internal)\d*)?")
_VERSIONS: Final[dict[WireFormat, tuple[str, ...]]] = {"gemini": ("/v1beta", "/v1", "/v1alpha")}
"""The paths of a kind's own hosts, where they have more than the path of its spec
(https://ai.google.dev/gemini-api/docs/api-versions, 2026-11-28)."""
_UNVERSIONED: Final = frozenset(
    {
        "api.deepseek.com",
        "api.perplexity.ai",
        "models.github.ai",
        "models.inference.ai.azure.com",
    }
)
"""Servers of Chat Completions whose documented base URL has no version
(https://api-docs.deepseek.com/, https://docs.perplexity.ai/,
https://docs.github.com/en/rest/models/inference, 2026-11-28)."""
_UNVERSIONED_END: Final = "serving-endpoints"
"""How the base URL of each Databricks workspace ends (https://docs.databricks.com/, 2026-11-28)."""
_GATEWAYS_VERSION: Final = {"gateway.ai.cloudflare.com": 1}
"""Hosts -> how many leading segments are a version of the host's own API, not of a provider's
(https://developers.cloudflare.com/ai-gateway/usage/providers/google-ai-studio/, 2026-11-28)."""
_COMPATIBLE: Final[dict[tuple[WireFormat, str], str]] = {
    ("openai", "anthropic"): "/v1",
    ("openai", "gemini"): "/v1beta/openai",
}
"""Kind and built-in provider of another kind -> the path at which its host speaks that kind too
(https://platform.claude.com/docs/en/api/openai-sdk,
https://ai.google.dev/gemini-api/docs/openai, 2026-11-28)."""
_FORMAT_OWNERS: Final = frozenset({"anthropic", "openai", "gemini", "gemini-oauth"})
"""Built-in providers whose hosts speak only their own kinds and those of `_COMPATIBLE`; what other
kinds the other providers speak is not known."""
_APPENDED: Final[dict[WireFormat, str]] = {
    **{spec.kind: spec.path for spec in PROVIDER_SPECS.values()},
    "gemini": "/models/MODEL:generateContent",
    "code-assist": "/v1internal:generateContent",
}
_ENDPOINT: Final = re.compile(
    r"/(?:chat/completions|api/(?:chat|generate|tags)"
    r"|v\d+\w*/(?:completions|responses(?:/input_tokens)?"
    r"|messages(?:/(?:count_tokens|batches))?|embeddings|models(?:/[^/]+)?)"
    r"|[^/]*:(?:(?:stream)?generatecontent|counttokens|loadcodeassist))\Z",
    re.IGNORECASE,
)
"""The ends of endpoint paths, those of other APIs of the same servers included."""
_PART_OF_ENDPOINT: Final = re.compile(
    r"/(?:v\d+\w*/(?:chat|complete)|completions|responses|messages|embeddings)\Z", re.IGNORECASE
)
"""Also such an end, but a proxy may have a prefix of that name."""
_PRIVATE: Final = tuple(
    f".{name}" for name in ("corp", "home", "intranet", "lan", "localdomain", "private", "svc")
)
"""Ends of names in company, home and cluster networks, which the public DNS does not have
(RFC 6762 appendix G, https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/,
2026-11-28)."""


class AddressFault(NamedTuple):
    """A fault of a base URL."""

    is_certain: bool
    """Whether no server can respond there; False where it depends on the server."""
    text: str


def address_fault(kind: WireFormat, base_url: str) -> AddressFault | None:
    """The first fault of `base_url` for a provider of this kind, None if it has none.

    Args:
        base_url: an http(s) URL that httpx can parse.
    """
    return next(_find_faults(kind, httpx.URL(base_url)), None)


def is_exposed(base_url: str) -> bool:
    """Whether requests to `base_url` cross foreign networks without encryption."""
    url = httpx.URL(base_url)
    if url.scheme != "http":
        return False
    host = _host_of(url).partition("%")[0]
    if is_address(host):
        return ip_address(host).is_global
    return not (is_local_name(host) or host.endswith(_PRIVATE))


def is_provider_host(spec: ProviderSpec, base_url: str) -> bool:
    """Whether `base_url` is at the host of a built-in provider, or at a regional one below it."""
    return _is_host_of(spec, _host_of(httpx.URL(base_url)))


def _is_host_of(spec: ProviderSpec, host: str) -> bool:
    home = _HOSTS[spec.id][0]
    return host == home or host.endswith(f".{home}")


def is_same_host(base_url: str, other: str) -> bool:
    """Whether two base URLs lead to the same host."""
    return _host_of(httpx.URL(base_url)) == _host_of(httpx.URL(other))


def _host_of(url: httpx.URL) -> str:
    """The host as it is resolved, in lower case, without brackets and the dot of the root."""
    # URL.host would turn a name back from its IDNA form, and raise where it has none.
    return url.raw_host.decode("ascii").strip("[]").rstrip(".")


def _find_faults(kind: WireFormat, url: httpx.URL) -> Iterator[AddressFault]:
    path = url.path.rstrip("/")
    segments = path.split("/")[1:]
    appends = f"VAI appends {_APPENDED[kind]}"
    host = _host_of(url)
    yield from _find_host_faults(kind, host, path)
    if _ENDPOINT.search(path):
        yield AddressFault(
            True, f"expected the base URL without the path of an endpoint; {appends}"
        )
    if _PART_OF_ENDPOINT.search(path):
        yield AddressFault(False, f"the path ends like that of an endpoint; {appends}")
    yield from _find_version_faults(kind, host, segments[_GATEWAYS_VERSION.get(host, 0) :])
    if "" in segments:
        yield AddressFault(False, "the path has two slashes in a row")


def _find_host_faults(kind: WireFormat, host: str, path: str) -> Iterator[AddressFault]:
    """A path that a built-in provider's host does not have for this kind."""
    appends = f"VAI appends {_APPENDED[kind]}"
    specs = [spec for spec in PROVIDER_SPECS.values() if _is_host_of(spec, host)]
    same_kind = next((spec for spec in specs if spec.kind == kind), None)
    if same_kind is not None and path not in _paths_of(same_kind):
        paths = " or ".join(_paths_of(same_kind)) or "no path"
        yield AddressFault(True, f"expected {paths} after the name of this host; {appends}")
    if same_kind is not None or not specs:
        return
    other = specs[0]
    expected = _COMPATIBLE.get((kind, other.id))
    if expected is None and other.id in _FORMAT_OWNERS:
        yield AddressFault(False, f"this is {other.name}'s host; {appends}, which it may not have")
    if expected is not None and path != expected:
        yield AddressFault(
            False, f"expected {expected} after the name of {other.name}'s host; {appends}"
        )


def _find_version_faults(
    kind: WireFormat, host: str, segments: list[str]
) -> Iterator[AddressFault]:
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
    if not any(versions) and not _is_unversioned(kind, host, segments):
        version = "/v1beta" if kind == "gemini" else "/v1"
        yield AddressFault(
            False, f"most servers want a version such as {version} at the end; {appends}"
        )


def _is_unversioned(kind: WireFormat, host: str, segments: list[str]) -> bool:
    """Whether the paths of a server have no version, or one that its gateway inserts."""
    if kind == "gemini":
        return False
    is_at_gateway = host in _GATEWAYS_VERSION
    return is_at_gateway or host in _UNVERSIONED or segments[-1:] == [_UNVERSIONED_END]


def _paths_of(spec: ProviderSpec) -> tuple[str, ...]:
    return _VERSIONS.get(spec.kind, (_HOSTS[spec.id][1],))


_HOSTS: Final = {
    spec.id: (_host_of(url), url.path.rstrip("/"))
    for spec in PROVIDER_SPECS.values()
    for url in (httpx.URL(spec.base_url),)
}
"""Built-in provider -> the host and the path of its own base URL."""

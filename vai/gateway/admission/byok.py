"""Provider keys that callers bring along, and which key an exchange uses.

A key in a header that names its provider goes before one in the body, that one before a key
where the provider's own clients put it, and all before the gateway's own. In passthrough mode
the gateway's own are not looked at: the caller pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vai.errors import AuthenticationFailed, InvalidRequest
from vai.io.http.provider_keys import PROVIDER_FIELDS, ProviderKey, find_key
from vai.providers.registry import SHARED_KEYS, provider_id
from vai.secret import Secret
from vai.types.provider import ProviderSpec

__all__ = ["HEADER_PREFIX", "add_presented", "brought", "choose", "header_name", "missing"]

HEADER_PREFIX = "x-provider-key-"


def brought(
    headers: Iterable[tuple[str, str]], body: Mapping[str, str] | None
) -> dict[str, ProviderKey]:
    """Provider name -> key, for the keys in a request's headers and body.

    Raises:
        InvalidRequest: a value cannot be a key; it is named, not quoted. Or a header comes
            more than once.
    """
    keys: dict[str, ProviderKey] = {}
    seen: set[str] = set()
    for name, value in headers:
        if name.startswith(HEADER_PREFIX):
            if name in seen:
                raise InvalidRequest(
                    f"{name}: expected this header once", param=name, code="header_repeated"
                )
            seen.add(name)
            _put(keys, provider_id(name.removeprefix(HEADER_PREFIX)), value, name)
    for name, value in (body or {}).items():
        provider = provider_id(name)
        _put(keys, provider, value, f"provider_keys.{provider[:64]}")
    return keys


def add_presented(
    keys: dict[str, ProviderKey], presented: tuple[ProviderKey, ...], rows: Iterable[ProviderSpec]
) -> None:
    """Add to `keys` those that a request holds where the providers' own clients put them.

    Args:
        rows: the targets of the request, the one it names first.
    """
    requested = ""
    for row in rows:
        requested = requested or row.id
        if choose(row.id, keys) is None:
            key = find_key(presented, row, requested=row.id == requested)
            if key is not None:
                keys[row.id] = key


def choose(provider: str, keys: Mapping[str, ProviderKey]) -> ProviderKey | None:
    """The brought key that serves `provider`."""
    return keys.get(provider) or keys.get(SHARED_KEYS.get(provider, ""))


def header_name(provider: str) -> str:
    """The header that brings a key for `provider`, as it is written in documents."""
    return "X-Provider-Key-" + "-".join(part.capitalize() for part in provider.split("-"))


def missing(row: ProviderSpec, *, lends: bool, any_brought: bool = True) -> AuthenticationFailed:
    """There is no key for a provider that exists, or none for any where one is a must.

    Args:
        lends: whether the gateway's own keys may be used, so that its operator can set one.
    """
    name = header_name(row.id)
    what = f"No key for provider {row.id}" if any_brought else "Missing provider keys"
    ways = [f"bring one in {name}"]
    own = _own_place(row)
    if lends and row.kind == "code-assist":
        ways = ["the operator of this gateway logs in with `vai login gemini`"]
    elif lends:
        variable = f"{row.env[0]} or " if row.env else ""
        ways.append(f"the operator of this gateway sets {variable}providers.{row.id}.api_key")
    elif own is not None:
        ways.append(f"where the provider's own clients put it, `{own}`")
    return AuthenticationFailed(
        f"{what}: {', or '.join(ways)}", param=name, code="provider_key_missing", provider=row.id
    )


def _own_place(row: ProviderSpec) -> str | None:
    """Where clients of the provider put their key, if it is read from there."""
    if row.kind == "code-assist":
        return None
    if row.auth == "bearer":
        return "Authorization: Bearer KEY"
    return f"{row.auth.lower()}: KEY" if row.auth.lower() in PROVIDER_FIELDS else None


def _put(keys: dict[str, ProviderKey], provider: str, value: str, place: str) -> None:
    text = value.strip()
    if text and provider not in keys:  # headers are read first and win
        keys[provider] = ProviderKey(Secret(text, place))

"""Provider keys that clients send with a request (BYOK), and which key an exchange uses.

VAI prefers a key in a header that names its provider to one in the body, that one to a key in the
header that the provider's own clients use, and all of them to the gateway key. In passthrough mode
it uses no gateway key: the client pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vai.codec.head import HeaderFields
from vai.errors import AuthenticationFailed, InvalidRequest
from vai.io.http.provider_keys import PROVIDER_FIELDS, ProviderKey, find_key
from vai.providers.registry import SHARED_KEYS, provider_id
from vai.secret import Secret
from vai.types.provider import ProviderSpec

__all__ = [
    "HEADER_PREFIX",
    "add_presented_keys",
    "choose_key",
    "collect_keys",
    "header_name",
    "missing_key_error",
]

HEADER_PREFIX = "x-provider-key-"


def collect_keys(headers: HeaderFields, body: Mapping[str, str] | None) -> dict[str, ProviderKey]:
    """Provider name -> key, for the keys in a request's headers and body.

    Raises:
        InvalidRequest: a value cannot be a key (the error names its source and does not quote
            it), or a header occurs more than once.
    """
    keys: dict[str, ProviderKey] = {}
    # One search of all names costs a fifth of one of each, and hardly any request has such a name.
    if HEADER_PREFIX in "\n".join(headers):
        _add_named_keys(keys, headers)
    for name, value in (body or {}).items():
        _add_key(keys, provider_id(name), value, f"provider_keys.{provider_id(name)[:64]}")
    return keys


def add_presented_keys(
    keys: dict[str, ProviderKey],
    presented: tuple[ProviderKey, ...],
    targets: Iterable[ProviderSpec],
) -> None:
    """Add to `keys` those in the headers that the providers' own clients use.

    Args:
        targets: providers of the request's targets; the first is the requested one.
    """
    requested = ""
    for target in targets:
        requested = requested or target.id
        if choose_key(target.id, keys) is None:
            key = find_key(presented, target, requested=target.id == requested)
            if key is not None:
                keys[target.id] = key


def choose_key(provider: str, keys: Mapping[str, ProviderKey]) -> ProviderKey | None:
    """The BYOK key for `provider`."""
    return keys.get(provider) or keys.get(SHARED_KEYS.get(provider, ""))


def header_name(provider: str) -> str:
    """The header that carries a key for `provider`, as the documentation spells it."""
    return "X-Provider-Key-" + "-".join(part.capitalize() for part in provider.split("-"))


def missing_key_error(
    spec: ProviderSpec, *, may_use_gateway_key: bool, has_any_key: bool = True
) -> AuthenticationFailed:
    """The error for a missing key of one provider, or for a request without any BYOK key.

    Args:
        may_use_gateway_key: whether the gateway's own keys may be used, so that its operator can
            set one.
    """
    name = header_name(spec.id)
    what = f"No key for provider {spec.id}" if has_any_key else "Missing provider keys"
    remedies = [f"bring one in {name}"]
    native_header = _native_header(spec)
    if may_use_gateway_key and spec.kind == "code-assist":
        remedies = ["the operator of this gateway logs in with `vai login gemini`"]
    elif may_use_gateway_key:
        variable = f"{spec.env[0]} or " if spec.env else ""
        remedies.append(f"the operator of this gateway sets {variable}providers.{spec.id}.api_key")
    elif native_header is not None:
        remedies.append(f"where the provider's own clients put it, `{native_header}`")
    return AuthenticationFailed(
        f"{what}: {', or '.join(remedies)}",
        param=name,
        code="provider_key_missing",
        provider=spec.id,
    )


def _native_header(spec: ProviderSpec) -> str | None:
    """The header that the provider's own clients use for their key, if VAI reads it."""
    if spec.kind == "code-assist":
        return None
    if spec.auth == "bearer":
        return "Authorization: Bearer KEY"
    return f"{spec.auth.lower()}: KEY" if spec.auth.lower() in PROVIDER_FIELDS else None


def _add_named_keys(keys: dict[str, ProviderKey], headers: HeaderFields) -> None:
    """Add to `keys` those in the headers that name a provider."""
    seen: set[str] = set()
    for name, value in headers.pairs:
        if name.startswith(HEADER_PREFIX):
            if name in seen:
                raise InvalidRequest(
                    f"{name}: expected this header once", param=name, code="header_repeated"
                )
            seen.add(name)
            _add_key(keys, provider_id(name.removeprefix(HEADER_PREFIX)), value, name)


def _add_key(keys: dict[str, ProviderKey], provider: str, value: str, source: str) -> None:
    text = value.strip()
    if text and provider not in keys:  # headers are read first and win
        keys[provider] = ProviderKey(Secret(text, source))

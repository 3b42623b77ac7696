"""The identity of the client.

Invariants: identification is a function of the presented key and the configured keys alone. It
does no I/O, and it compares keyed digests of keys, so its time does not depend on how much of a
guessed key is right.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping

import msgspec

from vai.config import Settings
from vai.config.schema import ApiKey
from vai.errors import AuthenticationFailed, InvalidRequest, PermissionDenied
from vai.gateway.admission.byok import HEADER_PREFIX
from vai.gateway.admission.principals import PrincipalRegistry
from vai.io.http.provider_keys import (
    GATEWAY_KEY_FIELD,
    PROVIDER_FIELDS,
    ProviderKey,
    bearer_token,
    is_of_known_maker,
)
from vai.policy.hosts import AllowedHosts
from vai.policy.limits.sets import Principal
from vai.secret import Secret

__all__ = ["ClientIdentity", "Keyring"]


class ClientIdentity(msgspec.Struct, frozen=True):
    """The client, as limits, logs and settings name it. Never its key.

    `principals` are those that its requests count for; none for clients without a key, which
    count by address.
    """

    user_id: str
    key_name: str
    principals: tuple[Principal, ...] = ()


_DIGEST = 32
"""Bytes of a key's digest."""
_KEY_FIELDS = frozenset({GATEWAY_KEY_FIELD, *PROVIDER_FIELDS})
_FIELD_SPELLING = {
    "authorization": "Authorization",
    "x-api-key": "x-api-key",
    GATEWAY_KEY_FIELD: "X-VAI-Key",
}
_PLACEHOLDER_PREFIXES = ("'", '"', "$", "%", "<", "{")
"""First characters of a key in quotes, or of a variable that no shell has replaced."""
_ANONYMOUS = ClientIdentity("anonymous", "none")
_PASSTHROUGH = ClientIdentity("passthrough", "none")


class Keyring:
    """The configured keys and the mode they are used in."""

    def __init__(self, settings: Settings, principals: PrincipalRegistry) -> None:
        self.mode = settings.auth.mode
        self._allowed_origins = frozenset(settings.cors.allowed_origins)
        self._hosts = AllowedHosts(settings.auth.allowed_hosts)
        # A new key in each process: its digests are useless outside of it.
        self._pepper = secrets.token_bytes(32)
        keys = [
            (self._digest_key(key.key.reveal()), _identity_from_key(key, number, principals))
            for number, key in enumerate(settings.auth.api_keys, start=1)
        ]
        self._identities = {digest: (digest, identity) for digest, identity in keys}
        self._decoy = (secrets.token_bytes(_DIGEST), _ANONYMOUS)

    def identify(self, headers: Mapping[str, str], repeated: Iterable[str] = ()) -> ClientIdentity:
        """The client that these request headers identify.

        Args:
            headers: lower-case name -> value.
            repeated: the names that occur more than once.

        Raises:
            AuthenticationFailed: a key is required, and is missing or unknown.
            InvalidRequest: a field that presents a key occurs more than once.
            PermissionDenied: no key is required, and the request is from a page of another origin.
        """
        if repeated:
            _refuse_repeated(repeated)
        if self.mode == "none":
            self._refuse_foreign_page(headers.get("origin"))
            return _ANONYMOUS
        gateway_key = _header_value(headers, GATEWAY_KEY_FIELD)
        if self.mode == "passthrough" and gateway_key is None:
            return self._identify_payer(headers)
        presented = gateway_key or bearer_token(headers) or _header_value(headers, "x-api-key")
        if presented is None:
            raise _missing_key_error(headers)
        identity = self._find_identity(presented)
        if identity is None:
            raise _invalid_key_error(presented, headers)
        return identity

    def provider_keys(self, headers: Mapping[str, str]) -> tuple[ProviderKey, ...]:
        """The BYOK keys in the headers that the providers' own clients use.

        VAI reads them only in passthrough mode, or beside a key of this gateway in `X-VAI-Key`
        where keys are required; else those headers hold the gateway's key. A key of this gateway is
        never among them.

        Raises:
            InvalidRequest: a value cannot be a key; the error names its header.
        """
        if self.mode != "passthrough" and (
            self.mode == "none" or _header_value(headers, GATEWAY_KEY_FIELD) is None
        ):
            return ()
        return tuple(
            ProviderKey(Secret(value, field), field)
            for field in PROVIDER_FIELDS
            if (value := _provider_key(headers, field)) and self._find_identity(value) is None
        )

    def check_host(self, headers: Mapping[str, str]) -> None:
        """See `vai.policy.hosts`; without effect where a key is required.

        Raises:
            PermissionDenied: the host name is that of another site.
        """
        if self.mode == "none" and not self._hosts.allows_host(headers.get("host", "")):
            raise PermissionDenied(
                "This server is not reached by this name; expected an address, a local name, or "
                "one of auth.allowed_hosts",
                param="host",
                code="host_not_allowed",
            )

    def _identify_payer(self, headers: Mapping[str, str]) -> ClientIdentity:
        """The client in passthrough mode, where a key that is not this gateway's is a provider's.

        Raises:
            AuthenticationFailed: the key is neither. A client that names providers in headers
                sends this gateway's key in the others, and a wrong one would go to a provider.
        """
        presented = (bearer_token(headers), _header_value(headers, "x-api-key"))
        keys = [key for key in presented if key is not None]
        for key in keys:
            identity = self._find_identity(key)
            if identity is not None:
                return identity
        names_providers = any(name.startswith(HEADER_PREFIX) for name in headers)
        if keys and names_providers and not any(map(is_of_known_maker, keys)):
            raise _invalid_key_error(keys[0], headers)
        return _PASSTHROUGH

    def _find_identity(self, key: str) -> ClientIdentity | None:
        """The client of this key. Configured and unknown keys take the same steps: a look-up and
        one comparison."""
        digest = self._digest_key(key)
        stored, identity = self._identities.get(digest, self._decoy)
        return identity if hmac.compare_digest(stored, digest) else None

    def _refuse_foreign_page(self, origin: str | None) -> None:
        """Refuse a web page of an origin that is not allowed, where no key is required.

        Any page in a browser on this machine can reach the gateway: a form post needs no preflight,
        and a rebound name makes it same-origin. Browsers send the page's origin in each post.
        """
        if (
            origin is not None
            and origin not in self._allowed_origins
            and "*" not in self._allowed_origins
        ):
            raise PermissionDenied(
                "Web pages of this origin may not call; see cors.allowed_origins",
                param="origin",
                code="origin_not_allowed",
            )

    def _digest_key(self, key: str) -> bytes:
        # BLAKE2's keyed mode is a MAC by itself (RFC 7693); HMAC costs twice as much.
        text = key.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._pepper, digest_size=_DIGEST).digest()


def _identity_from_key(key: ApiKey, number: int, principals: PrincipalRegistry) -> ClientIdentity:
    name = key.name or f"key_{number}"
    user_id = key.user_id or name
    return ClientIdentity(user_id, name, principals.principals_of_key(key, user_id, name))


def _missing_key_error(headers: Mapping[str, str]) -> AuthenticationFailed:
    """The error for a request without a readable key."""
    what = "Missing API key"
    if headers.get("authorization"):
        what += ": Authorization is there, and holds no Bearer token"
    elif headers.get("x-goog-api-key"):
        what += ": x-goog-api-key is read for a provider's key alone"
    return AuthenticationFailed(
        f"{what}; expected this gateway's key in `Authorization: Bearer KEY` or `x-api-key: KEY`, "
        "or in `X-VAI-Key: KEY` beside a provider's own key",
        param="authorization",
    )


def _invalid_key_error(key: str, headers: Mapping[str, str]) -> AuthenticationFailed:
    """The error for an unknown key. It names the header, never the key."""
    has_gateway_field = _header_value(headers, GATEWAY_KEY_FIELD) is not None
    field = (
        GATEWAY_KEY_FIELD
        if has_gateway_field
        else "authorization"
        if bearer_token(headers)
        else "x-api-key"
    )
    what = "it is no key of this gateway"
    if key.startswith(_PLACEHOLDER_PREFIXES):
        what += "; expected it without quotes, and not the name of a variable that holds it"
    if is_of_known_maker(key):
        what = "it has the form of a provider's key; expected one of this gateway"
        if not has_gateway_field:
            what += ", in X-VAI-Key where the provider's goes along"
    return AuthenticationFailed(f"Invalid API key in {_FIELD_SPELLING[field]}: {what}", param=field)


def _refuse_repeated(names: Iterable[str]) -> None:
    """Refuse a field that presents a key and is repeated, because two servers on the way may each
    use another of its values (RFC 9110 section 5.3)."""
    for name in names:
        if name in _KEY_FIELDS:
            raise InvalidRequest(
                f"{name}: expected this header once", param=name, code="header_repeated"
            )


def _provider_key(headers: Mapping[str, str], field: str) -> str | None:
    return bearer_token(headers) if field == "authorization" else _header_value(headers, field)


def _header_value(headers: Mapping[str, str], field: str) -> str | None:
    """The bare key in `field`, None without one."""
    value = headers.get(field)
    return value.strip() or None if value else None

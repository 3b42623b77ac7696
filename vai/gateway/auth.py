"""Who is calling.

The law of this module: identification is a total function of the presented key and the
configured keys. It does no I/O, and a key exists here only as its keyed digest, so the
time it takes says nothing about how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

import msgspec

from vai.config import Settings
from vai.config.schema import ApiKey
from vai.errors import AuthenticationFailed, PermissionDenied
from vai.gateway.subjects import Subjects
from vai.policy.limits.sets import Subject

__all__ = ["Identity", "Keyring"]


class Identity(msgspec.Struct, frozen=True):
    """The caller, as limits, logs and settings name it. Never its key.

    `subjects` are those it counts for; none for callers without a key, who count by address.
    """

    user_id: str
    key_name: str
    subjects: tuple[Subject, ...] = ()


_ANONYMOUS = Identity("anonymous", "none")
_PASSTHROUGH = Identity("passthrough", "none")


class Keyring:
    """The configured keys and the mode they are used in."""

    def __init__(self, settings: Settings, subjects: Subjects) -> None:
        self.mode = settings.auth.mode
        self._pages = frozenset(settings.cors.allowed_origins)
        # Keyed anew in each process: a digest is worth nothing outside of it.
        self._pepper = secrets.token_bytes(32)
        self._identities = {
            self._digest(key.key.reveal()): _identity(key, number, subjects)
            for number, key in enumerate(settings.auth.api_keys, start=1)
        }

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """The caller that these request headers present.

        Raises:
            AuthenticationFailed: a key is needed and there is none, or it is not known.
            PermissionDenied: none is needed, and a web page of another origin asks.
        """
        if self.mode == "none":
            self._refuse_foreign_page(headers.get("origin"))
            return _ANONYMOUS
        presented = _presented(headers)
        if presented is None:
            if self.mode == "passthrough":
                return _PASSTHROUGH
            raise AuthenticationFailed("Missing API key")
        identity = self._identities.get(self._digest(presented))
        if identity is None:
            raise AuthenticationFailed("Invalid API key")
        return identity

    def _refuse_foreign_page(self, origin: str | None) -> None:
        """Where no key is asked for, reaching the address is all that authority takes, and any
        page that a browser on this machine shows can do that: a form post needs no preflight,
        and a rebound name makes it same-origin. Browsers name the page's origin in each post.
        """
        if origin is not None and origin not in self._pages and "*" not in self._pages:
            raise PermissionDenied(
                "Web pages of this origin may not call; see cors.allowed_origins",
                param="origin",
                code="origin_not_allowed",
            )

    def _digest(self, key: str) -> bytes:
        # BLAKE2's keyed mode is a MAC by itself (RFC 7693); HMAC costs twice as much.
        text = key.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._pepper, digest_size=32).digest()


def _identity(key: ApiKey, number: int, subjects: Subjects) -> Identity:
    name = key.name or f"key_{number}"
    user_id = key.user_id or name
    return Identity(user_id, name, subjects.of_key(key, user_id, name))


def _presented(headers: Mapping[str, str]) -> str | None:
    """``Authorization: Bearer`` first, then ``x-api-key``."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key", "").strip() or None

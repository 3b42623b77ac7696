"""Whose key a caller's header holds, and how a provider is shown a key.

Invariants: a key whose form names its maker goes to that provider alone; any other key in a
provider's own header goes to the provider that the request names, and to no fallback. A key
leaves in the header that its provider reads it from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from vai.secret import Secret
from vai.types.provider import AuthStyle, ProviderSpec

__all__ = [
    "GATEWAY_KEY_FIELD",
    "PROVIDER_FIELDS",
    "Presentation",
    "ProviderKey",
    "bearer_token",
    "choose_presentation",
    "find_key",
    "is_of_known_maker",
]

GATEWAY_KEY_FIELD: Final = "x-vai-key"
"""The header of a gateway's key alone: beside it the others hold a provider's."""
PROVIDER_FIELDS: Final = ("authorization", "x-api-key", "x-goog-api-key")
"""Where the providers' own clients put a key."""
_MAKERS: Final = (
    ("sk-ant-", frozenset({"anthropic"})),
    ("gsk_", frozenset({"groq"})),
    ("csk-", frozenset({"cerebras"})),
    ("sk-proj-", frozenset({"openai", "oai-resp"})),
    ("sk-svcacct-", frozenset({"openai", "oai-resp"})),
    ("AIza", frozenset({"gemini"})),
    ("ya29.", frozenset({"gemini-oauth"})),
)
"""Beginnings of keys that one maker alone gives out, and the providers they open."""
_PLAN_TOKEN: Final = "sk-ant-oat"  # noqa: S105 - the beginning of all such tokens
_API_KEY: Final = "sk-ant-api"
_PLAN_BETA: Final = "oauth-2025-04-20"
"""Anthropic takes a plan's token only beside this beta, and only as a bearer token
(Claude Code 2.1, 2026-11-27)."""


class ProviderKey(msgspec.Struct, frozen=True):
    """A provider's key that a caller brought.

    `field` is the header in which a client of the provider put it, "" where the caller named
    the provider.
    """

    secret: Secret
    field: str = ""


class Presentation(msgspec.Struct, frozen=True):
    """How a key is shown: the header, and what `anthropic-beta` must list beside it."""

    style: AuthStyle
    betas: tuple[str, ...] = ()


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of ``Authorization: Bearer``, None without one (RFC 6750 section 2.1)."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def find_key(
    keys: Iterable[ProviderKey], spec: ProviderSpec, *, requested: bool
) -> ProviderKey | None:
    """The key among `keys` that may be shown to the provider of `spec`.

    Args:
        keys: those in the headers of providers' own clients.
        requested: whether the request names this provider; False for a fallback.
    """
    unmarked: dict[str, ProviderKey] = {}
    for key in keys:
        makers = _makers_of(key.secret.reveal())
        if makers is None:
            unmarked[key.field] = key
        elif spec.id in makers:
            return key
    if not requested:
        return None
    field = "authorization" if spec.auth == "bearer" else spec.auth.lower()
    if field in unmarked and spec.kind != "code-assist":  # that one is the operator's login
        return unmarked[field]
    return unmarked.get("authorization") if spec.kind == "anthropic" else None


def is_of_known_maker(token: str) -> bool:
    """Whether the form of `token` names the provider that gave it out."""
    return _makers_of(token) is not None


def choose_presentation(spec: ProviderSpec, key: ProviderKey) -> Presentation:
    """How the provider of `spec` is shown `key`."""
    token = key.secret.reveal()
    if spec.kind != "anthropic" or spec.auth not in ("x-api-key", "bearer"):
        return Presentation(spec.auth)
    if token.startswith(_PLAN_TOKEN):
        return Presentation("bearer", (_PLAN_BETA,))
    if key.field == "authorization" and not token.startswith(_API_KEY):
        return Presentation("bearer")
    return Presentation(spec.auth)


def _makers_of(token: str) -> frozenset[str] | None:
    for beginning, providers in _MAKERS:
        if token.startswith(beginning):
            return providers
    return None

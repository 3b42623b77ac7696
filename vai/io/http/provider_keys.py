"""Provider keys: which provider a key may go to, how it is presented, what must not come back.

Invariants: a key whose form names its maker goes to that provider alone; any other key in a
provider's own header goes to the provider that the request names, and to no fallback. A key
leaves in the header that its provider reads it from.

A `Credential` belongs to one origin. It checks the origin where it renders the header, and that
is the only exit of the secret: a wrong base URL, a redirect or a mixed-up spec ends in an error
and not in a leaked key.

A `KeyFilter` removes a key from the response of the provider that got it. Servers quote the key
that they refuse, proxies quote whole requests, and a body may quote it anywhere: in an error, an
event, a member of either. Only this side of the connection has the key, so that the filter
stands here, before anything reads the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NoReturn, final
from urllib.parse import quote

import msgspec

from vai.io.http.head import Origin
from vai.secret import Secret
from vai.types.provider import AuthStyle, ProviderSpec

__all__ = [
    "GATEWAY_KEY_FIELD",
    "PROVIDER_FIELDS",
    "Credential",
    "KeyFilter",
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
    """A provider's key that a client brought.

    `field` is the header in which a client of the provider put it, "" where the client named
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


@final
class Credential:
    """A secret and the only origin it may be sent to."""

    __slots__ = ("_origin", "_secret")

    def __init__(self, secret: Secret, origin: Origin) -> None:
        self._secret = secret
        self._origin = origin

    def to_header(self, origin: Origin, style: AuthStyle) -> tuple[str, str]:
        """The header that presents the secret to `origin`.

        Raises:
            ValueError: `origin` is not the one the credential is bound to.
        """
        if origin != self._origin:
            raise ValueError("the credential is bound to another origin")
        if style == "bearer":
            return "Authorization", "Bearer " + self._secret.reveal()
        return style, self._secret.reveal()

    def __repr__(self) -> str:
        return f"Credential({self._secret!r}, {self._origin.authority})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential cannot be pickled")


_INSTEAD: Final = "[redacted]"
_SHORTEST: Final = 10
"""Characters of a key that is looked for. What local servers are given ("none", "lm-studio")
is a word that a response may contain."""
_PLAIN: Final = re.compile(r"[\w.~-]+", re.ASCII)
"""A key that every text writes in the same way."""


@final
class KeyFilter:
    """Replaces secrets in one response, however its bytes are cut.

    Secrets that are too short to differ from words stay. The filter matches a secret as it was
    sent, and as JSON and URLs write it; another encoding of it can hide anything.
    """

    __slots__ = ("_held", "_keys")

    def __init__(self, secrets: list[str]) -> None:
        self._keys = [
            form.encode()
            for key in secrets
            if len(key) >= _SHORTEST
            for form in _encoded_forms(key)
        ]
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """More of a body, without the secrets; a beginning of one at its end is held back."""
        if self._held:
            data, self._held = self._held + data, b""
        held = 0
        for key in self._keys:
            if key in data:
                data = data.replace(key, _INSTEAD.encode())
            # Nearly never: events and JSON end in a character that no key has.
            if data and data[-1] in key:
                held = max(held, _count_key_prefix(key, data))
        if held:
            data, self._held = data[:-held], data[-held:]
        return data

    def flush(self) -> bytes:
        """What was held back: the body is over, so it is no secret."""
        held, self._held = self._held, b""
        return held

    def redact_headers(self, fields: dict[str, str]) -> dict[str, str]:
        """Header fields without the secrets."""
        for key in self._keys:
            text = key.decode()
            for name, value in fields.items():
                if text in value:
                    fields[name] = value.replace(text, _INSTEAD)
        return fields

    def __repr__(self) -> str:
        return f"KeyFilter(<{len(self._keys)} hidden>)"


def _encoded_forms(key: str) -> tuple[str, ...]:
    """How a text may write `key`; nearly all keys are written in one way, whatever the text."""
    if _PLAIN.fullmatch(key):
        return (key,)
    in_json = key.replace("\\", "\\\\").replace('"', '\\"')
    slashed = in_json.replace("/", "\\/")
    # The longer a form, the earlier it is replaced: none of them may be cut by another.
    forms = {key, in_json, slashed, quote(key, safe=""), quote(key)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _count_key_prefix(key: bytes, data: bytes) -> int:
    """How many bytes at the end of `data` are the beginning of `key`."""
    start = max(0, len(data) - len(key) + 1)
    while (start := data.find(key[:1], start)) >= 0:
        if key.startswith(data[start:]):
            return len(data) - start
        start += 1
    return 0

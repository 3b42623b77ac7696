"""Provider keys: where VAI may send a key, how it presents the key, and how it filters responses.

Invariants: a key whose form names its issuer goes to that provider alone; any other key in a
provider's own header goes to the provider that the request names, and to no fallback. VAI sends a
key in the header from which its provider reads it.

A `Credential` belongs to one origin. It checks the origin where it renders the header, the only
place that reveals the secret: a wrong base URL, a redirect or a wrong spec raises an error
instead of leaking a key.

A `KeyFilter` removes a key from the response of the provider that received it. Servers quote the
key that they refuse, proxies quote whole requests, and a body may quote it anywhere: in an error,
an event, a member of either. Only this side of the connection has the key, so the filter is here,
before anything reads the response.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
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
"""The header for a client's key to the gateway; beside it the other headers hold BYOK keys."""
PROVIDER_FIELDS: Final = ("authorization", "x-api-key", "x-goog-api-key")
"""The headers in which the providers' own clients send a key."""
_MAKERS: Final = (
    ("sk-ant-", frozenset({"anthropic"})),
    ("gsk_", frozenset({"groq"})),
    ("csk-", frozenset({"cerebras"})),
    ("sk-proj-", frozenset({"openai", "oai-resp"})),
    ("sk-svcacct-", frozenset({"openai", "oai-resp"})),
    ("AIza", frozenset({"gemini"})),
    ("ya29.", frozenset({"gemini-oauth"})),
)
"""Beginnings of keys that one issuer alone uses, and the providers that accept them."""
_PLAN_TOKEN: Final = "sk-ant-oat"  # noqa: S105 - the beginning of all such tokens
_API_KEY: Final = "sk-ant-api"
_PLAN_BETA: Final = "oauth-2025-04-20"
"""Anthropic accepts a plan's token only beside this beta, and only as a bearer token
(Claude Code 2.1, 2026-11-27)."""


class ProviderKey(msgspec.Struct, frozen=True):
    """A BYOK key.

    `field` is the header in which a client of the provider sent it, "" where the client named
    the provider.
    """

    secret: Secret
    field: str = ""


class Presentation(msgspec.Struct, frozen=True):
    """How VAI presents a key: the header, and what `anthropic-beta` must list beside it."""

    style: AuthStyle
    betas: tuple[str, ...] = ()


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of ``Authorization: Bearer``, None without one (RFC 6750 section 2.1)."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def find_key(
    keys: Iterable[ProviderKey], spec: ProviderSpec, *, requested: bool
) -> ProviderKey | None:
    """The key among `keys` that VAI may send to the provider of `spec`.

    Args:
        keys: the keys in the headers of providers' own clients.
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
    """Whether the form of `token` names the provider that issued it."""
    return _makers_of(token) is not None


def choose_presentation(spec: ProviderSpec, key: ProviderKey) -> Presentation:
    """How VAI presents `key` to the provider of `spec`."""
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
"""The shortest key that the filter looks for. The keys of local servers ("none", "lm-studio") are
words that a response may contain."""
_FREQUENT: Final = b'"(),.0123456789:_[]{}abcdefhijklmnoprstuvxy'
"""Bytes that most events and JSON texts have."""
_PLAIN: Final = re.compile(r"[\w.~-]+", re.ASCII)
"""A key that has the same form in every text."""


@final
class KeyFilter:
    """Replaces secrets in one response, however its bytes are split.

    Secrets that are too short to differ from words stay. The filter matches a secret as VAI sent
    it, and as JSON and URLs encode it; it does not find other encodings.
    """

    __slots__ = ("_held", "_keys")

    def __init__(self, secrets: list[str]) -> None:
        self._keys = [
            (form, _choose_rare_byte(form))
            for key in secrets
            if len(key) >= _SHORTEST
            for form in map(str.encode, _encoded_forms(key))
        ]
        self._held = b""

    @property
    def is_empty(self) -> bool:
        """Whether there is no secret to look for."""
        return not self._keys

    def copy_for_response(self) -> KeyFilter:
        """A filter of the same secrets, for another response."""
        # Half of what the constructor would take.
        key_filter: KeyFilter = KeyFilter.__new__(KeyFilter)
        key_filter._keys, key_filter._held = self._keys, b""
        return key_filter

    def feed(self, data: bytes) -> bytes:
        """More of a body, without the secrets; a beginning of one at its end is held back."""
        if self._held:
            data, self._held = self._held + data, b""
        held = 0
        for key, rare in self._keys:
            # To look for a byte costs a tenth of looking for a key, and mostly there is none.
            if rare in data and key in data:
                data = data.replace(key, _INSTEAD.encode())
            # Nearly never: events and JSON end in a character that no key has.
            if data and data[-1] in key:
                held = max(held, _count_key_prefix(key, data))
        if held:
            data, self._held = data[:-held], data[-held:]
        return data

    def filter_for(self, sink: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
        """A sink that feeds what it gets, and passes what is left of it to `sink`."""
        keys = self._keys

        def feed_piece(data: bytes) -> bool:
            if not self._held and len(keys) == 1:
                # As in `feed`, for nearly every event: that call takes longer than this look.
                key, rare = keys[0]
                if data and data[-1] not in key and (rare not in data or key not in data):
                    return sink(data)
            data = self.feed(data)
            return sink(data) if data else True

        return feed_piece

    def flush(self) -> bytes:
        """The bytes held back: the body has ended, so they are no secret."""
        held, self._held = self._held, b""
        return held

    def redact_headers(self, fields: dict[str, str]) -> dict[str, str]:
        """Header fields without the secrets."""
        for key, _ in self._keys:
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
    # Longer forms are replaced first, so that no form is cut by a shorter one.
    forms = {key, in_json, slashed, quote(key, safe=""), quote(key)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _choose_rare_byte(key: bytes) -> int:
    """A byte of `key` that few texts have, if there is one."""
    return (key.translate(None, _FREQUENT) or key)[-1]


def _count_key_prefix(key: bytes, data: bytes) -> int:
    """How many bytes at the end of `data` are the beginning of `key`."""
    start = max(0, len(data) - len(key) + 1)
    while (start := data.find(key[:1], start)) >= 0:
        if key.startswith(data[start:]):
            return len(data) - start
        start += 1
    return 0

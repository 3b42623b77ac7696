"""A provider's key that comes back from the provider, and goes no further.

Servers quote the key that they refuse, proxies quote whole requests, and a body may quote it
anywhere: in an error, an event, a member of either. Only this side of the connection knows the
key, so its answers are looked through here, whatever is made of them later.
"""

from __future__ import annotations

import re
from typing import Final, final
from urllib.parse import quote

__all__ = ["KeyFilter"]

_INSTEAD: Final = "[redacted]"
_SHORTEST: Final = 10
"""Characters of a key that is looked for. What local servers are given ("none", "lm-studio")
is a word that an answer may contain."""
_PLAIN: Final = re.compile(r"[\w.~-]+", re.ASCII)
"""A key that every text writes in the same way."""


@final
class KeyFilter:
    """Replaces secrets in one answer, however its bytes are cut.

    Secrets that are too short to be told from words are left alone. A secret is found as it was
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

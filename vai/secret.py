"""A type for secrets, so that no secret gets into a text by accident.

It has no repr of its value, no pickle, no copy and no JSON form; only `reveal` returns the value,
and is easy to search for. The constructor checks the alphabet, before any library could quote the
value in an error (h11 does).
"""

from __future__ import annotations

import hmac
import re
from typing import Final, NoReturn, final

from vai.errors import InvalidRequest

__all__ = ["SECRET_LIMIT", "Secret"]

SECRET_LIMIT: Final = 4096
"""Bytes. Longer than any provider's key or token, shorter than any server's header limit."""

# Printable ASCII with single inner spaces: every header parser keeps it unchanged.
_ALPHABET: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


@final
class Secret:
    """An API key or token.

    Args:
        value: the secret itself.
        name: its source (a header or setting name), for the error.

    Raises:
        InvalidRequest: not printable ASCII, empty, or above `SECRET_LIMIT`. The error
            names the source, never the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, name: str = "credential") -> None:
        if len(value) > SECRET_LIMIT or not _ALPHABET.fullmatch(value):
            raise InvalidRequest(
                f"{name}: expected 1 to {SECRET_LIMIT} printable ASCII characters",
                param=name,
                code="invalid_credential",
            )
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the bytes that go on the wire."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('****')"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")

"""A secret is a type of its own, so that showing one takes a deliberate call.

The law of this module: no representation, format, comparison failure, pickle or
serializer ever yields the text; only `reveal()` does.
"""

from __future__ import annotations

import hmac
from typing import Final, NoReturn, final

__all__ = ["Secret"]

MASK: Final = "********"


@final
class Secret:
    """A string that does not show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str, /) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text. Call it where it goes on the wire, and keep the result nowhere."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

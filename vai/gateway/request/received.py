"""What is read of a request to choose its mode: its body and its header fields.

Sanic's request has both; so has the copy that travels to another process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["HeaderFields", "ReceivedRequest", "RequestCopy"]


class HeaderFields(Protocol):
    """Header fields by their name, in any case; a name may come more than once."""

    def get(self, name: str, default: str, /) -> str:
        """The first value of a field."""
        ...

    def getall(self, name: str, /) -> list[str]:
        """All values of a field that is there."""
        ...

    def items(self) -> Iterable[tuple[str, str]]:
        """All fields in their order."""
        ...

    def __contains__(self, name: object, /) -> bool: ...


class ReceivedRequest(Protocol):
    """A request whose body has been received."""

    @property
    def body(self) -> bytes:
        """As it came."""
        ...

    @property
    def headers(self) -> HeaderFields:
        """All of its header fields."""
        ...


class RequestCopy:
    """The same, with nothing of the connection it came on."""

    def __init__(self, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.body = body
        self.headers: HeaderFields = _FieldList(headers)


class _FieldList:
    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = [(name.lower(), value) for name, value in fields]

    def get(self, name: str, default: str, /) -> str:
        return next((value for known, value in self._fields if known == name.lower()), default)

    def getall(self, name: str, /) -> list[str]:
        return [value for known, value in self._fields if known == name.lower()]

    def items(self) -> Iterable[tuple[str, str]]:
        return self._fields

    def __contains__(self, name: object, /) -> bool:
        return isinstance(name, str) and any(known == name.lower() for known, _ in self._fields)

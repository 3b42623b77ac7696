"""Sanic's request, with the header fields as the guard has split them."""

from __future__ import annotations

from typing import Any

from sanic import Request
from sanic.compat import Header

from vai.codec.head import HeaderFields

__all__ = ["PatchedRequest"]


class PatchedRequest(Request[Any, Any]):
    """A request whose header fields are plain values as well.

    Sanic's `headers` has the same fields; a look-up there takes four times as long.
    """

    __slots__ = ("_headers", "header_fields")

    header_fields: HeaderFields
    _headers: Header | None

    @property
    def headers(self) -> Header:
        """The header fields in Sanic's form, made when they are first used."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Header(self.header_fields.pairs)
        return headers

    @headers.setter
    def headers(self, headers: Header) -> None:
        # Sanic's constructor sets an empty one, which stands for `header_fields`.
        self._headers = headers or None

    @property
    def has_response_middleware(self) -> bool:
        """Whether a response passes through middleware."""
        route = self.route
        middleware = (route and route.extra.response_middleware) or self.app.response_middleware
        return bool(middleware)

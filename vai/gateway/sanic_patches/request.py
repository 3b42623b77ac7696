"""Sanic's request, with the header fields as the guard has split them."""

from __future__ import annotations

from typing import Any

from sanic import Request

from vai.codec.head import HeaderFields

__all__ = ["PatchedRequest"]


class PatchedRequest(Request[Any, Any]):
    """A request whose header fields are plain values as well.

    Sanic's `headers` has the same fields; a look-up there takes four times as long.
    """

    __slots__ = ("header_fields",)

    header_fields: HeaderFields

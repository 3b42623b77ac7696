"""The head of a response: which headers go with it, and how a failure is written."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping

from sanic.response import HTTPResponse

from vai.codec.json import dumps
from vai.errors import AuthenticationFailed, UpstreamFault, VaiError
from vai.gateway.request.context import RequestContext
from vai.policy.cost import format_cost
from vai.policy.headers import headers_from_upstream
from vai.policy.limits.decision import rate_limit_headers
from vai.types.message import Usage

__all__ = [
    "GatewayResponse",
    "content_type_of",
    "make_error_frame",
    "make_error_response",
    "make_headers",
    "make_usage_headers",
]

_MAX_VALUE = 1024
"""Characters of a value that a client chose. Clients refuse a head that is longer than theirs
may be, and a model name or the name of a dropped member can be as long as a body."""


_SPLITTERS = re.compile(r"[\x00\r\n]")


class GatewayResponse(HTTPResponse):
    """A response whose header fields are encoded in one go.

    Sanic looks at each name and value on its own for what could split a header; that is a
    sixth of a small request. Here one look at all of them together finds whether there is
    anything to look for.
    """

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        self.headers.setdefault("content-type", self.content_type)
        fields = self.headers.items()
        texts = [f"{part}" for field in fields for part in field]
        text = "".join(texts)
        if text.isascii() and text.isprintable():
            # Encoded as one text too, and cut where nothing printable is.
            parts = iter("\n".join(texts).encode().split(b"\n"))
            return zip(parts, parts, strict=True)
        if _SPLITTERS.search(text):
            return super().processed_headers
        # An upstream's bytes were read as Latin-1, which gives them back as they were.
        return iter(
            [(name.encode(), f"{value}".encode("latin-1", "replace")) for name, value in fields]
        )


def make_headers(
    context: RequestContext,
    upstream: Mapping[str, str] | None = None,
    dropped: list[str] | None = None,
) -> dict[str, str]:
    """The headers every response of an exchange carries.

    `upstream` are the fields of a verbatim response, which go back to the client; a
    translated one has none. `dropped` are the request fields the target could not take.
    """
    headers = dict(headers_from_upstream(upstream)) if upstream is not None else {}
    headers["x-request-id"] = context.request_id
    headers.setdefault("request-id", context.request_id)
    if context.route is not None:
        headers["x-model"] = context.route.name[:_MAX_VALUE]
    if context.is_simulated:
        headers["x-vai-simulated"] = "true"
    if context.limits is not None:
        headers |= rate_limit_headers(context.limits, time.time())
    _add_attempts(headers, context)
    if dropped:
        headers["x-vai-dropped"] = ",".join(dropped)[:_MAX_VALUE]
    return headers


def content_type_of(status: int, upstream: Mapping[str, str]) -> str:
    """The content type of a response that is passed on, or is made here: JSON, but for an error
    page of a server before the provider."""
    return upstream.get("content-type", "application/json") if status >= 400 else "application/json"


def make_usage_headers(usage: Usage, duration: float, usd: float | None = None) -> dict[str, str]:
    """Counters, time and cost of a JSON response. `duration` in seconds."""
    headers = {"x-duration-ms": str(round(duration * 1000))}
    if usd is not None:
        headers["x-cost-usd"] = format_cost(usd)
    if usage.input_tokens is not None:
        headers["x-input-tokens"] = str(usage.input_tokens)
    if usage.output_tokens is not None:
        headers["x-output-tokens"] = str(usage.output_tokens)
        if usage.input_tokens is not None:
            headers["x-total-tokens"] = str(usage.input_tokens + usage.output_tokens)
    return headers


def make_error_response(error: VaiError, context: RequestContext) -> HTTPResponse:
    """`error` as the response to a request of which no byte has been answered."""
    context.status, context.error = error.status, error
    _name_provider(error, context)
    headers = {"x-request-id": context.request_id, "request-id": context.request_id}
    if error.retry_after:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    if error.upstream_request_id is not None:
        headers["x-vai-upstream-id"] = error.upstream_request_id
    if isinstance(error, AuthenticationFailed):  # RFC 9110 section 11.6.1
        headers["www-authenticate"] = "Bearer"
    if context.is_simulated:
        headers["x-vai-simulated"] = "true"
    if context.limits is not None:
        headers |= rate_limit_headers(context.limits, time.time())
    _add_attempts(headers, context)
    body = dumps(error.to_wire(context.request_id))
    return GatewayResponse(body, error.status, headers, "application/json")


def _add_attempts(headers: dict[str, str], context: RequestContext) -> None:
    """A client that retries should know what VAI has retried already."""
    if context.attempts > 1:
        headers["x-vai-attempts"] = str(context.attempts)
    if context.skipped_models:
        headers["x-vai-fallback-from"] = ",".join(context.skipped_models)[:_MAX_VALUE]


def make_error_frame(error: VaiError, context: RequestContext) -> bytes:
    """`error` as the last frame of a stream that has begun."""
    # A ping may have sent the head before there was a response to take a status from.
    context.status, context.error = 200, error
    _name_provider(error, context)
    return b"event: error\ndata: %b\n\n" % dumps(error.to_wire(context.request_id))


def _name_provider(error: VaiError, context: RequestContext) -> None:
    """The way to a provider fails below where its name is known."""
    if isinstance(error, UpstreamFault) and error.provider is None and context.route is not None:
        error.provider = context.route.spec.id

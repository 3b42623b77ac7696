"""Every way an exchange can fail, by whose fault it was.

Invariants: an error is complete when it is raised. It has its type, its HTTP status and a
sentence for a human, and that sentence never quotes a secret, a header value or a
payload.

    VaiError
      - ClientFault              the client can correct it
          . InvalidRequest       400  (413 body size, 405 method, 409 conflict)
          . AuthenticationFailed 401
          . PermissionDenied     403
          . NotFound             404
          . RateLimited          429
          . ClientLeft           499  never sent: no client is there to read it
      - UpstreamFault            the provider, or the connection to it
          . UpstreamRejected     the provider answered with an error; type and status are mapped
          . UpstreamUnreachable  502  no connection, TLS failure, reset before a response
          . UpstreamTimeout      504  one of the timers ran out; `code` names it
          . UpstreamBroken       502  truncated, malformed or not what VAI requested
      - GatewayFault             VAI's own
          . Overloaded           503  shedding, draining
          . InternalError        500

The types and statuses are those of the Messages API where it has one; `provider_error` (502)
stands for an upstream failure that no other type describes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal, Self

__all__ = [
    "UPSTREAM_SENTENCES",
    "AuthenticationFailed",
    "ClientFault",
    "ClientLeft",
    "ErrorType",
    "GatewayFault",
    "InternalError",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "RateLimited",
    "ThreadUnsupported",
    "UpstreamBroken",
    "UpstreamFault",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "VaiError",
]

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
    "provider_error",
]

_UNUSABLE: Final = "The provider's response is unusable"
UPSTREAM_SENTENCES: Final = {
    "connect_timeout": "The provider accepted no connection in time",
    "pool_timeout": "No connection to the provider became free in time",
    "write_timeout": "The provider stopped reading the request",
    "headers_timeout": "The provider did not begin its response in time",
    "first_token_timeout": "The provider sent no content in time",
    "inter_chunk_timeout": "The provider stopped sending in the middle of its response",
    "read_timeout": "The provider stopped sending in the middle of its response",
    "total_timeout": "The provider did not complete its response in the total time allowed",
    "upstream_dns": "The provider's host name could not be resolved",
    "upstream_connect": "The provider's server could not be connected to",
    "upstream_tls": "The TLS handshake with the provider failed",
    "upstream_reset": "The provider closed the connection before it answered",
    "upstream_stale": "The provider closed a kept-alive connection before it answered",
    "upstream_closed": "The connections to the provider have been shut down",
    "upstream_proxy": "The proxy on the way to the provider failed",
    "upstream_auth": "The provider refused the gateway's own key",
    "upstream_redirect": "The provider answered with a redirect, which is not followed:"
    " the gateway's address for this provider seems wrong",
    "upstream_content_type": "The provider answered with something that is neither JSON nor an"
    " event stream: the gateway's address for this provider may be wrong",
    "upstream_protocol": "The provider's response is not valid HTTP/1.1",
    "upstream_encoding": "The provider's response has a content coding that VAI did not request",
    "upstream_empty": "The provider's response is empty",
    "upstream_truncated": "The provider ended its response before it was complete",
    "upstream_malformed": _UNUSABLE,
    "upstream_invalid_tool_call": _UNUSABLE,
    "upstream_invalid_tool_input": _UNUSABLE,
    "upstream_no_content": _UNUSABLE,
    "upstream_failed": _UNUSABLE,
    "upstream_too_large": _UNUSABLE,
    "upstream_broken": _UNUSABLE,
    "too_large": "The provider's response is too large",
}
"""Code -> the one sentence that clients get for it, whichever layer notices the event. A failure of
the connection or of the response begins with the provider, so that logs can be grouped by it."""


class VaiError(Exception):
    """Base of all errors that a client of VAI can receive.

    Attributes:
        type: the wire name of the error.
        status: the HTTP status that VAI sends with it when it has sent no byte yet.
        message: one sentence that says what was expected.
        param: the JSON path or header name it is about.
        code: a stable, finer name, e.g. ``first_token_timeout``.
        provider: the provider id an upstream failure came from.
        provider_error: the upstream's own error object, untouched.
        retry_after: seconds until another request may succeed.
        should_retry: whether clients are to retry, in a header; None leaves it to the status.
        upstream_request_id: the id the provider gave its response.
        upstream_status: the status that the provider answered with, where it answered.
        limit: which of VAI's own limits refused, e.g. ``user requests_per_minute``.
        details: facts for programs: the provider's exact error, under its own names.
    """

    type: ErrorType = "api_error"
    status: int = 500
    default_code: ClassVar[str | None] = None
    default_should_retry: ClassVar[bool | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        provider: str | None = None,
        provider_error: Any = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        upstream_request_id: str | None = None,
        upstream_status: int | None = None,
        limit: str | None = None,
        details: dict[str, Any] | None = None,
        type: ErrorType | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.provider = provider
        self.provider_error = provider_error
        self.retry_after = retry_after
        self.should_retry = self.default_should_retry if should_retry is None else should_retry
        self.upstream_request_id = upstream_request_id
        self.upstream_status = upstream_status
        self.limit = limit
        self.details = details
        if type is not None:
            self.type = type
        if status is not None:
            self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        suffix = f" (code: {self.code})" if self.code else ""
        return f"{self.type}: {self.message}{suffix}"

    def to_wire(self, request_id: str | None = None) -> dict[str, Any]:
        """The error as the JSON object that is the response to a request or ends a stream."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        for name in ("param", "code", "provider", "provider_error", "details"):
            value = getattr(self, name)
            if value is not None:
                error[name] = value
        if self.retry_after:
            # Whole seconds, rounded up: after this wait the client is not refused again.
            error["retry_after"] = -int(-self.retry_after // 1)
        wire: dict[str, Any] = {"type": "error", "error": error}
        if request_id is not None:
            error["request_id"] = request_id
            wire["request_id"] = request_id
        return wire


def _rebuilt(kind: type[VaiError], args: tuple[Any, ...], state: dict[str, Any]) -> VaiError:
    """An error that was pickled; its class may accept other arguments than its base."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ClientFault(VaiError):
    """The client sent a request that VAI cannot serve unchanged."""

    type: ErrorType = "invalid_request_error"
    status = 400


class InvalidRequest(ClientFault):
    """The request breaks a rule; `param` names the member."""


class ThreadUnsupported(InvalidRequest):
    """The request relies on a conversation kept by the provider; this provider keeps none.

    Clients of the Messages API read `details` and continue without a thread, with the whole
    conversation in each request (`ThreadUnsupportedRequestErrorDetails` of anthropic 2.12.0).
    """

    default_code = "thread_unsupported_request"

    def __init__(self) -> None:
        super().__init__(
            "thread: this model keeps no conversations; expected the whole conversation"
            " in `messages`, without `thread`",
            param="thread",
            details={"error_code": self.default_code, "unsupported": ["model"]},
        )


class AuthenticationFailed(ClientFault):
    """No key, an unknown key, or no key for the provider that the model belongs to."""

    type: ErrorType = "authentication_error"
    status = 401
    # Some clients repeat a 401 for minutes, in case their token is renewed meanwhile.
    default_should_retry = False


class PermissionDenied(ClientFault):
    """The key is known but may not do this."""

    type: ErrorType = "permission_error"
    status = 403
    default_should_retry = False


class NotFound(ClientFault):
    """No such endpoint, provider or model."""

    type: ErrorType = "not_found_error"
    status = 404


class RateLimited(ClientFault):
    """One of VAI's own limits is used up."""

    type: ErrorType = "rate_limit_error"
    status = 429


class ClientLeft(ClientFault):
    """The client closed the connection before the response was complete."""

    status = 499
    default_code = "cancelled"


class UpstreamFault(VaiError):
    """The provider, or the connection to it, failed."""

    type: ErrorType = "provider_error"
    status = 502

    @classmethod
    def from_code(cls, code: str, detail: str = "", *, provider: str | None = None) -> Self:
        """The error with the sentence of `code` in `UPSTREAM_SENTENCES`, then `detail`."""
        sentence = UPSTREAM_SENTENCES[code]
        message = f"{sentence}: {detail}" if detail else sentence
        return cls(message, code=code, provider=provider)


class UpstreamRejected(UpstreamFault):
    """The provider answered with an error of its own."""


class UpstreamUnreachable(UpstreamFault):
    """No response arrived: connect, TLS or write failure, or a reset before the first byte."""

    default_code = "upstream_unreachable"


class UpstreamTimeout(UpstreamFault):
    """A timer ran out while waiting for the provider."""

    type: ErrorType = "timeout_error"
    status = 504
    default_code = "upstream_timeout"


class UpstreamBroken(UpstreamFault):
    """The provider's response is truncated, malformed, or not what VAI requested."""

    default_code = "upstream_broken"


class GatewayFault(VaiError):
    """VAI itself cannot serve the request."""


class Overloaded(GatewayFault):
    """VAI is draining or shedding load; a request elsewhere or later may succeed."""

    type: ErrorType = "overloaded_error"
    status = 503


class InternalError(GatewayFault):
    """A defect of VAI. The message never carries detail; the log does."""

    def __init__(self, message: str = "Internal server error") -> None:
        super().__init__(message)

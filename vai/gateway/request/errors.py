"""Where failures end: each becomes one response, and each request one log line.

`answer_request` handles the failures of a handler. Those of requests that reach no handler
(unknown path, wrong method, body too large) go to the replacement for Sanic's error handler that
`install_error_handler` sets.

Invariants: only a cancellation passes, because Sanic needs it. A defect fails only its own
request, and the log gets a traceback without the payload.

A user easily points a client of another API to this server, or adds a part of a path too many.
A bare 404 would not show the mistake, so each entry of `_FOREIGN` names one API by its paths and
states what to use here. The message never repeats the path. The paths are those that the clients of
these APIs request (2026-11).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple, cast

from sanic import Request, Sanic
from sanic.exceptions import (
    MethodNotAllowed,
    PayloadTooLarge,
    RequestCancelled,
    RequestTimeout,
    SanicException,
)
from sanic.exceptions import (
    NotFound as SanicNotFound,
)
from sanic.handlers import ErrorHandler
from sanic.response import HTTPResponse

from vai.errors import ClientFault, ClientLeft, InternalError, InvalidRequest, NotFound, VaiError
from vai.gateway.admission.controller import drain_error
from vai.gateway.request.bodies import body_too_large
from vai.gateway.request.context import RequestContext
from vai.gateway.request.responses import make_error_response
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic
from vai.io.log import log

__all__ = [
    "DRAIN_ERRORS",
    "Handler",
    "answer_request",
    "install_error_handler",
    "method_not_allowed",
    "path_not_found",
]


_SERVED: Final = (
    "This server speaks the Messages API: POST /v1/messages, POST /v1/messages/count_tokens, "
    "GET /v1/models"
)
_PREFIX: Final = re.compile(r"(?:(?:v1|api|openai|anthropic|claude|proxy|llm|gateway)/)*+")
"""The usual ends of base URLs, which reach this server by mistake or twice."""
_OWN: Final = re.compile(r"(?:messages(?:/count_tokens)?|models(?:/.*)?)")
_MESSAGES: Final = ("messages", "messages/count_tokens")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class _Foreign(NamedTuple):
    """Paths of another API, and what its users can use here.

    Attributes:
        path: matches the whole path, in lower case, with single slashes and none at the ends.
        code: of the error; None where a program has nothing to distinguish.
        hint: what to use here.
        rest: whether `path` matches what is left without the prefixes of base URLs.
    """

    path: re.Pattern[str]
    code: str | None
    hint: str
    rest: bool = True


def _match_words(text: str) -> re.Pattern[str]:
    """The paths that are one of these words, or begin with it and a slash."""
    return re.compile(rf"(?:{'|'.join(text.split())})(?:/.*)?")


_MODELS_BY_MESSAGES: Final = (
    "Use a client of the Messages API; models of every provider are reached by it"
)

_FOREIGN: Final = (
    _Foreign(
        re.compile(
            r"api/(?:generate|chat|tags|show|embed|pull|push|ps|version|create|copy|delete)"
        ),
        "ollama_endpoint",
        f"Ollama's endpoints are not served. {_MODELS_BY_MESSAGES}",
        rest=False,
    ),
    _Foreign(
        re.compile(
            r"v1(?:beta|alpha)\d?(?:/.*)?|upload/.*|v1internal:\w+"
            r"|(?:[^/]+/)*+[^/:]*:(?:stream|batch|async)?(?:generatecontent|embedcontents?"
            r"|counttokens|predict|rawpredict)"
        ),
        "gemini_endpoint",
        "Google's endpoints are not served. Use gemini/<model> with POST /v1/messages, with a "
        "client of the Messages API",
        rest=False,
    ),
    _Foreign(
        re.compile(r"(?:[^/]+/)?model/.+/(?:invoke|converse)(?:-with-response-stream|-stream)?"),
        "bedrock_endpoint",
        "The endpoints of Amazon Bedrock are not served. Give the client this server's address as "
        "that of Anthropic's API (ANTHROPIC_BASE_URL)",
        rest=False,
    ),
    _Foreign(
        _match_words("messages/batches"),
        "anthropic_endpoint",
        "Batches are not served. Send each of the requests to POST /v1/messages",
    ),
    _Foreign(
        _match_words("files"),
        "files_endpoint",
        "Files are not kept here. Put the content into the message, as base64 or as a URL",
    ),
    _Foreign(
        re.compile(r"complete"),
        "anthropic_endpoint",
        "Anthropic's Text Completions are not served. Use POST /v1/messages",
    ),
    _Foreign(
        _match_words("skills organizations agents sessions environments memory_stores"),
        "anthropic_endpoint",
        "Of Anthropic's API, messages, the counter and models are served. Call Anthropic itself "
        "for the rest",
    ),
    _Foreign(
        re.compile(
            r"(?:(?:engines|deployments)/[^/]+/)?+"
            r"(?:chat/completions|completions|responses|embeddings|realtime|assistants|threads"
            r"|audio|images|videos|moderations|conversations|fine_tuning|vector_stores"
            r"|uploads|containers|evals|batches)(?:/.*)?"
        ),
        "openai_endpoint",
        f"OpenAI's endpoints are not served. {_MODELS_BY_MESSAGES}",
    ),
    _Foreign(
        re.compile(r"(?:v[12]/)?(?:chat|rerank|embed|generate|generate_stream|completion)"),
        None,
        _MODELS_BY_MESSAGES,
        rest=False,
    ),
    _Foreign(
        re.compile(
            r"(?:(?:api|v1)/)?(?:healthz|health/.*|livez|ready|live|liveness|readiness|ping|status)"
        ),
        None,
        "GET /health reports how the gateway is, GET /readyz whether it takes requests",
        rest=False,
    ),
    _Foreign(
        re.compile(r"metrics"),
        None,
        "Metrics are not served by this version. GET /health reports the state of the gateway, its "
        "log has a line for each request",
    ),
    _Foreign(
        re.compile(r"docs|redoc|swagger|openapi\.json|documentation"),
        None,
        "The documentation comes with the program, in its folder docs",
    ),
)
"""`path_not_found` tries them in this order."""


def path_not_found(path: str) -> NotFound:
    """The response to a request for a path that is not served."""
    normalized_path = "/".join(word for word in path.lower().split("/") if word)
    rest = normalized_path[_PREFIX.match(normalized_path).end() :]  # type: ignore[union-attr]
    for foreign in _FOREIGN:
        if foreign.path.fullmatch(rest if foreign.rest else normalized_path):
            return NotFound(f"Endpoint not found: {foreign.hint}. {_SERVED}", code=foreign.code)
    if path.strip("/") != normalized_path and normalized_path.removeprefix("v1/") in (
        "models",
        *_MESSAGES,
    ):
        return NotFound(f"Endpoint not found: paths are in lower case. {_SERVED}")
    served = rest if _OWN.fullmatch(rest) else _find_served_end(normalized_path)
    if served is not None:
        # The most frequent: a base URL that ends with a part of what the client adds to it.
        method = "GET" if served.startswith("models") else "POST"
        name = served if served.startswith("messages") else "models"
        return NotFound(
            f"Endpoint not found: the path has a part too many. Expected {method} /v1/{name}; the "
            "base URL of a client of Anthropic's is this server's address alone, without /v1. "
            f"{_SERVED}",
            code="base_url_path",
        )
    if normalized_path in ("v1", "api"):
        return NotFound(f"Endpoint not found: this is the beginning of a path. {_SERVED}")
    return NotFound(f"Endpoint not found. {_SERVED}")


def method_not_allowed(method: str, path: str, allowed: Iterable[str]) -> InvalidRequest | NotFound:
    """The response to a method that a path does not have.

    Google's paths differ from VAI's in the method and in an ending; they get the 404 of
    `path_not_found`.
    """
    not_found_error = path_not_found(path)
    if not_found_error.code == "gemini_endpoint":
        return not_found_error
    expected = " or ".join(sorted(allowed))
    shown = f"{method} is" if method in _METHODS else "this method is"
    return InvalidRequest(
        f"Method not allowed: {shown} not served at this path; expected {expected}",
        status=405,
        code="method_not_allowed",
    )


def _find_served_end(normalized_path: str) -> str | None:
    """The path of this API with which a longer path ends, if any."""
    for served in (*_MESSAGES, "models"):
        if normalized_path.endswith(f"/v1/{served}"):
            return served
    return None


Handler = Callable[[GatewayService, RequestContext, PatchedRequest], Awaitable[HTTPResponse | None]]


async def answer_request(request: PatchedRequest, handler: Handler) -> HTTPResponse | None:
    """The response of `handler`, or that of its failure; None when it has been streamed."""
    service: GatewayService = request.app.ctx.service
    context = RequestContext(request)
    began = monotonic()
    try:
        if not service.turn_gate.try_start():
            await service.turn_gate.wait_for_turn()
        return await handler(service, context, request)
    except VaiError as error:
        return make_error_response(error, context)
    except asyncio.CancelledError:
        context.status = 499
        raise
    except Exception as error:  # noqa: BLE001  the boundary of one request
        log.opt(exception=error).error("request {} failed", context.request_id)
        if context.stream and context.status == 200:  # the stream itself carries the error
            return None
        return make_error_response(InternalError(), context)
    finally:
        service.bodies.release_body(context, request)
        _write_line(service, context, monotonic() - began)


def _write_line(service: GatewayService, context: RequestContext, duration: float) -> None:
    try:
        service.request_log.write(context.make_log_line(duration))
    except Exception as error:  # noqa: BLE001  a failed log line must not fail the response
        log.opt(exception=error).error("no line for request {}", context.request_id)


class _DrainErrors:
    """Turns the drain's cancellation of a request into the error that the client receives;
    any other cancellation passes."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, cancelled: BaseException | None, __: object) -> None:
        if isinstance(cancelled, asyncio.CancelledError):
            error = drain_error(cancelled)
            if error is not None:
                raise error from None


DRAIN_ERRORS: Final = _DrainErrors()


def install_error_handler(app: Sanic[Any, Any]) -> None:
    """Respond in VAI's error schema to requests that reach no handler."""
    app.error_handler = _SanicErrorHandler()


class _SanicErrorHandler(ErrorHandler):
    """The only handler of uncaught exceptions."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        error = _to_vai_error(request, exception)
        if isinstance(error, InternalError):
            log.opt(exception=exception).error("request failed outside of its handler")
        response = make_error_response(error, RequestContext(cast("PatchedRequest", request)))
        if isinstance(exception, MethodNotAllowed) and error.status == 405:
            response.headers["allow"] = ", ".join(sorted(exception.allowed_methods or ()))
        return response

    @staticmethod
    def log(request: Request, exception: Exception) -> None:
        """Write nothing: Sanic would log the exception's text, which may quote the request."""


def _to_vai_error(request: Request, exception: Exception) -> VaiError:
    if isinstance(exception, VaiError):
        return exception
    if isinstance(exception, SanicNotFound):
        return path_not_found(request.path)
    if isinstance(exception, MethodNotAllowed):
        return method_not_allowed(request.method, request.path, exception.allowed_methods or ())
    if isinstance(exception, PayloadTooLarge):
        return body_too_large(request.app.config.REQUEST_MAX_SIZE)
    if isinstance(exception, RequestCancelled):
        return ClientLeft("The client closed the connection")
    if isinstance(exception, RequestTimeout):
        return InvalidRequest(
            "The request's head did not arrive in time; expected all of it at once", status=408
        )
    status = exception.status_code if isinstance(exception, SanicException) else 500
    if 400 <= status < 500:
        return ClientFault("The request cannot be understood as HTTP", status=status)
    return InternalError()

"""What this server speaks, for clients that request something else.

A user easily sets a client to this server instead of another API, or with a part of a
path too many; a bare 404 leaves its user to guess. Each entry of `_FOREIGN` names one API by its
paths, and says in one sentence what to use here. The path itself is never repeated.

The paths are those that the clients of these APIs request (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from vai.errors import InvalidRequest, NotFound

__all__ = ["method_not_allowed", "path_not_found"]

_SERVED: Final = (
    "This server speaks the Messages API: POST /v1/messages, POST /v1/messages/count_tokens, "
    "GET /v1/models"
)
_PREFIX: Final = re.compile(r"(?:(?:v1|api|openai|anthropic|claude|proxy|llm|gateway)/)*+")
"""What base URLs end with; at the wrong server, or twice."""
_OWN: Final = re.compile(r"(?:messages(?:/count_tokens)?|models(?:/.*)?)")
_MESSAGES: Final = ("messages", "messages/count_tokens")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class _Foreign(NamedTuple):
    """Paths of another API, and what its users find here.

    Attributes:
        path: matches the whole path, in lower case, with single slashes and none at the ends.
        code: of the error; None where there is nothing for a program to tell apart.
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
"""In the order in which they are tried."""


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

    The paths of some APIs differ from this one's in the method and in an ending; those are not
    found.
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
    """The path of this API at the end of one that begins with anything else."""
    for served in (*_MESSAGES, "models"):
        if normalized_path.endswith(f"/v1/{served}"):
            return served
    return None

"""The provider profiles: the paths, the credential and the headers of each provider.

Invariants: all that distinguishes one provider from another for a client, except the form of a
message and of an error, is an entry or a branch here.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import parse_qs, unquote

import msgspec

from vai.providers.registry import PROVIDER_SPECS, simulated_path
from vai.simulator.parsed_request import SimulatedError
from vai.simulator.timed_response import Headers
from vai.types.provider import ProviderSpec, WireFormat

__all__ = [
    "JSON",
    "PROVIDER_PROFILES",
    "MatchedEndpoint",
    "ProviderProfile",
    "SimulatedFormat",
    "answer_headers",
    "check_credential",
    "limit_headers",
    "match_endpoint",
    "request_id_of",
]

SimulatedFormat = Literal["messages", "chat", "responses", "google"]
Action = Literal["complete", "count", "models", "model", "aside"]
JSON: Final = ("content-type", "application/json")


class ProviderProfile(msgspec.Struct, frozen=True):
    """One provider as its clients see it."""

    name: str
    wire_format: SimulatedFormat
    path: str
    """The path of the completions; for Google, the part before the model or the verb."""
    models_path: str
    request_id: str
    """The header that carries the request's id; empty where there is none."""


_FORMATS: Final[Mapping[WireFormat, SimulatedFormat]] = {
    "anthropic": "messages",
    "openai": "chat",
    "responses": "responses",
    "gemini": "google",
    "code-assist": "google",
}
_ENDPOINTS: Final[Mapping[SimulatedFormat, str]] = {
    "messages": "/messages",
    "chat": "/chat/completions",
    "responses": "/responses",
}


def _make_profile(spec: ProviderSpec) -> ProviderProfile:
    wire_format, base = _FORMATS[spec.kind], simulated_path(spec)
    if spec.kind == "code-assist":
        return ProviderProfile(spec.id, wire_format, f"{base}/v1internal", "", "")
    if wire_format == "google":
        return ProviderProfile(spec.id, wire_format, f"{base}/models", f"{base}/models", "")
    models = f"{base}{spec.path.removesuffix(_ENDPOINTS[wire_format])}/models"
    request_id = "request-id" if wire_format == "messages" else "x-request-id"
    return ProviderProfile(spec.id, wire_format, base + spec.path, models, request_id)


PROVIDER_PROFILES: Final = (
    *map(_make_profile, PROVIDER_SPECS.values()),
    ProviderProfile(
        "openai", "responses", "/openai/v1/responses", "/openai/v1/models", "x-request-id"
    ),
    ProviderProfile("gemini", "google", "/gemini/v1/models", "/gemini/v1/models", ""),
)
"""Each provider at its own paths, then the second endpoint of OpenAI and version of Gemini."""
_BY_PREFIX: Final = {profile.name: profile for profile in reversed(PROVIDER_PROFILES)}
_ANSWERING: Final = {"generateContent": False, "streamGenerateContent": True}
_COUNTING: Final = {"messages": "/count_tokens", "responses": "/input_tokens"}
_PLAN_TOKEN: Final = "sk-ant-oat"  # noqa: S105 - the beginning of all such tokens
_PLAN_BETA: Final = "oauth-2025-04-20"
_VERB: Final = re.compile(r"(?:/(?P<model>.+))?:(?P<verb>[a-zA-Z]+)")


class MatchedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The provider and the endpoint of a request, and further facts from its path."""

    profile: ProviderProfile
    action: Action
    path: str
    model: str | None = None
    """Set when the path names it."""
    stream: bool | None = None
    """Set when the path decides it."""
    framed: bool = True
    """A stream is one of events; Google's other form is one long JSON array."""


def match_endpoint(target: str) -> MatchedEndpoint:
    """Find the endpoint of a request target such as ``/openai/v1/responses?x=1``."""
    path, _, query = target.partition("?")
    for profile in PROVIDER_PROFILES:
        if profile.wire_format == "google" and path.startswith(profile.path):
            return _match_google(profile, path, query)
        if path == profile.path:
            return MatchedEndpoint(profile=profile, action="complete", path=path)
        if path == profile.path + _COUNTING.get(profile.wire_format, "?"):
            return MatchedEndpoint(profile=profile, action="count", path=path)
        if path == profile.models_path:
            return MatchedEndpoint(profile=profile, action="models", path=path)
    profile = _BY_PREFIX.get(path.split("/", 2)[1] if "/" in path else "") or _BY_PREFIX["openai"]
    return MatchedEndpoint(profile=profile, action="aside", path=path)


def _match_google(profile: ProviderProfile, path: str, query: str) -> MatchedEndpoint:
    rest = path.removeprefix(profile.path)
    if not rest and profile.models_path:
        return MatchedEndpoint(profile=profile, action="models", path=path)
    match = _VERB.fullmatch(rest)
    if match is None or (match["model"] is None) == bool(profile.models_path):
        wanted: Action = "model" if profile.models_path and rest.count("/") == 1 else "aside"
        return MatchedEndpoint(profile=profile, action=wanted, path=path, model=unquote(rest[1:]))
    model, verb = match["model"] and unquote(match["model"]), match["verb"]
    if verb == "countTokens":
        return MatchedEndpoint(profile=profile, action="count", path=path, model=model)
    if verb not in _ANSWERING:
        return MatchedEndpoint(profile=profile, action="aside", path=path, model=model)
    framed = parse_qs(query).get("alt", [""])[-1] == "sse"
    stream = _ANSWERING[verb]
    return MatchedEndpoint(
        profile=profile, action="complete", path=path, model=model, stream=stream, framed=framed
    )


def check_credential(profile: ProviderProfile, headers: Mapping[str, str]) -> None:
    """Require a credential of the right form that does not contain ``invalid``.

    Raises:
        SimulatedError: 401, or 400 for Gemini, in the provider's own words.
    """
    if profile.name == "gemini":
        _check_google_key(headers)
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else ""
    if profile.wire_format == "messages":
        if key.startswith(_PLAN_TOKEN) and _PLAN_BETA not in headers.get("anthropic-beta", ""):
            raise SimulatedError(401, "OAuth authentication is currently not supported.")
        key = headers.get("x-api-key", "") or key
        if not key:
            raise SimulatedError(401, "x-api-key header is required")
        if "invalid" in key or headers.get("x-api-key", "").startswith(_PLAN_TOKEN):
            raise SimulatedError(401, "invalid x-api-key")
        return
    if key and "invalid" not in key:
        return
    if profile.wire_format == "google":
        raise SimulatedError(401, "Request had invalid authentication credentials.")
    if profile.name not in ("openai", "oai-resp"):
        raise SimulatedError(401, "", code="")
    if not key:
        words = "You didn't provide an API key. You need to provide your API key in an "
        raise SimulatedError(401, words + "Authorization header using Bearer auth.", code="null")
    shown = f"{key[:8]}{'*' * 12}{key[-4:]}"
    raise SimulatedError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def _check_google_key(headers: Mapping[str, str]) -> None:
    key = headers.get("x-goog-api-key", "")
    if not key or "invalid" in key:
        words = "API key not valid. Please pass a valid API key."
        raise SimulatedError(400, words, code="API_KEY_INVALID")


def answer_headers(profile: ProviderProfile, request_id: str, *, stream: bool) -> Headers:
    """The headers of a response of status 200."""
    if profile.wire_format == "google":
        return _google_headers(stream)
    kind = "text/event-stream"
    if stream and profile.name != "cerebras":
        kind += "; charset=utf-8"
    headers = [("content-type", kind) if stream else JSON, (profile.request_id, request_id)]
    if stream:
        headers.append(("cache-control", "no-cache"))
    if profile.name in ("openai", "oai-resp"):
        headers += [
            ("openai-organization", "org-simulated"),
            ("openai-processing-ms", "1"),
            ("openai-version", "2020-10-01"),
        ]
    elif profile.name == "groq":
        headers.append(("x-groq-region", "simulated"))
    elif profile.name == "anthropic":
        headers.append(("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"))
    return headers + limit_headers(profile)


def _google_headers(stream: bool) -> Headers:
    kind = "text/event-stream" if stream else "application/json; charset=UTF-8"
    return [
        ("content-type", kind),
        ("vary", "Origin"),
        ("vary", "X-Origin"),
        ("vary", "Referer"),
        ("server", "scaffolding on HTTPServer2"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-content-type-options", "nosniff"),
        ("server-timing", "gfet4t7; dur=1"),
    ]


def request_id_of(profile: ProviderProfile, number: int) -> str:
    """A new id in the provider's style; `number` makes it unique in this process."""
    if profile.name == "anthropic":
        return f"req_011CSim{number:017d}"
    if profile.name in ("openai", "oai-resp"):
        return "req_" + hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()
    return f"req_01sim{number:021d}"


def limit_headers(profile: ProviderProfile) -> Headers:
    """The rate-limit headers, each provider's own names and units."""
    if profile.name == "anthropic":
        reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        return [
            (f"anthropic-ratelimit-{what}-{part}", value)
            for what, limit in _ANTHROPIC_LIMITS
            for part, value in (("limit", limit), ("remaining", limit), ("reset", reset))
        ]
    return _CHAT_LIMITS.get(profile.name, [])


_ANTHROPIC_LIMITS: Final = (
    ("requests", "4000"),
    ("tokens", "480000"),
    ("input-tokens", "400000"),
    ("output-tokens", "80000"),
)
_OPENAI_LIMITS: Final[Headers] = [
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "2000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "1999000"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "1m2s"),
]
_CHAT_LIMITS: Final[Mapping[str, Headers]] = {
    "openai": _OPENAI_LIMITS,
    "oai-resp": _OPENAI_LIMITS,
    "groq": [
        ("x-ratelimit-limit-requests", "14400"),
        ("x-ratelimit-limit-tokens", "300000"),
        ("x-ratelimit-remaining-requests", "14399"),
        ("x-ratelimit-remaining-tokens", "299000"),
        ("x-ratelimit-reset-requests", "6s"),
        ("x-ratelimit-reset-tokens", "200ms"),
    ],
    "cerebras": [
        ("x-ratelimit-limit-requests-day", "432000"),
        ("x-ratelimit-limit-tokens-minute", "500000"),
        ("x-ratelimit-remaining-requests-day", "431999"),
        ("x-ratelimit-remaining-tokens-minute", "499000"),
        ("x-ratelimit-reset-requests-day", "33011.38"),
        ("x-ratelimit-reset-tokens-minute", "11.38"),
    ],
}

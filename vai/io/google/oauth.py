"""OAuth 2 with Google: the sign-in page, and the tokens that the login yields.

Authorization code with PKCE (RFC 7636, S256) and a loopback redirect (RFC 8252 section 7.3).
Invariants: of Google's responses only names out of a fixed alphabet get into a text; tokens and
codes never do. The OAuth client is the user's own; VAI has no built-in one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import msgspec

from vai import __version__
from vai.config.login import LOGIN_COMMAND
from vai.config.schema import Provider
from vai.errors import InvalidRequest
from vai.io.http.tls import get_tls_context
from vai.secret import Secret

__all__ = [
    "GOOGLE",
    "SCOPES",
    "Endpoints",
    "LoginFailed",
    "OauthApp",
    "Tokens",
    "authorize_url",
    "fetch_object",
    "make_client",
    "redeem_code",
    "refresh_token",
]

SCOPES: Final = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile",
)

_MAX_BODY: Final = 1 << 20
_CODE: Final = re.compile(r"[a-zA-Z0-9_]{1,64}")


class Endpoints(msgspec.Struct, frozen=True):
    """Google's addresses: the page, the token endpoint, Code Assist."""

    authorize: str
    token: str
    code_assist: str


GOOGLE: Final = Endpoints(
    "https://accounts.google.com/o/oauth2/v2/auth",
    "https://oauth2.googleapis.com/token",
    "https://cloudcode-pa.googleapis.com",
)


class OauthApp(msgspec.Struct, frozen=True):
    """An OAuth client of the user's own."""

    id: str
    secret: Secret


class Tokens(msgspec.Struct, frozen=True):
    """The token endpoint's response. `lifetime` is seconds; a refresh returns no refresh token."""

    access: Secret
    lifetime: float
    refresh: Secret | None
    scopes: tuple[str, ...]


class LoginFailed(Exception):
    """A login, or its renewal, failed. The text is for the user and quotes no secret.

    `final` states that only a new login can help.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def make_client(timeout: float, provider: Provider) -> httpx.AsyncClient:
    """An HTTP client for the few requests of a login, with the provider's proxy and trust store.

    `timeout` is seconds, for each phase of a request.
    """
    proxy = provider.proxy.reveal() if provider.proxy is not None else None
    tls = get_tls_context(provider.ca_file, provider.verify_tls)
    return httpx.AsyncClient(
        timeout=timeout,
        trust_env=False,
        proxy=proxy,
        verify=tls,
        headers={"user-agent": f"vai/{__version__}"},
    )


def authorize_url(
    endpoints: Endpoints, app: OauthApp, *, redirect: str, state: str, verifier: str
) -> str:
    """The page on which the user signs in. Neither the verifier nor the secret is part of it."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    query = {
        "client_id": app.id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": " ".join(SCOPES),
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "access_type": "offline",
        # Without it Google returns a refresh token only to the first login of an account.
        "prompt": "consent",
    }
    return f"{endpoints.authorize}?{urlencode(query)}"


async def redeem_code(
    http: httpx.AsyncClient,
    endpoints: Endpoints,
    app: OauthApp,
    *,
    code: str,
    redirect: str,
    verifier: str,
) -> Tokens:
    """Tokens for the code that the page received.

    Raises:
        LoginFailed: Google returned none.
    """
    return await _request_tokens(
        http,
        endpoints,
        app,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        },
    )


async def refresh_token(
    http: httpx.AsyncClient, endpoints: Endpoints, app: OauthApp, token: Secret
) -> Tokens:
    """A new access token.

    Raises:
        LoginFailed: Google returned none; `final` if it never will.
    """
    form = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
    return await _request_tokens(http, endpoints, app, form)


async def fetch_object(
    http: httpx.AsyncClient, method: str, url: str, what: str, **content: Any
) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of one request to Google; `what` names it in errors.

    Raises:
        LoginFailed: no response, or one that is no JSON object.
    """
    try:
        async with http.stream(method, url, **content) as answer:
            pieces, size = [], 0
            async for piece in answer.aiter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_BODY:
                    raise LoginFailed(f"{what}: Google's response is too large")
    except httpx.TimeoutException:
        raise LoginFailed(f"{what}: Google did not respond in time") from None
    except (httpx.HTTPError, httpx.InvalidURL):  # their texts may quote URLs and headers
        raise LoginFailed(f"{what}: Google cannot be reached") from None
    try:
        value = msgspec.json.decode(b"".join(pieces))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, list) and value:  # Google sends some errors in a list
        value = value[0]
    if not isinstance(value, dict):
        raise LoginFailed(f"{what}: Google's response has status {answer.status_code} and no JSON")
    return answer.status_code, value


async def _request_tokens(
    http: httpx.AsyncClient, endpoints: Endpoints, app: OauthApp, form: Mapping[str, str]
) -> Tokens:
    what = "Getting a token"
    sent = {**form, "client_id": app.id, "client_secret": app.secret.reveal()}
    status, response = await fetch_object(http, "POST", endpoints.token, what, data=sent)
    if status != 200:
        raise _refusal_error(what, status, response.get("error"))
    lifetime = response.get("expires_in")
    renewed = response.get("refresh_token")
    try:
        access = Secret(response.get("access_token") or "", "access_token")
        renewal = Secret(renewed, "refresh_token") if isinstance(renewed, str) else None
    except (InvalidRequest, TypeError):
        raise LoginFailed(f"{what}: Google's response holds no token") from None
    return Tokens(
        access,
        float(lifetime) if isinstance(lifetime, int) and lifetime > 0 else 0.0,
        renewal,
        tuple(str(response.get("scope") or "").split()),
    )


def _refusal_error(what: str, status: int, code: Any) -> LoginFailed:
    if code == "invalid_grant":
        return LoginFailed(
            f"The login is no longer valid (invalid_grant): run {LOGIN_COMMAND} again", final=True
        )
    named = code if isinstance(code, str) and _CODE.fullmatch(code) else "no reason"
    final = 400 <= status < 500 and status not in (408, 429)
    return LoginFailed(f"{what}: Google refused with status {status} ({named})", final=final)

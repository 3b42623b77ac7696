"""One login from its beginning to what is kept of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

import httpx

from vai.config.login import GoogleLogin
from vai.config.schema import Provider
from vai.io.google.codeassist import POLL, CodeAssistAccount
from vai.io.google.loopback import LoopbackPage
from vai.io.google.oauth import (
    GOOGLE,
    SCOPES,
    Endpoints,
    LoginFailed,
    OauthApp,
    Tokens,
    authorize_url,
    make_client,
    redeem_code,
)

__all__ = ["sign_in"]

_PATIENCE: Final = 300.0
"""Seconds for the user to sign in."""
_TIMEOUT: Final = 30.0
"""Seconds for each answer of Google's."""
_PLAIN: Final = Provider()


async def sign_in(
    app: OauthApp,
    *,
    show: Callable[[str], None],
    port: int = 0,
    project: str | None = None,
    provider: Provider = _PLAIN,
    endpoints: Endpoints = GOOGLE,
    patience: float = _PATIENCE,
    poll: float = POLL,
) -> GoogleLogin:
    """Have the user sign in, and find the project to use.

    Args:
        show: is given the address of the page to sign in on.
        own: how Google is reached.
        port: of 127.0.0.1, where the browser is sent back to; 0 picks one.
        patience: seconds that the user may take.
        poll: seconds between two looks at an enrolment.

    Raises:
        LoginFailed: there is no login; the text says why.
    """
    async with make_client(_TIMEOUT, provider) as http:
        tokens = await _obtain_tokens(http, app, endpoints, show, port, patience)
        if tokens.refresh is None:
            raise LoginFailed("Google gave no refresh token: is the client of the desktop kind?")
        ends = time.time() + tokens.lifetime
        account = CodeAssistAccount(http, endpoints.code_assist, tokens.access, poll=poll)
        project_id = await account.find_project(project)
    return GoogleLogin(
        refresh_token=tokens.refresh,
        access_token=tokens.access,
        expiry=ends,
        project=project_id,
        client_id=app.id,
        client_secret=app.secret,
        scopes=tokens.scopes,
    )


async def _obtain_tokens(
    http: httpx.AsyncClient,
    app: OauthApp,
    endpoints: Endpoints,
    show: Callable[[str], None],
    port: int,
    patience: float,
) -> Tokens:
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    async with LoopbackPage(state, port) as page:
        show(
            authorize_url(
                endpoints, app, redirect=page.redirect_uri, state=state, verifier=verifier
            )
        )
        code = await page.wait_for_code(patience)
        tokens = await redeem_code(
            http, endpoints, app, code=code, redirect=page.redirect_uri, verifier=verifier
        )
        if missing := set(SCOPES[:1]) - set(tokens.scopes or SCOPES):
            raise LoginFailed(f"The login does not include {', '.join(missing)}")
        page.show_result(went_well=True)
    return tokens

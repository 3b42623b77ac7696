"""One login with Google, from the sign-in page to the file that holds the login.

`LoopbackPage` is the page on this machine to which Google redirects the browser (RFC 8252 section
7.3). Invariants: the page listens on 127.0.0.1 alone, for as long as one login takes, and accepts a
visit only with the state of this login. A visit with another state gets an error page, and the
login continues to wait: a guess can neither finish nor end it.

`CodeAssistAccount` finds the project that Code Assist serves an account with. `loadCodeAssist`
names it for an account that has a tier; an account without one is enrolled in the tier that
Google offers by default. A free tier comes with a project of Google's, and the request must not
name one; a paid tier needs the user's own. VAI sends its own `User-Agent`.

`write_login` writes the whole file or nothing, readable by its owner alone.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from vai.config.login import GoogleLogin
from vai.config.schema import Provider
from vai.io.google.oauth import (
    GOOGLE,
    SCOPES,
    Endpoints,
    LoginFailed,
    OauthApp,
    Tokens,
    authorize_url,
    fetch_object,
    make_client,
    redeem_code,
)
from vai.secret import Secret

__all__ = [
    "PATH",
    "PATIENCE",
    "POLL",
    "CodeAssistAccount",
    "LoopbackPage",
    "sign_in",
    "write_login",
]

PATH: Final = "/oauth2callback"
_MAX_VISITS: Final = 16
_MAX_HEAD: Final = 16_384
_HEAD_TIMEOUT: Final = 10.0
_VERDICT_TIMEOUT: Final = 60.0
"""Seconds that the browser waits for the result."""
_PARTING: Final = 1.0

_DONE: Final = "You are signed in. You can close this page."
_FAILED: Final = "Signing in failed. The terminal says why."
_OTHERS: Final = "This is not the login that was started. Nothing has been changed."


class LoopbackPage:
    """Waits for the browser. Use it with `async with`; port 0 picks a free port."""

    def __init__(self, state: str, port: int = 0) -> None:
        self._state = state
        self._port = port
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self._code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._serve_visit, "127.0.0.1", self._port, limit=_MAX_HEAD
            )
        except OSError as error:
            raise LoginFailed(f"Port {self._port} of 127.0.0.1: {error.strerror}") from None
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.show_result(went_well=False)
        if self._code.done() and not self._code.cancelled():
            self._code.exception()  # retrieved, also where no task waited for it
        if self._server is not None:
            self._server.close()
            if self._visits:  # the browser that brought the code still has to read the result
                await asyncio.wait(self._visits, timeout=_PARTING)
            for visit in self._visits:
                visit.cancel()

    @property
    def redirect_uri(self) -> str:
        """The address to which Google redirects the browser."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def wait_for_code(self, patience: float) -> str:
        """The code that the browser brings; `patience` in seconds.

        Raises:
            LoginFailed: the user refused, or no browser came in time.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._code), patience)
        except TimeoutError:
            raise LoginFailed("No sign-in in time") from None

    def show_result(self, *, went_well: bool) -> None:
        """Set what the page shows after the code has arrived."""
        if not self._verdict.done():
            self._verdict.set_result(went_well)

    async def _serve_visit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        visit = asyncio.current_task()
        if visit is None or len(self._visits) >= _MAX_VISITS:
            writer.close()
            return
        self._visits.add(visit)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_TIMEOUT)
            status, text = await self._answer_visit(head.split(b"\r\n", 1)[0].decode("latin-1"))
            body = text.encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
                "Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await asyncio.wait_for(writer.drain(), _HEAD_TIMEOUT)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the visitor sent nothing or left; another may come
        finally:
            self._visits.discard(visit)
            writer.close()

    async def _answer_visit(self, line: str) -> tuple[str, str]:
        method, _, rest = line.partition(" ")
        try:
            url = urlsplit(rest.partition(" ")[0])
            query = parse_qs(url.query, max_num_fields=32)
        except ValueError:
            return "400 Bad Request", _OTHERS
        if method != "GET" or url.path != PATH:
            return "404 Not Found", "There is nothing here."
        state = query.get("state", [""])[0]
        if not hmac.compare_digest(state.encode(), self._state.encode()) or self._code.done():
            return "400 Bad Request", _OTHERS
        code = query.get("code", [""])[0]
        if code:
            self._code.set_result(code)
        else:
            error = query.get("error", [""])[0]
            why = "you refused it" if error == "access_denied" else "Google sent no code"
            self._code.set_exception(LoginFailed(f"Signing in failed: {why}"))
        went_well = await asyncio.wait_for(asyncio.shield(self._verdict), _VERDICT_TIMEOUT)
        return ("200 OK", _DONE) if went_well else ("400 Bad Request", _FAILED)


POLL: Final = 5.0
"""Seconds between two checks of an enrolment."""
PATIENCE: Final = 300.0
"""Seconds that an enrolment may take."""

_METADATA: Final = {
    "ideType": "IDE_UNSPECIFIED",
    "platform": "PLATFORM_UNSPECIFIED",
    "pluginType": "GEMINI",
}
_FREE: Final = "free-tier"
_OPERATION: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_PROJECT: Final = re.compile(r"(?!\d+$)[a-z0-9][a-z0-9.:-]{0,99}")
_MAX_REASON: Final = 300


class CodeAssistAccount:
    """A signed-in account at Code Assist."""

    def __init__(
        self, http: httpx.AsyncClient, base: str, token: Secret, *, poll: float = POLL
    ) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._token = token
        self._poll = poll

    async def find_project(self, wanted: str | None = None) -> str:
        """The project to name in requests; enrols the account where it has no tier.

        Args:
            wanted: the user's own project, by its id.

        Raises:
            LoginFailed: Code Assist does not serve the account; the text has Google's reason.
        """
        if wanted is not None and not _PROJECT.fullmatch(wanted):
            raise LoginFailed("The project must be given by its id, not by its number")
        metadata = _METADATA if wanted is None else {**_METADATA, "duetProject": wanted}
        body: dict[str, Any] = {"metadata": metadata}
        if wanted is not None:
            body["cloudaicompanionProject"] = wanted
        assist = await self._call_method("loadCodeAssist", body)
        if assist.get("currentTier"):
            return _check_project(assist.get("cloudaicompanionProject") or wanted)
        tier = _default_tier(assist)
        if tier == _FREE:
            return await self._enrol_account({"tierId": tier, "metadata": _METADATA}, None)
        if wanted is None:
            raise LoginFailed("This account needs a project of its own: give it with --project")
        return await self._enrol_account({"tierId": tier, **body}, wanted)

    async def _enrol_account(self, body: dict[str, Any], wanted: str | None) -> str:
        operation = await self._call_method("onboardUser", body)
        try:
            async with asyncio.timeout(PATIENCE):
                while not operation.get("done"):
                    name = operation.get("name")
                    if not isinstance(name, str) or not _OPERATION.fullmatch(name):
                        raise LoginFailed("Code Assist began an enrolment and did not name it")
                    await asyncio.sleep(self._poll)
                    operation = await self._call_method(name, None)
        except TimeoutError:
            raise LoginFailed("Code Assist did not finish the enrolment in time") from None
        if isinstance(error := operation.get("error"), dict):
            raise LoginFailed(f"Code Assist refused the enrolment: {_read_reason(error)}")
        response = operation.get("response")
        project = response.get("cloudaicompanionProject") if isinstance(response, dict) else None
        return _check_project((project.get("id") if isinstance(project, dict) else None) or wanted)

    async def _call_method(self, what: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One HTTP request: a method with a body, or the check of an operation."""
        headers = {"authorization": f"Bearer {self._token.reveal()}"}
        if body is None:
            url = f"{self._base}/v1internal/{what}"
            status, response = await fetch_object(
                self._http, "GET", url, "Code Assist", headers=headers
            )
        else:
            url = f"{self._base}/v1internal:{what}"
            status, response = await fetch_object(
                self._http, "POST", url, "Code Assist", headers=headers, json=body
            )
        if status != 200:
            error = response.get("error")
            reason = _read_reason(error) if isinstance(error, dict) else "no reason"
            raise LoginFailed(f"Code Assist refused with status {status}: {reason}")
        return response


def _default_tier(assist: Mapping[str, Any]) -> str:
    allowed = [tier for tier in assist.get("allowedTiers") or () if isinstance(tier, dict)]
    for tier in allowed:
        if tier.get("isDefault") and isinstance(tier.get("id"), str):
            return str(tier["id"])
    refused = [tier for tier in assist.get("ineligibleTiers") or () if isinstance(tier, dict)]
    reasons = "; ".join(
        f"{_printable_text(tier.get('reasonCode')) or 'no reason'}"
        f" ({_printable_text(tier.get('reasonMessage'))})"
        for tier in refused
    )
    raise LoginFailed(f"Code Assist does not serve this account: {reasons or 'no reason given'}")


def _check_project(project: Any) -> str:
    if not isinstance(project, str):
        raise LoginFailed("This account needs a project of its own: give it with --project")
    if not _PROJECT.fullmatch(project):
        raise LoginFailed("Code Assist named a project that is none")
    return project


def _read_reason(error: Mapping[str, Any]) -> str:
    return (
        _printable_text(error.get("message")) or _printable_text(error.get("status")) or "no reason"
    )


def _printable_text(text: Any) -> str:
    """Google's own text, made safe for a terminal."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text)[:_MAX_REASON]


_PATIENCE: Final = 300.0
"""Seconds for the user to sign in."""
_TIMEOUT: Final = 30.0
"""Seconds for each response of Google's."""
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
        show: receives the address of the sign-in page.
        provider: the settings that reach Google.
        port: of 127.0.0.1, to which Google redirects the browser; 0 picks one.
        patience: seconds that the user may take.
        poll: seconds between two checks of an enrolment.

    Raises:
        LoginFailed: there is no login; the text states the reason.
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


def write_login(path: Path, login: GoogleLogin) -> None:
    """Replace the content of `path` by `login`. Mode 0600.

    Raises:
        OSError: the file cannot be written; the old content stays.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # Private from its first byte: before a later chmod, another process could read it.
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(login, enc_hook=_reveal_secret))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _reveal_secret(value: object) -> str:
    if not isinstance(value, Secret):
        raise NotImplementedError
    return value.reveal()

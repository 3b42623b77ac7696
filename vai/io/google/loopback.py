"""The page on this machine that the browser is sent back to (RFC 8252 section 7.3).

Invariants: it listens on 127.0.0.1 alone, for as long as one login takes, and
believes nobody without the state of this login. A visitor with another one is told so, and
the login goes on waiting: whoever guesses can neither finish it nor end it.
"""

from __future__ import annotations

import asyncio
import hmac
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from vai.io.google.oauth import LoginFailed

__all__ = ["PATH", "LoopbackPage"]

PATH: Final = "/oauth2callback"
_MAX_VISITS: Final = 16
_MAX_HEAD: Final = 16_384
_HEAD_TIMEOUT: Final = 10.0
_VERDICT_TIMEOUT: Final = 60.0
"""Seconds that the browser waits to learn how it went."""
_PARTING: Final = 1.0

_DONE: Final = "You are signed in. You can close this page."
_FAILED: Final = "Signing in failed. The terminal says why."
_OTHERS: Final = "This is not the login that was started. Nothing has been changed."


class LoopbackPage:
    """Waits for the browser. Use it with `async with`; port 0 picks a free one."""

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
            self._code.exception()  # seen, also where nobody waited for it
        if self._server is not None:
            self._server.close()
            if self._visits:  # whoever brought the code still has to read how it went
                await asyncio.wait(self._visits, timeout=_PARTING)
            for visit in self._visits:
                visit.cancel()

    @property
    def redirect_uri(self) -> str:
        """The address that the browser is sent back to."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def wait_for_code(self, patience: float) -> str:
        """The code that the browser brings; `patience` in seconds.

        Raises:
            LoginFailed: the user said no, or nobody came.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._code), patience)
        except TimeoutError:
            raise LoginFailed("Nobody signed in in time") from None

    def show_result(self, *, went_well: bool) -> None:
        """What the page says to the one who brought the code."""
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
            pass  # a visitor who does not speak or left; another may come
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
            why = "you said no" if error == "access_denied" else "Google sent no code"
            self._code.set_exception(LoginFailed(f"Signing in failed: {why}"))
        went_well = await asyncio.wait_for(asyncio.shield(self._verdict), _VERDICT_TIMEOUT)
        return ("200 OK", _DONE) if went_well else ("400 Bad Request", _FAILED)

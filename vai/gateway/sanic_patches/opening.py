"""Checks before Sanic starts: the address first, then the app's preparations.

Sanic binds its socket late, logs a failure in four lines with a traceback, and exits with 1.
Here the first process binds the socket and runs the app's preparations before anything else, and
writes one line for a failure and exits with 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sanic import Sanic
from sanic.http.constants import HTTP
from sanic.server.socket import configure_socket

from vai.gateway.sanic_patches import sockets

__all__ = ["EXIT_CANNOT_START", "CannotStart", "exit_with", "listening_address", "patch_opening"]

EXIT_CANNOT_START = 2


class CannotStart(RuntimeError):
    """The gateway cannot start here; the text is the reason, in one line."""


class _Ending:
    """The exit code of main. There is one main, so the class itself holds it."""

    code = 0


def exit_with(code: int) -> None:
    """Have main exit with `code` once Sanic has cleaned up."""
    _Ending.code = code


def patch_opening(app: Sanic[Any, Any]) -> None:
    """Patch Sanic, and add to `app` a list `ctx.preparations`: functions that run in the first
    process before it serves, and may raise CannotStart."""
    app.ctx.preparations = []
    app_class: Any = Sanic
    if getattr(app_class.serve, "repaired", False):
        return
    for name in ("serve", "serve_single"):
        setattr(app_class, name, classmethod(_with_opening(getattr(app_class, name).__func__)))


def _with_opening(original: Any) -> Any:
    def serve(
        cls: type[Sanic[Any, Any]], primary: Sanic[Any, Any] | None = None, **options: Any
    ) -> None:
        if primary is not None:
            try:
                _open_app(primary)
            except CannotStart as error:
                sys.stderr.write(f"vai: {error}\n")
                raise SystemExit(EXIT_CANNOT_START) from None
        original(cls, primary, **options)
        if _Ending.code:
            raise SystemExit(_Ending.code)

    serve.repaired = True  # type: ignore[attr-defined]
    return serve


def listening_address(app: Sanic[Any, Any]) -> str:
    """`host:port` with the port that the kernel chose, or `unix:` and a path. Call it in main,
    after the socket was bound."""
    settings = app.state.server_info[0].settings
    if unix := settings.get("unix"):
        return f"unix:{unix}"
    sock = settings.get("sock")
    host, port = (settings["host"], settings["port"]) if sock is None else sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _open_app(app: Sanic[Any, Any]) -> None:
    for server in app.state.server_info:
        _bind_socket(server.settings)
    preparations: list[Callable[[], object]] = app.ctx.preparations
    for prepare in preparations:
        prepare()


def _bind_socket(settings: dict[str, Any]) -> None:
    """Bind the listening socket and store it in `settings`. Sanic binds a Unix socket itself."""
    if settings.get("unix") or settings.get("sock") or settings.get("version") is HTTP.VERSION_3:
        return
    host, port = settings["host"], settings["port"]
    settings["backlog"] = max(settings["backlog"], sockets.BACKLOG)
    try:
        configure_socket(settings)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        address = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
        raise CannotStart(f"cannot listen on {address}: {why}") from error

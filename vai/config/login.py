"""The file that `vai login gemini` writes: its path and its content.

Invariants: the file is as private as the account. No error quotes its text, and each one names the
command that repairs it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from vai.errors import InvalidRequest
from vai.secret import Secret

__all__ = ["LOGIN_COMMAND", "TERMS", "GoogleLogin", "login_file", "read_login"]

LOGIN_COMMAND: Final = "vai login gemini"
TERMS: Final = (
    "Google's terms may not allow other programs to use Code Assist, and accounts that do "
    "may be suspended (docs/gemini-oauth.md)"
)
"""The terms for a user who logs in, and for an operator who serves the login."""

_MAX_FILE: Final = 1 << 16


class GoogleLogin(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens and the client of a login.

    `expiry` is when the access token expires, in seconds since 1970. The client is the OAuth
    client of the login: a refresh token works with this client only.
    """

    refresh_token: Secret
    access_token: Secret
    expiry: float
    project: str
    client_id: str
    client_secret: Secret
    scopes: tuple[str, ...] = ()


def login_file(configured: str | None = None) -> Path:
    """The path of the login: as configured, else below the user's own settings."""
    if configured is not None:
        return Path(configured)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "vai" / "gemini-oauth.json"


def read_login(path: Path) -> GoogleLogin:
    """The login that `path` holds.

    Raises:
        ValueError: there is no valid login. The text names the command that makes one.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE)
    except FileNotFoundError:
        raise ValueError(f"no login at {path}; run: {LOGIN_COMMAND}") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    broken = f"{path} holds no login; run: {LOGIN_COMMAND}"
    try:
        return msgspec.json.decode(text, type=GoogleLogin, dec_hook=_decode_secret)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidRequest):
        pass  # raised below: the originals may quote the file
    raise ValueError(broken)


def _decode_secret(kind: type, value: Any) -> Secret:
    if kind is not Secret or not isinstance(value, str):
        raise ValueError("expected text")  # msgspec turns it into a ValidationError
    return Secret(value, "login")

"""Keeping a login: written whole or not at all, and for its owner's eyes only."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

import msgspec

from vai.config.login import GoogleLogin
from vai.secret import Secret

__all__ = ["write_login"]


def write_login(path: Path, login: GoogleLogin) -> None:
    """Put `login` in the place of whatever `path` holds. Mode 0600.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # Private from its first byte: a mode that is set later is too late for whoever looks now.
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

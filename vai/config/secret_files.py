"""`${file:/run/secrets/openai}`: a value in a file of its own.

Docker, Kubernetes and systemd pass secrets to a program as files. Invariants: VAI reads a file
once and keeps its content in memory, so that a worker that replaces another one gets the checked
content. No error text contains any of a file's content.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Final

from vai.secret import SECRET_LIMIT

__all__ = ["FILE_REFERENCE", "SecretFiles"]

FILE_REFERENCE: Final = r"\$\{[Ff][Ii][Ll][Ee]:(?P<file>(?:[^${}]|\$\{[A-Za-z_]\w*\})*)(?P<end>\}?)"
"""A pattern. `file` is the path, in which `${NAME}` stands for a variable; `end` is empty where
the closing brace is missing."""

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_LINE_END: Final = 2
_ALONE: Final = "expected the value alone, in one line"


class SecretFiles:
    """The files that settings refer to, each read once. It holds secrets, and can be pickled."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._faults: dict[str, str] = {}

    def read_reference(self, match: re.Match[str], environ: Mapping[str, str]) -> str:
        """The content of the file of a match of `FILE_REFERENCE`, without its line end.

        Raises:
            ValueError: the reference or the file is unusable. The sentence states the reason.
        """
        if not match["end"]:
            raise ValueError("expected ${file:/path/of/the/file}, with the closing brace")
        written = match["file"]
        if written not in self._texts and written not in self._faults:
            try:
                self._texts[written] = _read_secret(written, _expand_path(written, environ))
            except ValueError as error:
                self._faults[written] = str(error)
        if written in self._faults:
            raise ValueError(self._faults[written])
        return self._texts[written]

    def __repr__(self) -> str:
        return f"SecretFiles({len(self._texts)} files)"


def _expand_path(written: str, environ: Mapping[str, str]) -> str:
    """The path with the values of its variables.

    Raises:
        ValueError: a variable is not set, or the path does not begin at the root.
    """
    unset = [name for name in _VARIABLE.findall(written) if name not in environ]
    if unset:
        raise ValueError(f"the variable {unset[0]} is not set")
    path = _VARIABLE.sub(lambda name: environ[name[1]], written)
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected the file's path from the root: ${file:/run/secrets/name}")
    return path


def _read_secret(written: str, path: str) -> str:
    """The text of the file at `path`.

    Args:
        written: the path as written in the settings, for the error. A variable in it may be a
            secret by mistake.

    Raises:
        ValueError: the file cannot be read, or is not a single line of text.
    """
    content = _read_content(written, path)
    if len(content) > SECRET_LIMIT + _LINE_END:
        raise ValueError(f"the file {written} has more than {SECRET_LIMIT} bytes; {_ALONE}")
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {written} is not UTF-8 text; {_ALONE}") from None
    if not text.strip():
        raise ValueError(f"the file {written} is empty; {_ALONE}")
    if len(text.splitlines()) > 1:
        raise ValueError(f"the file {written} has several lines; {_ALONE}")
    return text


def _read_content(written: str, path: str) -> bytes:
    """The content of a regular file, up to slightly more than the allowed size.

    Raises:
        ValueError: the file cannot be read, or is no regular file.
    """
    try:
        # Without O_NONBLOCK a named pipe would block the start until a writer opens it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ValueError(f"{written} is no regular file; {_ALONE}")
            return file.read(SECRET_LIMIT + _LINE_END + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {written}; mount the secret there") from None
    except IsADirectoryError:
        raise ValueError(f"{written} is a directory; name the file in it") from None
    except PermissionError:
        text = f"the file {written} may not be read by the user who runs this (uid {os.geteuid()})"
        raise ValueError(text) from None
    except OSError as error:
        raise ValueError(f"the file {written} cannot be read ({error.strerror})") from None

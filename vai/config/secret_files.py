"""`${file:/run/secrets/openai}`: a value that stands in a file of its own.

Docker, Kubernetes and systemd hand secrets to a program as files. The law of this module: a
file is read once, and what was read is kept, so that a worker that replaces another one gets
what was checked. No text that leaves here for a person holds anything of a file's content.
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

    def text_of(self, found: re.Match[str], environ: Mapping[str, str]) -> str:
        """Return what the file of a match of `FILE_REFERENCE` holds, without its line end.

        Raises:
            ValueError: the reference or the file cannot be used. The sentence says why.
        """
        if not found["end"]:
            raise ValueError("expected ${file:/path/of/the/file}, with the closing brace")
        unset = [name for name in _VARIABLE.findall(found["file"]) if name not in environ]
        if unset:
            raise ValueError(f"the variable {unset[0]} is not set")
        return self._read_once(_VARIABLE.sub(lambda name: environ[name[1]], found["file"]))

    def _read_once(self, path: str) -> str:
        if path not in self._texts and path not in self._faults:
            try:
                self._texts[path] = _read(path)
            except ValueError as error:
                self._faults[path] = str(error)
        if path in self._faults:
            raise ValueError(self._faults[path])
        return self._texts[path]

    def __repr__(self) -> str:
        return f"SecretFiles({len(self._texts)} files)"


def _read(path: str) -> str:
    """The text of the file at `path`.

    Raises:
        ValueError: it cannot be read, or is no single line of text.
    """
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected the file's path from the root: ${file:/run/secrets/name}")
    content = _content(path)
    if len(content) > SECRET_LIMIT + _LINE_END:
        raise ValueError(f"the file {path} has more than {SECRET_LIMIT} bytes; {_ALONE}")
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text; {_ALONE}") from None
    if not text.strip():
        raise ValueError(f"the file {path} is empty; {_ALONE}")
    if len(text.splitlines()) > 1:
        raise ValueError(f"the file {path} has several lines; {_ALONE}")
    return text


def _content(path: str) -> bytes:
    """At most a little more than what is allowed of a regular file.

    Raises:
        ValueError: it cannot be read, or is none.
    """
    try:
        # Without O_NONBLOCK a named pipe would hold the start until a writer comes.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ValueError(f"{path} is no regular file; {_ALONE}")
            return file.read(SECRET_LIMIT + _LINE_END + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}; mount the secret there") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a directory; name the file in it") from None
    except PermissionError:
        text = f"the file {path} may not be read by the user who runs this (uid {os.geteuid()})"
        raise ValueError(text) from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read ({error.strerror})") from None

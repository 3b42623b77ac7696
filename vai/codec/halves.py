"""Halves of characters: the rest of a character that a server cut in two.

A server that cuts its text between the two UTF-16 halves of a character, or between the bytes
of one, sends JSON that strict parsers refuse. `SplitCharacters` reads such JSON and joins the
halves across consecutive texts; a half without its other one becomes U+FFFD. `repair_escapes`
does the same for JSON that is itself text, such as the arguments of a tool call.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["SplitCharacters", "repair_escapes"]

_UNKNOWN: Final = "\ufffd"
_MAX_APART: Final = 4
"""Texts within which a half must be followed by its other half."""
_LONE: Final = re.compile("[\ud800-\udfff]")
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HIGH_END: Final = re.compile("[\ud800-\udbff]\\Z")
_BYTES_END: Final = re.compile("[\udc80-\udcff]{1,3}\\Z")

_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole character
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # a half
    r"|\\.",
    re.DOTALL,
)
_CUT: Final = re.compile(
    r"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\(?:u[0-9a-fA-F]{0,3})?\Z"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\Z"
)


class SplitCharacters:
    """Reads the JSON texts of one stream, in their order."""

    def __init__(self) -> None:
        self._halves: dict[tuple[str | int, ...], str] = {}
        self._read = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the last text ended in a half whose other half may follow."""
        return bool(self._halves)

    def loads(self, data: bytes) -> Any:
        """The value of a JSON text.

        Raises:
            ValueError: it is no JSON. RecursionError: it is nested too deeply.
        """
        try:
            text, as_bytes = data.decode(), False
        except UnicodeDecodeError:
            text, as_bytes = data.decode("utf-8", "surrogateescape"), True
        # No other parser reads lone halves. It is lenient, but it reads responses only, not
        # requests, and VAI checks each member's type afterwards.
        value = json.loads(text.removeprefix("\ufeff"))  # noqa: TID251
        previous, self._halves = self._halves, {}
        mended = self._repair_value(value, (), previous, as_bytes=as_bytes)
        self._read = 0 if self._halves else self._read + 1
        if self._read < _MAX_APART:
            self._halves |= previous
        return mended

    def _repair_value(
        self, value: Any, path: tuple[str | int, ...], previous: dict[Any, str], *, as_bytes: bool
    ) -> Any:
        if isinstance(value, str):
            return self._join_text(value, path, previous.pop(path, ""), as_bytes=as_bytes)
        if isinstance(value, list):
            return [
                self._repair_value(item, (*path, index), previous, as_bytes=as_bytes)
                for index, item in enumerate(value)
            ]
        if isinstance(value, dict):
            return {
                self._join_text(name, None, "", as_bytes=as_bytes): self._repair_value(
                    item, (*path, name), previous, as_bytes=as_bytes
                )
                for name, item in value.items()
            }
        return value

    def _join_text(
        self, text: str, path: tuple[str | int, ...] | None, before: str, *, as_bytes: bool
    ) -> str:
        """`text` behind the half `before`, without the half that it ends in."""
        if not text and before and path is not None:
            self._halves[path] = before
            return ""
        text = before + text
        if text.isascii() or not _LONE.search(text):
            return text
        end = (_BYTES_END if as_bytes else _HIGH_END).search(text)
        if end is not None and path is not None and _can_continue(end[0], as_bytes=as_bytes):
            self._halves[path] = end[0]
            text = text[: end.start()]
        if as_bytes:
            return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        text = _PAIR.sub(lambda match: _join_surrogates(match[0]), text)
        return _LONE.sub(_UNKNOWN, text)


def _can_continue(half: str, *, as_bytes: bool) -> bool:
    if not as_bytes:
        return True
    data = half.encode("utf-8", "surrogateescape")
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        return exc.reason == "unexpected end of data"
    return False


def _join_surrogates(pair: str) -> str:
    return pair.encode("utf-16", "surrogatepass").decode("utf-16")


def repair_escapes(text: str) -> tuple[str, str]:
    r"""JSON text without halves of characters in its escapes, and its incomplete end.

    ``\ud83d\ude00`` stays as it is, ``\ud83d`` alone becomes ``\ufffd``. The second text is the
    beginning of an escape, or a half that `text` ends in: it belongs before the next text.
    """
    if "\\u" not in text and not text.endswith("\\"):
        return text, ""
    end = _find_cut(text)
    if end == len(text) and "\\u" not in text:
        return text, ""
    complete, rest = text[:end], text[end:]
    return _ESCAPE.sub(lambda match: "\\ufffd" if match[1] else match[0], complete), rest


def _find_cut(text: str) -> int:
    """Where the escape begins that `text` is cut in."""
    cut = _CUT.search(text, max(len(text) - 12, 0))
    if cut is None:
        return len(text)
    start = cut.start()
    # A backslash that is itself escaped begins nothing.
    run = len(text[:start]) - len(text[:start].rstrip("\\"))
    if run % 2:
        start += 1
        again = _CUT.search(text, start)
        return again.start() if again is not None else len(text)
    return start

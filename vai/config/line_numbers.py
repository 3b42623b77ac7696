"""Finds the line of each name and of each list entry in a TOML or JSON file.

Invariants: the text is valid, because its parser has accepted it before; one pass for any size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Lines", "find_lines"]

Path = tuple[str, ...]
Lines = dict[Path, int]
"""The line of each path, counted from 1; `[n]` is a step to the entry n of a list."""

_TOKEN: Final = re.compile(
    r"""
    (?P<skip>[ \t\r]+|\#[^\n]*)
    |(?P<newline>\n)
    |(?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    |(?P<mark>[\[\]{}=:,.])
    |(?P<word>[^\s\[\]{}=:,\#"'.]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r'\\(["\\/])')


@dataclass(slots=True)
class _Frame:
    """A table or a list that is open at the current position in the text."""

    path: Path
    is_list: bool = False
    in_value: bool = False
    """Whether the next piece is a value; else it is a name."""
    index: int = 0
    names: list[str] = field(default_factory=list)
    at: tuple[int, int] = (0, 0)
    """Line and column of the last name."""


def find_lines(text: str, separator: str, twice: list[tuple[int, int]] | None = None) -> Lines:
    """Find the line of each name.

    Args:
        text: a valid text, with single newlines.
        separator: the token after a name: `=` in TOML, `:` in JSON.
        twice: receives line and column of names that a table holds already.
    """
    scanner = _Scanner(separator, twice if twice is not None else [])
    line, began = 1, 0
    for piece in _TOKEN.finditer(text):
        scanner.read_piece(piece.lastgroup or "", piece[0], (line, piece.start() - began + 1))
        if newlines := piece[0].count("\n"):
            line += newlines
            began = piece.start() + piece[0].rindex("\n") + 1
    return scanner.lines


class _Scanner:
    """Follows the tokens of a text through its tables and lists."""

    def __init__(self, separator: str, twice: list[tuple[int, int]]) -> None:
        self.lines: Lines = {}
        self._separator = separator
        self._twice = twice
        self._frames = [_Frame(())]
        self._header = ""
        self._counts: dict[Path, int] = {}
        """How many tables each list of tables has so far."""

    def read_piece(self, kind: str, piece: str, at: tuple[int, int]) -> None:
        """Process the next piece of the text, at a line and column."""
        line, _ = at
        frame = self._frames[-1]
        if kind == "skip":
            return
        if kind == "newline":
            if len(self._frames) == 1 and not self._header:
                frame.in_value, frame.names = False, []
        elif self._header:
            self._read_header(kind, piece, line)
        elif frame.is_list or frame.in_value:
            self._read_value(frame, piece, line)
        elif piece == "[" and self._separator == "=" and len(self._frames) == 1:
            self._header, frame.names = "[", []
        elif piece == "{" and self._separator == ":":
            self._frames.append(_Frame(frame.path))  # the whole text of a JSON file
        elif piece == "}":
            self._close_frame()
        elif piece == self._separator:
            frame.in_value = True
            self._note_name(frame)
        elif kind != "mark":
            frame.names.append(_unquote(piece))
            frame.at = at

    def _read_header(self, kind: str, piece: str, line: int) -> None:
        frame = self._frames[0]
        if kind in ("text", "word"):
            frame.names.append(_unquote(piece))
        elif piece == "[":
            self._header = "[["
        elif piece == "]" and self._header == "[[":
            self._header = "[[]"
        elif piece == "]":
            frame.path = self._open_header(frame.names, line, is_entry=self._header == "[[]")
            self._header, frame.names = "", []

    def _open_header(self, names: list[str], line: int, *, is_entry: bool) -> Path:
        """The path of a table's header, with the list entries on the way."""
        path: Path = ()
        for number, name in enumerate(names):
            path = (*path, name)
            self.lines.setdefault(path, line)
            if is_entry and number == len(names) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, f"[{self._counts[path] - 1}]")
                self.lines.setdefault(path, line)
        return path

    def _read_value(self, frame: _Frame, piece: str, line: int) -> None:
        path = frame.path
        if piece == "]":
            self._close_frame()
            return
        if piece == "," and frame.is_list:
            frame.index += 1
        elif piece == ",":
            frame.in_value, frame.names = False, []
        elif piece == "}":
            self._close_frame()
        elif frame.is_list:
            path = (*path, f"[{frame.index}]")
            self.lines.setdefault(path, line)
        else:
            path = (*path, *frame.names)
        if piece in ("{", "["):
            self._frames.append(_Frame(path, is_list=piece == "["))

    def _note_name(self, frame: _Frame) -> None:
        if (*frame.path, *frame.names) in self.lines:
            self._twice.append(frame.at)
        for end in range(1, len(frame.names) + 1):
            self.lines.setdefault((*frame.path, *frame.names[:end]), frame.at[0])

    def _close_frame(self) -> None:
        if len(self._frames) > 1:
            self._frames.pop()


def _unquote(piece: str) -> str:
    if piece[:1] not in ("'", '"'):
        return piece
    return _ESCAPE.sub(r"\1", piece[1:-1])

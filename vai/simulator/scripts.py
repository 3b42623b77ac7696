"""Responses dictated byte for byte, by model name.

Invariants: a script states the exact bytes of a response, and the simulator does not check the
request; members that the script omits have plain defaults.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

import msgspec

from vai.simulator.knobs import Knobs
from vai.simulator.parts import DictatedUsage, Part, Stop
from vai.simulator.timed_response import Framing, TimedPiece, TimedResponse

__all__ = ["DictatedResponse", "Script", "Scripts", "TooManyScripts"]

_MOST: Final = 1024


class TooManyScripts(Exception):
    """The table is full; the client has to delete scripts first."""


class ScriptChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of a body, as text or base64, due `delay` seconds after the previous one."""

    text: str = ""
    base64: str = ""
    delay: float = 0.0


class DictatedResponse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A response as parts, which each wire format renders in its own form.

    Parts by their `type`: ``thinking`` (text, hidden), ``text`` (text, sources), ``tool``
    (name, input), ``search`` (query, sources), ``code`` (code, output, failed), ``image``
    (data, media_type), ``refusal`` (text). Sources are objects with `url` and `title`.
    """

    parts: list[Part]
    stop: Stop | None = None
    """By default it follows from the parts."""
    usage: DictatedUsage = DictatedUsage()


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``PUT /_sim/scripts/{model}``.

    `body` and `body_base64` are one piece; `chunks` are several (strings, or objects with
    `text` or `base64` and `delay` seconds). `raw` sends the pieces without any head.
    With `answer` the wire format checks the request, renders the response and paces it; of the
    other members only `times` has effect then, and knobs in the model's name request faults.
    Offsets count wire bytes after the head, as in the knobs.
    """

    answer: DictatedResponse | None = None
    status: int = 200
    headers: list[tuple[str, str]] | dict[str, str] = {}
    body: str | None = None
    body_base64: str | None = None
    chunks: list[str | ScriptChunk] = []
    head_delay: float = 0.0
    cut_at: int | None = None
    reset: bool = False
    stall_at: int | None = None
    stall: float = float("inf")
    drip: int = 0
    early: int = 0
    framing: Framing = "length"
    raw: bool = False
    times: int = 0
    """Requests after which the script is dropped; 0 keeps it."""
    tokens_out: int = 0

    def scripted_response(self) -> TimedResponse:
        """The response that this script dictates."""
        headers = list(self.headers.items() if isinstance(self.headers, dict) else self.headers)
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/json"))
        knobs = Knobs(
            cut=None if self.reset else self.cut_at,
            rst=(self.cut_at or 0) if self.reset else None,
            stall_at=self.stall_at,
            stall=self.stall,
            drip=self.drip,
            early=self.early,
        )
        return TimedResponse(
            status=self.status,
            headers=headers,
            body=self._timed_pieces(),
            head_at=self.head_delay,
            framing="close" if self.raw else self.framing,
            bare=self.raw,
            knobs=knobs,
            output_tokens=self.tokens_out,
        )

    def _timed_pieces(self) -> Iterator[TimedPiece]:
        at = self.head_delay
        if self.body is not None:
            yield TimedPiece(at, self.body.encode("utf-8", "surrogatepass"))
        if self.body_base64 is not None:
            yield TimedPiece(at, base64.b64decode(self.body_base64))
        for chunk in self.chunks:
            if isinstance(chunk, str):
                yield TimedPiece(at, chunk.encode("utf-8", "surrogatepass"))
                continue
            at += chunk.delay
            yield TimedPiece(at, base64.b64decode(chunk.base64) or chunk.text.encode())


class Scripts:
    """The active scripts, at most 1024."""

    def __init__(self) -> None:
        self._by_model: dict[str, Script] = {}
        self._left: dict[str, int] = {}

    def put_script(self, model: str, script: Script) -> None:
        """Raises:
        TooManyScripts: the table is full.
        """
        if model not in self._by_model and len(self._by_model) >= _MOST:
            raise TooManyScripts
        self._by_model[model] = script
        self._left[model] = script.times

    def drop_script(self, model: str) -> bool:
        """Drop the script of `model`; returns whether there was one."""
        self._left.pop(model, None)
        return self._by_model.pop(model, None) is not None

    def clear(self) -> None:
        self._by_model.clear()
        self._left.clear()

    def take_script(self, model: str) -> Script | None:
        """The script for one request to `model`."""
        script = self._by_model.get(model)
        if script is not None and script.times:
            self._left[model] -= 1
            if self._left[model] <= 0:
                self.drop_script(model)
        return script

    def __len__(self) -> int:
        return len(self._by_model)

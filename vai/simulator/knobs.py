"""Behaviour written into a model name: ``sim-1;ttft=0.2;tps=50;cut=300``.

Invariants: a request alone decides its response, so any client of any gateway can request a
fault without a second channel. Offsets (`cut`, `rst`, `stall_at`) count the bytes that follow the
response's head on the wire, chunk framing included; -1 means before the head. ``fail=2x503``
counts by provider and model name, knobs included, so that tests with different names never affect
each other; the simulator drops the counter that has been unused longest.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from typing import Any, Final, Literal

import msgspec

__all__ = ["FailureCounter", "Knobs", "KnobsUnreadable", "knobs_after_failures", "parse_knobs"]

_LONGEST_NAME: Final = 512
_MOST_SECONDS: Final = 3600.0
_MOST_BYTES: Final = 1 << 40
_MOST_TOKENS: Final = 1_000_000
_MOST_HOPS: Final = 64
_FAIL: Final = re.compile(r"([1-9][0-9]{0,8})x([45][0-9][0-9]|reset|hang)")


_MOST: Final = 1024


class FailureCounter:
    """Requests so far, and how many of them failed by a knob, by ``provider/model``."""

    def __init__(self, most: int = _MOST) -> None:
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._most = most

    def apply_failures(self, name: str, knobs: Knobs) -> Knobs:
        """The knobs for the next request to `name`. Counts the request if `fail` is set."""
        if knobs.fail is None:
            return knobs_after_failures(knobs, 0)
        requests, failed = self._seen.pop(name, (0, 0))
        now = knobs_after_failures(knobs, requests)
        self._seen[name] = (requests + 1, failed + (now != knobs_after_failures(knobs, 1 << 40)))
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return now

    def show_counts(self) -> dict[str, dict[str, int]]:
        return {
            name: {"requests": requests, "failed": failed}
            for name, (requests, failed) in self._seen.items()
        }

    def clear(self) -> None:
        """Count from the start again."""
        self._seen.clear()


class KnobsUnreadable(ValueError):
    """An unknown knob, or an invalid value."""


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one response behaves. Times in seconds, offsets in bytes."""

    ttft: float = 0.0
    """From the whole request to the first content."""
    tps: float = 0.0
    """Output tokens per second; 0 sends everything at once."""
    head: float | None = None
    """From the whole request to the head; by default the head comes with the first content."""
    chunk: int = 1
    """Tokens per stream event."""
    tokens: int | None = None
    """Exact length of the text."""
    think: int = 0
    """Tokens of reasoning, requested or not."""
    tool: str | None = None
    """Calls this tool, offered or not."""
    calls: int = 1
    """How many calls `tool` makes."""
    echo: bool = False
    """The text is the question, word for word."""
    stop: str | None = None
    """The wire's own stop or finish reason, whatever happened."""
    cached: int = 0
    """Input tokens reported as read from a cache."""
    cache_write: int = 0
    """Input tokens reported as written to a cache."""
    sealed: bool = False
    """Reasoning has its signature only, without text."""
    search: int = 0
    """A web search as a server tool with so many sources, which the text cites."""
    run: bool = False
    """Code execution as a server tool."""
    image: bool = False
    """A picture after the text."""
    refuse: bool = False
    """The model declines."""
    block: str | None = None
    """The provider refuses the prompt with this blockReason (Gemini)."""
    hops: int = 0
    """The response ends so often with CONTINUATION before it is complete (Gemini)."""
    ids: bool = False
    """Function calls carry an id (Gemini)."""
    together: bool = False
    """The finish reason comes in the same chunk as the last part, as of older models (Gemini)."""
    nousage: bool = False
    ping: int = 0
    """A ping (Messages) or a comment (elsewhere) after every so many events."""

    status: int = 200
    code: str | None = None
    """The error's code, such as ``insufficient_quota``."""
    fail: str | None = None
    """``2x503``: the first two requests of this model fail, the next follow the other knobs.
    Instead of a status: ``reset`` or ``hang``, before the head."""
    hang: bool = False
    """No byte, and the connection stays open: ``stall_at=-1``."""
    reset: bool = False
    """RST before the head: ``rst=-1``."""
    retry_after: str | None = None
    html: bool = False
    """Errors, and responses of status 200, become an HTML page."""
    error_at: int | None = None
    """An error event after so many content events; needs a stream."""

    cut: int | None = None
    """FIN after so many bytes."""
    rst: int | None = None
    """RST after so many bytes."""
    stall_at: int | None = None
    """Silence after so many bytes ..."""
    stall: float = math.inf
    """... for so long."""
    drip: int = 0
    """One write per so many bytes, 1 ms apart."""
    framing: Literal["chunked", "length", "close"] | None = None
    malformed: Literal["json", "sse", "utf8", "chunk", "type", "head"] | None = None
    """The malformed part: the JSON, an event's JSON, its encoding, the chunk framing, the
    content type, the status line."""
    gzip: bool = False
    """Compressed, also for a client that does not accept it."""
    early: int = 0
    """An interim response first, such as 103."""


_FIELDS: Final = frozenset(Knobs.__struct_fields__)


def parse_knobs(model: str, base: Knobs = Knobs()) -> Knobs:  # noqa: B008  frozen
    """Read the knobs of `model`; the others are as in `base`.

    Raises:
        KnobsUnreadable: a knob is unknown or its value is invalid.
    """
    if ";" not in model:
        return base
    if len(model) > _LONGEST_NAME:
        raise KnobsUnreadable("model name too long")
    values: dict[str, Any] = {}
    for pair in model.split(";")[1:]:
        name, _, value = pair.partition("=")
        if name not in _FIELDS:
            raise KnobsUnreadable(f"unknown knob {name[:40]!r}")
        values[name] = value or "1"
    try:
        knobs = msgspec.convert({**msgspec.structs.asdict(base), **values}, Knobs, strict=False)
    except msgspec.ValidationError as why:
        raise KnobsUnreadable(f"unreadable knob: {why}") from None
    _check_knobs(knobs)
    return knobs


def knobs_after_failures(knobs: Knobs, before: int) -> Knobs:
    """`knobs` for a request after `before` others of its model.

    ``fail=2x503`` makes the first two fail; ``hang`` and ``reset`` become offsets.
    """
    match = _FAIL.fullmatch(knobs.fail or "")
    what = match[2] if match and before < int(match[1]) else ""
    if what.isdigit():
        return msgspec.structs.replace(knobs, status=int(what))
    if what == "reset" or knobs.reset:
        return msgspec.structs.replace(knobs, rst=-1)
    if what == "hang" or knobs.hang:
        return msgspec.structs.replace(knobs, stall_at=-1)
    return knobs


def _check_knobs(knobs: Knobs) -> None:
    for name in _FIELDS - {"stall"}:
        value = getattr(knobs, name)
        limit: float = _MOST_BYTES
        if name in ("tokens", "think", "chunk", "calls", "cached", "cache_write", "tps"):
            limit = _MOST_TOKENS
        elif isinstance(value, float):
            limit = _MOST_SECONDS
        if isinstance(value, int | float) and not -1 <= value <= limit:
            raise KnobsUnreadable(f"knob {name!r} is out of range")
    wrong = knobs.chunk < 1 or knobs.tps < 0 or not 200 <= knobs.status <= 599
    wrong |= knobs.early not in range(100, 200) and knobs.early != 0
    wrong |= knobs.fail is not None and _FAIL.fullmatch(knobs.fail) is None
    wrong |= not 0 <= knobs.hops <= _MOST_HOPS or knobs.search < 0
    wrong |= knobs.retry_after is not None and not knobs.retry_after.isprintable()
    if wrong:
        raise KnobsUnreadable("knob out of range")

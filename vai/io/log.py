"""VAI's log: application events through loguru, request lines directly.

Invariants: the log has one JSON object per line and one write per batch of lines, to standard
error for events and to standard output for requests. Nothing here receives a key or a prompt:
the callers pass names and figures. Of an exception the log holds only its type and its frames,
because its text and the values of variables may quote a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from datetime import UTC, datetime
from time import time_ns
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from loguru import logger as log

if TYPE_CHECKING:
    from loguru import Message, Record, RecordException

__all__ = ["RequestLog", "configure_logging", "log"]

_SANIC_LOGGERS = ("sanic.root", "sanic.error", "sanic.access", "sanic.server", "sanic.websockets")


def configure_logging(level: str, form: str) -> None:
    """Route all log events of this process to standard error.

    `level` is a loguru level name in any case, `form` is ``json`` or ``text``.
    """
    log.remove()
    sink = _write_json if form == "json" else _write_text
    log.add(sink, level=level.upper(), format=_format_text, enqueue=False, diagnose=False)
    handler = _Intercept()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in _SANIC_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING)


class _Intercept(logging.Handler):
    """Passes the records of the standard library's logging to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name == "asyncio":
            # The reprs of tasks and of their exceptions follow the first line.
            text = text.partition("\n")[0]
        log.opt(exception=record.exc_info, depth=6).log(record.levelname, text)


def _format_text(record: Record) -> str:
    """The format of a line of text, without loguru's own traceback behind it."""
    return "{time:YYYY-MM-DDTHH:mm:ss.SSSZ} {level: <7} {message}\n"


def _format_frames(exception: RecordException) -> list[str]:
    """The frames of the exception, the innermost last, and its type."""
    frames = [
        f"{frame.filename}:{line} {frame.name}"
        for frame in traceback.extract_tb(exception.traceback)
        if (line := frame.lineno)
    ]
    value = exception.value
    # The operating system's texts are a fixed list and quote nothing.
    reason = f": {value.strerror}" if isinstance(value, OSError) and value.strerror else ""
    name = exception.type.__name__ if exception.type is not None else "unknown"
    return [*frames, name + reason]


def _write_json(message: Message) -> None:
    record = message.record
    line: dict[str, Any] = {
        "timestamp": record["time"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        "event": record["message"],
        "pid": record["process"].id,
    }
    if record["exception"] is not None:
        line["traceback"] = _format_frames(record["exception"])
    os.write(2, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _write_text(message: Message) -> None:
    text = str(message)
    if message.record["exception"] is not None:
        text += "".join(f"    {frame}\n" for frame in _format_frames(message.record["exception"]))
    os.write(2, text.encode())


class RequestLog:
    """The request lines of one worker, gathered and written together.

    A line waits at most `every` seconds; at most `batch` lines wait. A reader of standard
    output that blocks would block the worker, so lines that cannot be written are dropped
    and counted in `lost`.
    """

    def __init__(self, fd: int = 1, *, batch: int = 64, every: float = 0.25) -> None:
        self._fd = fd
        self._batch = batch
        self._every = every
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0

    def write(self, line: msgspec.Struct | dict[str, Any]) -> None:
        """Add a line of at least one member, after its timestamp (now) and its level.

        A line without a JSON form is counted in `lost`.
        """
        try:
            members = _encode_line(line)
        except (TypeError, ValueError):
            self.lost += 1
            request_id = getattr(line, "request_id", None)
            log.error("a request's line could not be written: {}", request_id)
            return
        self._lines.append(b"".join((*_stamp(), b'Z","level":"info",', members[1:], b"\n")))
        if len(self._lines) >= self._batch:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every, self.flush)

    def flush(self) -> None:
        """Write the waiting lines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        # Lines go out in pieces that a pipe accepts as a whole (PIPE_BUF), so that the lines
        # of two workers never mix.
        for piece in _split_lines(lines, 4096):
            try:
                os.write(self._fd, piece)
            except OSError:  # a full non-blocking pipe or a closed one
                self.lost += 1


class _Stamp:
    """The beginning of a line with its timestamp, RFC 3339 in UTC to the millisecond, as two
    pieces. The first changes once a second, so it is cached; the others are made beforehand."""

    _milliseconds = tuple(b"%03d" % number for number in range(1000))

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def __call__(self) -> tuple[bytes, bytes]:
        second, milliseconds = divmod(time_ns() // 1_000_000, 1000)
        if second != self._second:
            self._second = second
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._text = b'{"timestamp":"%b.' % text.encode()
        return self._text, self._milliseconds[milliseconds]


_stamp = _Stamp()
_encode_line = msgspec.json.Encoder().encode


def _split_lines(lines: list[bytes], size: int) -> list[bytes]:
    pieces: list[bytes] = []
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > size:
            pieces.append(piece)
            piece = b""
        piece += line
    return [*pieces, piece] if piece else pieces

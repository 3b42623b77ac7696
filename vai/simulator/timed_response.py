"""A response as bytes and moments, before it is sent.

Invariants: a lazy sequence of (moment, bytes) describes a response completely, faults included;
the code that sends it decides nothing.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from vai.simulator.knobs import Knobs

__all__ = ["Ending", "Framing", "Headers", "TimedPiece", "TimedResponse", "single_piece_response"]

Framing = Literal["chunked", "length", "close"]
Ending = Literal["keep", "close", "reset", "hang"]
Headers = list[tuple[str, str]]

_NO_BODY: Final = frozenset({204, 304})
_DRIP_EVERY: Final = 0.001
_PAGE: Final = (
    b"<!DOCTYPE html>\n<html>\n<head><title>%d %s</title></head>\n"
    b"<body><center><h1>%d %s</h1></center><hr><center>cloudfront</center></body>\n</html>\n"
)
_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus} | {
    498: "Capacity Exceeded",
    499: "Client Closed Request",
    529: "Site Overloaded",
}


class TimedPiece(msgspec.Struct):
    """Bytes due `at` seconds after the request was complete, with `tokens` of output."""

    at: float
    data: bytes
    tokens: int = 0


class TimedResponse(msgspec.Struct, kw_only=True):
    """A status, headers without framing, the payload, and the faults."""

    status: int
    headers: Headers
    body: Iterable[TimedPiece]
    head_at: float = 0.0
    framing: Framing = "length"
    ending: Ending = "keep"
    bare: bool = False
    """The response is the payload only, without a head."""
    knobs: Knobs = msgspec.field(default_factory=Knobs)
    input_tokens: int = 0
    output_tokens: int = 0

    def render_wire(self, date: str, keep_alive: bool) -> Iterator[TimedPiece]:
        """Every byte of the response in its order. Read `ending` after the last."""
        knobs = self.knobs
        body, length = self._render_payload()
        if not keep_alive and self.ending == "keep":
            self.ending = "close"
        if knobs.early:
            yield TimedPiece(
                0.0, b"HTTP/1.1 %d %b\r\n\r\n" % (knobs.early, _reason_phrase(knobs.early))
            )
        cut = self._cut_offset()
        if cut is not None and cut < 0:
            return
        if knobs.stall_at is not None and knobs.stall_at < 0:
            if knobs.stall == math.inf:
                self.ending = "hang"
                return
            self.head_at += knobs.stall
            body = _delay_pieces(body, knobs.stall)
        if not self.bare:
            yield TimedPiece(self.head_at, self._render_head(date, length))
        if self.framing == "chunked":
            body = _chunk_pieces(body, knobs.malformed == "chunk")
        if cut is not None:
            body = _cut_pieces(body, cut)
        if knobs.stall_at is not None and knobs.stall_at >= 0:
            body = self._stall_at(body, knobs.stall_at)
        yield from _drip_pieces(body, knobs.drip) if knobs.drip else body

    def _cut_offset(self) -> int | None:
        knobs = self.knobs
        if knobs.rst is not None:
            self.ending = "reset"
            return knobs.rst
        if knobs.cut is not None:
            self.ending = "close"
        return knobs.cut

    def _render_payload(self) -> tuple[Iterator[TimedPiece], int]:
        """The payload and, where its framing needs one, its length."""
        knobs = self.knobs
        self.framing = knobs.framing or self.framing
        if knobs.html:
            self.body, self.framing = [TimedPiece(self.head_at, _html_page(self.status))], "length"
            self._set_content_type("text/html; charset=utf-8")
        if knobs.malformed == "type":
            self._set_content_type("text/plain")
        body: Iterator[TimedPiece] = iter(self.body)
        if knobs.malformed == "json":
            body = _damage_pieces(body, lambda data: data.replace(b":", b"", 1))
        elif knobs.malformed == "sse":
            body = _damage_pieces(body, lambda data: data.replace(b'"}', b'"', 1), after=1)
        elif knobs.malformed == "utf8":
            body = _damage_pieces(body, lambda data: data.replace(b'":"', b'":"\xff'))
        if knobs.gzip:
            body = _gzip_pieces(body)
            self.headers.append(("content-encoding", "gzip"))
        if self.framing == "close":
            self.ending = "close"
        if self.framing != "length":
            return body, 0
        held = list(body)
        return iter(held), sum(len(piece.data) for piece in held)

    def _set_content_type(self, value: str) -> None:
        self.headers = [pair for pair in self.headers if pair[0].lower() != "content-type"]
        self.headers.append(("content-type", value))

    def _render_head(self, date: str, length: int) -> bytes:
        version = "HTTQ/1.1" if self.knobs.malformed == "head" else "HTTP/1.1"
        lines = [f"{version} {self.status} {_reason_phrase(self.status).decode()}", f"date: {date}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.framing == "chunked":
            lines.append("transfer-encoding: chunked")
        elif self.framing == "length" and self.status not in _NO_BODY:
            lines.append(f"content-length: {length}")
        lines.append("connection: keep-alive" if self.ending == "keep" else "connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _stall_at(self, body: Iterator[TimedPiece], at: int) -> Iterator[TimedPiece]:
        sent = 0
        for piece in body:
            sent += len(piece.data)
            if sent <= at:
                yield piece
                continue
            keep = len(piece.data) - (sent - at)
            if keep:
                yield TimedPiece(piece.at, piece.data[:keep])
            if self.knobs.stall == math.inf:
                self.ending = "hang"
                return
            late = TimedPiece(piece.at, piece.data[keep:], piece.tokens)
            yield from _delay_pieces(_chain_pieces(late, body), self.knobs.stall)
            return


def single_piece_response(
    status: int, headers: Headers, data: bytes, *, at: float = 0.0, tokens: int = 0
) -> TimedResponse:
    """A response whose payload is one piece."""
    return TimedResponse(
        status=status, headers=headers, body=[TimedPiece(at, data, tokens)], head_at=at
    )


def _reason_phrase(status: int) -> bytes:
    return _PHRASES.get(status, "Unknown").encode()


def _html_page(status: int) -> bytes:
    phrase = _reason_phrase(status)
    return _PAGE % (status, phrase, status, phrase)


def _chain_pieces(first: TimedPiece, rest: Iterator[TimedPiece]) -> Iterator[TimedPiece]:
    yield first
    yield from rest


def _delay_pieces(body: Iterator[TimedPiece], seconds: float) -> Iterator[TimedPiece]:
    for piece in body:
        yield TimedPiece(piece.at + seconds, piece.data, piece.tokens)


def _chunk_pieces(body: Iterator[TimedPiece], malformed: bool) -> Iterator[TimedPiece]:
    at = 0.0
    for count, piece in enumerate(body):
        at = piece.at
        size = b"xyz" if malformed and count == 1 else b"%x" % len(piece.data)
        if piece.data:
            yield TimedPiece(at, b"%b\r\n%b\r\n" % (size, piece.data), piece.tokens)
    yield TimedPiece(at, b"zz\r\n\r\n" if malformed else b"0\r\n\r\n")


def _cut_pieces(body: Iterator[TimedPiece], at: int) -> Iterator[TimedPiece]:
    for piece in body:
        if len(piece.data) >= at:
            if at:
                yield TimedPiece(piece.at, piece.data[:at])
            return
        at -= len(piece.data)
        yield piece


def _drip_pieces(body: Iterator[TimedPiece], size: int) -> Iterator[TimedPiece]:
    moment = 0.0
    for piece in body:
        moment = max(moment, piece.at)
        for start in range(0, len(piece.data), size):
            moment += _DRIP_EVERY
            yield TimedPiece(moment, piece.data[start : start + size])


def _gzip_pieces(body: Iterator[TimedPiece]) -> Iterator[TimedPiece]:
    """One gzip file, flushed after each piece so that it still streams."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    at = 0.0
    for piece in body:
        at = piece.at
        packed = packer.compress(piece.data) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield TimedPiece(at, packed, piece.tokens)
    yield TimedPiece(at, packer.flush())


def _damage_pieces(
    body: Iterator[TimedPiece], damage: Callable[[bytes], bytes], after: int = 0
) -> Iterator[TimedPiece]:
    for count, piece in enumerate(body):
        data = damage(piece.data) if count == after else piece.data
        yield TimedPiece(piece.at, data, piece.tokens)

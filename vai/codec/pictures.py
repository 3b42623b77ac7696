"""How large a picture is, from the first bytes of its file.

Invariants: the module decodes nothing. PNG, JPEG, GIF and WebP state their size near the
beginning; a picture without a readable one has no size.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["HEAD", "read_picture_size"]

HEAD: Final = 1 << 16
"""Bytes that are enough, except for a JPEG with more metadata than that before its picture."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# ITU T.81 table B.1: frame headers are FFC0 to FFCF without DHT, JPG and DAC.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers without a length: TEM, RST0 to RST7, SOI."""


def read_picture_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, None where `head` does not show them. Never raises."""
    try:
        size = _read_size(head)
    except (struct.error, IndexError):  # the file ends within its own header
        return None
    return size if size and all(size) else None


def _read_size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(_PNG):
        return _unpack_pair(">II", head, 16)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _unpack_pair("<HH", head, 6)
    if head.startswith(b"\xff\xd8"):
        return _read_jpeg(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _read_webp(head)
    return None


def _unpack_pair(form: str, head: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, head, at)
    return first, second


def _read_jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _FRAMES:
            height, width = _unpack_pair(">HH", head, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2  # a marker may be preceded by filling
        if marker not in _BARE and marker != 0xFF:
            at += max(2, struct.unpack_from(">H", head, at)[0])
    return None


def _read_webp(head: bytes) -> tuple[int, int] | None:
    form = head[12:16]
    if form == b"VP8X":  # canvas, each side less one in 24 bits
        sides = head[24:30]
        if len(sides) < 6:
            return None
        return int.from_bytes(sides[:3], "little") + 1, int.from_bytes(sides[3:], "little") + 1
    if form == b"VP8L":  # RFC 9649 section 3.4: 14 bits each, less one
        bits = struct.unpack_from("<I", head, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":  # RFC 6386 section 9.1: 14 bits each, above them a scale
        width, height = _unpack_pair("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None

"""The size of a picture, read from its first bytes.

Invariants: the module decodes nothing; what it does not recognise is `None`.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["Picture", "measure_picture"]

_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD})


class Picture(msgspec.Struct, frozen=True):
    """An image of a request. Sizes are in pixels; an image given by URL has none."""

    media_type: str = ""
    width: int = 0
    height: int = 0

    def __str__(self) -> str:
        if not self.width:
            return "of unknown size"
        return f"{self.width}x{self.height} {self.media_type.removeprefix('image/').upper()}"


def measure_picture(data: bytes) -> Picture | None:
    """Recognise PNG, GIF, JPEG and WebP."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return Picture("image/png", _read_big_endian(data, 16, 4), _read_big_endian(data, 20, 4))
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return Picture(
            "image/gif", _read_little_endian(data, 6, 2), _read_little_endian(data, 8, 2)
        )
    if data.startswith(b"\xff\xd8"):
        return _measure_jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _measure_webp(data)
    return None


def _measure_jpeg(data: bytes) -> Picture:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _JPEG_FRAMES:
            return Picture(
                "image/jpeg", _read_big_endian(data, at + 7, 2), _read_big_endian(data, at + 5, 2)
            )
        at += 2 + _read_big_endian(data, at + 2, 2)
    return Picture("image/jpeg")


def _measure_webp(data: bytes) -> Picture:
    kind = data[12:16]
    if kind == b"VP8X":
        return Picture(
            "image/webp", _read_little_endian(data, 24, 3) + 1, _read_little_endian(data, 27, 3) + 1
        )
    if kind == b"VP8L":
        bits = _read_little_endian(data, 21, 4)
        return Picture("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    return Picture(
        "image/webp",
        _read_little_endian(data, 26, 2) & 0x3FFF,
        _read_little_endian(data, 28, 2) & 0x3FFF,
    )


def _read_big_endian(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _read_little_endian(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")

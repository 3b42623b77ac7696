"""A request's image: its type by its first bytes, and its size."""

from __future__ import annotations

from typing import Final

import msgspec

from vai.codec.pictures import read_picture_size

__all__ = ["Picture", "measure_picture"]

_TYPES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8", "image/jpeg"),
    (b"RIFF", "image/webp"),
)


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
    """The picture of a PNG, GIF, JPEG or WebP file; None for other data. A JPEG may have no
    size, because its frame can stand after more metadata than `data` has."""
    media_type = next((name for magic, name in _TYPES if data.startswith(magic)), None)
    if media_type is None:
        return None
    size = read_picture_size(data)
    if size is not None:
        return Picture(media_type, *size)
    return Picture(media_type) if media_type == "image/jpeg" else None

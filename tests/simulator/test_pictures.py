"""Sizes of pictures, from bytes written here."""

from __future__ import annotations

import struct

import pytest

from vai.simulator.pictures import Picture, measure_picture

JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 20, 30) + b"\x03"
WEBP = b"RIFF\x00\x00\x00\x00WEBP"


@pytest.mark.parametrize(
    ("data", "picture"),
    [
        (b"GIF89a" + struct.pack("<HH", 5, 6), Picture("image/gif", 5, 6)),
        (JPEG, Picture("image/jpeg", 30, 20)),
        (WEBP + b"VP8X" + bytes(8) + b"\x09\0\0\x13\0\0", Picture("image/webp", 10, 20)),
        (WEBP + b"VP8 " + bytes(10) + struct.pack("<HH", 7, 8), Picture("image/webp", 7, 8)),
        (
            WEBP + b"VP8L" + bytes(4) + b"\x2f" + struct.pack("<I", 11 | 12 << 14) + bytes(9),
            Picture("image/webp", 12, 13),
        ),
        (b"BM", None),
        (b"", None),
    ],
)
def test_sizes_are_read(data, picture):
    assert measure_picture(data) == picture


def test_a_broken_jpeg_ends():
    assert measure_picture(b"\xff\xd8\xff\xe0\x00\x00\xff\xe0\x00\x00") == Picture("image/jpeg")

"""The size of a picture from the head of its file, for every form and every cut."""

from __future__ import annotations

import struct

import pytest

from vai.codec.pictures import read_picture_size

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"\x08\x02\0\0\0"
GIF = b"GIF89a" + struct.pack("<HH", 33, 44) + b"\0\0\0"
_EXIF = b"\xff\xe1" + struct.pack(">H", 2 + 300) + b"E" * 300
_TABLE = b"\xff\xc4" + struct.pack(">H", 4) + b"\0\0"  # DHT: within the range, no frame
_SOF = b"\xff\xff\xc2" + struct.pack(">HBHHB", 11, 8, 720, 1280, 1) + b"\1\x11\0"
JPEG = b"\xff\xd8" + _EXIF + _TABLE + _SOF
VP8X = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (1919).to_bytes(3, "little") + b"\x37\x04\0"
VP8L = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 99 | 49 << 14)
VP8 = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 300 | 1 << 14, 200)

FORMS = {
    "png": (PNG, (640, 480)),
    "gif": (GIF, (33, 44)),
    "jpeg": (JPEG, (1280, 720)),
    "webp extended": (VP8X, (1920, 1080)),
    "webp lossless": (VP8L, (100, 50)),
    "webp lossy": (VP8, (300, 200)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_its_size(form: str) -> None:
    head, size = FORMS[form]
    assert read_picture_size(head) == size


@pytest.mark.parametrize("form", FORMS)
def test_a_cut_head_has_the_size_or_none(form: str) -> None:
    head, size = FORMS[form]
    for end in range(len(head)):
        assert read_picture_size(head[:end]) in (None, size)
    assert read_picture_size(head[:9]) is None


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"%PDF-1.7",
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff\xe0\0\0" * 1000,  # lengths that lead nowhere
        b"\xff\xd8\0\0",
        b"\xff" * 1000,
        PNG.replace(struct.pack(">I", 480), b"\0\0\0\0"),
    ],
)
def test_what_says_nothing_readable_has_no_size(head: bytes) -> None:
    assert read_picture_size(head) is None

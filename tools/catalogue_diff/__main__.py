"""The command: downloads, compares, prints. It ends with 0 whether or not there are differences."""

from __future__ import annotations

import sys
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec

from tools.catalogue_diff import genai_prices, litellm
from tools.catalogue_diff.compare import differences
from tools.catalogue_diff.explained import explanations
from tools.catalogue_diff.listed import Listed, PriceList
from tools.catalogue_diff.ours import listed
from tools.catalogue_diff.report import report
from tools.catalogue_diff.wheels import OTHER_SHAPE, Wheel, download, newest
from vai.config.installed import installed_catalogue

__all__ = ["main", "read_lists"]

FOLDER: Final = Path(__file__).parents[2] / "build" / "price-lists"
EXPLAINED: Final = Path(__file__).with_name("explained.toml")
_SECONDS: Final = 40.0


def read_lists(folder: Path, ours: dict[str, Listed], today: date) -> list[PriceList]:
    """The lists of the wheels in a folder; one that cannot be read is named and left out."""
    lists: list[PriceList] = []
    for package in (genai_prices.PACKAGE, litellm.PACKAGE):
        file = newest(package, folder)
        if file is None:
            continue
        try:
            wheel = Wheel(file)
            if package == litellm.PACKAGE:
                theirs = litellm.read(wheel, today)
            else:
                theirs = genai_prices.read(wheel, today, ours)
        except (OSError, zipfile.BadZipFile, *OTHER_SHAPE) as error:
            _say(f"{file.name} cannot be read: {type(error).__name__}: {error}")
            continue
        if theirs.models or theirs.matches:
            lists.append(theirs)
        else:
            _say(f"{file.name} cannot be read: no model of a provider of the catalogue is in it")
    return lists


def main(folder: Path = FOLDER) -> int:
    """Compare and print.

    Returns:
        0, or 1 where there was no list to compare with, or the explanations cannot be read.
    """
    today = datetime.now(UTC).date()
    failure = download((genai_prices.PACKAGE, litellm.PACKAGE), folder, seconds=_SECONDS)
    if failure:
        _say(f"the newest price lists cannot be downloaded: {failure}")
    ours = listed(installed_catalogue().cards)
    lists = read_lists(folder, ours, today)
    if not lists:
        _say("no price list to compare with; is PyPI reachable?")
        return 1
    try:
        explained = explanations(EXPLAINED)
    except (OSError, msgspec.DecodeError) as error:
        _say(f"{EXPLAINED.name} cannot be read: {error}")
        return 1
    sys.stdout.write(report(lists, differences(ours, lists, today), explained))
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"catalogue-diff: {line}\n")


if __name__ == "__main__":
    sys.exit(main())

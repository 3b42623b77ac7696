"""The explanations of differences that stay: which, why, and since when.

An entry explains what it names and nothing else. Where it gives the values of the list, it stops
explaining when the list changes; an entry that explains nothing is reported.
"""

from __future__ import annotations

from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from tools.catalogue_diff.compare import Difference

__all__ = ["Explanation", "explanations"]


class Explanation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry.

    Attributes:
        models: patterns of ``provider/model``.
        fields: patterns of fields.
        list: the package, "" for each.
        theirs: the list's values that the entry is about, none for each.
        reason: one sentence.
        date: when a maintainer last looked.
    """

    models: tuple[str, ...]
    fields: tuple[str, ...]
    list: str = ""
    theirs: tuple[str, ...] = ()
    reason: str
    date: date

    def explains(self, difference: Difference) -> bool:
        """Whether the entry is about this difference."""
        return (
            self.list in ("", difference.package)
            and any(fnmatchcase(difference.name, pattern) for pattern in self.models)
            and any(fnmatchcase(difference.field, pattern) for pattern in self.fields)
            and (not self.theirs or difference.there in self.theirs)
        )


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    explained: tuple[Explanation, ...] = ()


def explanations(file: Path) -> tuple[Explanation, ...]:
    """The entries of a file.

    Raises:
        OSError, msgspec.DecodeError: the file is missing or no such table.
    """
    return msgspec.toml.decode(file.read_bytes(), type=_File).explained

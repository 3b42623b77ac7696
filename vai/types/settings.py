"""The base of every section of the settings, for sections that other rings define."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["DURATION", "YEAR", "Duration", "SettingsSection"]

DURATION = {"unit": "seconds"}
"""Marks a float that may be written as text with units, `"1h30m"`."""

YEAR = 31_536_000
"""The longest duration, so that an infinite one is refused."""

Duration = Annotated[float, msgspec.Meta(gt=0, le=YEAR, extra=DURATION)]


class SettingsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of settings."""

"""The catalogue as it was installed, before any setting changes it.

Invariants: the file is read once per process, and the module fetches nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from vai.policy.catalogue import Catalogue, cards_of
from vai.types.catalogue import CatalogueFile

__all__ = ["FILE", "installed_catalogue"]

FILE = Path(__file__).parents[1] / "catalogue" / "models.json"
"""The data file of the package."""


@cache
def installed_catalogue() -> Catalogue:
    """Return the catalogue of the package.

    Raises:
        OSError, msgspec.DecodeError: the installation is broken.
    """
    return Catalogue(cards_of(msgspec.json.decode(FILE.read_bytes(), type=CatalogueFile)))

"""Which providers process their requests in one region, told from the host of their base URL.

A provider may charge more for that. Where the request names the region (`inference_geo`), the
answer's usage says so; where the host implies it, only the settings know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from vai.types.provider import ProviderSpec

__all__ = ["regions_of_hosts"]

_REGIONAL: Final[Mapping[str, str]] = MappingProxyType({".api.openai.com": "regional"})
"""End of a host's name -> the factor of the catalogue that its requests pay.

OpenAI: https://developers.openai.com/api/docs/guides/data-residency (2026-11-28), 10 % more at
`eu.api.openai.com` and its like for the models released since 2026-03-05.
"""


def regions_of_hosts(rows: Iterable[ProviderSpec]) -> dict[str, str]:
    """Return provider -> the factor that its host implies, for those whose host implies one."""
    found: dict[str, str] = {}
    for spec in rows:
        host = (urlsplit(spec.base_url).hostname or "").rstrip(".")
        for end, factor in _REGIONAL.items():
            if host.endswith(end):
                found[spec.id] = factor
    return found

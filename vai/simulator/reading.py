"""What the checks of several dialects have in common.

Invariants: small readers without an opinion, and the words in which OpenAI and
those who speak as it does refuse a parameter.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from vai.simulator.ask import Refused
from vai.simulator.pictures import Picture, measure

__all__ = ["invalid", "missing", "names", "one_of", "pictured", "unknown"]


def names(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


def pictured(url: str) -> Picture | None:
    """The picture in a data URL; None when it holds none."""
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        return None
    try:
        return measure(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None


def unknown(name: str) -> Refused:
    return Refused(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def missing(name: str) -> Refused:
    words = f"Missing required parameter: '{name}'."
    return Refused(400, words, param=name, code="missing_required_parameter")


def invalid(name: str, expected: str, code: str = "invalid_value") -> Refused:
    return Refused(400, f"Invalid value for '{name}': {expected}.", param=name, code=code)


def one_of(name: str, allowed: Iterable[str]) -> Refused:
    return invalid(name, f"Supported values are: {', '.join(sorted(allowed))}")

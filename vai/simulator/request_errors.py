"""Functions that the checks of several wire formats share.

Invariants: the functions that read raise nothing; the errors have the words with which OpenAI and
compatible providers refuse a parameter.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from vai.simulator.parsed_request import SimulatedError
from vai.simulator.pictures import Picture, measure_picture

__all__ = [
    "expected_one_of",
    "invalid_value",
    "missing_member",
    "picture_of_url",
    "split_names",
    "unknown_member",
]


def split_names(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


def picture_of_url(url: str) -> Picture | None:
    """The picture in a data URL; None when it has none."""
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        return None
    try:
        return measure_picture(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None


def unknown_member(name: str) -> SimulatedError:
    return SimulatedError(
        400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
    )


def missing_member(name: str) -> SimulatedError:
    words = f"Missing required parameter: '{name}'."
    return SimulatedError(400, words, param=name, code="missing_required_parameter")


def invalid_value(name: str, expected: str, code: str = "invalid_value") -> SimulatedError:
    return SimulatedError(400, f"Invalid value for '{name}': {expected}.", param=name, code=code)


def expected_one_of(name: str, allowed: Iterable[str]) -> SimulatedError:
    return invalid_value(name, f"Supported values are: {', '.join(sorted(allowed))}")

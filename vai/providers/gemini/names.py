"""Tool names in the form Gemini accepts: pure functions of what the caller chose."""

from __future__ import annotations

import re

from vai.providers.translate import names
from vai.types.request import Tool

__all__ = ["alias", "aliases"]

_LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


def alias(name: str) -> str:
    """A tool's name, changed only if Gemini would refuse it."""
    return name if _LEGAL.fullmatch(name) else names.legal_tool_name(f"_{name}")


def aliases(tools: list[Tool] | None) -> dict[str, str]:
    """Alias -> the caller's name, for the tools whose name had to be changed."""
    given = [tool.name for tool in tools or () if tool.name]
    return {alias(name): name for name in given if alias(name) != name}

"""A choice among no tools.

Invariants: a call that was demanded and cannot come is no answer, so the demand
refuses the request; any other choice says nothing where there is nothing to choose from.
"""

from __future__ import annotations

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.request import ToolChoice

__all__ = ["check_needless"]


def check_needless(choice: ToolChoice | None, findings: Diagnostics) -> None:
    """Note a choice that is not sent because no tools are: servers refuse it."""
    if choice is None:
        return
    if choice.type in ("any", "tool"):
        findings.refuse(
            "tool_choice", "expected tools beside it, or auto or none: there is none to choose"
        )
    else:
        findings.drop("tool_choice")

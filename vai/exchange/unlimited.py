"""Admission for a caller who answers for nobody but itself: in process, nothing is shared."""

from __future__ import annotations

from vai.types.message import Usage

__all__ = ["UnlimitedAdmission"]


class UnlimitedAdmission:
    """Admits everything, charges nobody."""

    async def __call__(self, tokens: int, /) -> UnlimitedAdmission:
        """A place; there is always one."""
        return self

    def settle(self, usage: Usage, /) -> None:
        """Nothing was reserved."""

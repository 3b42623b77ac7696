"""How many stop sequences VAI watches for itself, where a server takes none or fewer.

Each piece of an answer is searched for each of them, and what may be the beginning of one is
held back, so both their number and their length cost time for every piece.
"""

from __future__ import annotations

from typing import Final

from vai.providers.translate.diagnostics import Diagnostics

__all__ = ["check_stops"]

_MAX_SEQUENCES: Final = 64
_MAX_LENGTH: Final = 256


def check_stops(sequences: list[str], findings: Diagnostics) -> None:
    """Note sequences that are too many or too long to be watched for."""
    if len(sequences) > _MAX_SEQUENCES or any(len(one) > _MAX_LENGTH for one in sequences):
        what = f"expected at most {_MAX_SEQUENCES} sequences of {_MAX_LENGTH} characters"
        findings.refuse("stop_sequences", f"{what} for {findings.target}")

"""The usual admission and the usual settlement in C, where the installation has that module.

Usual is what nearly every request needs: the mutex is free and the section whole, the rows of all
principals are known and their windows have moved to the current slot, no limit refuses and none is
smoothed. Everything else is for `SharedLimits` alone.

Invariants: `take` and `settle` write the words that `SharedLimits` would write, in the same order,
or return None before the first write of a lease; what they wrote until then (the latest slot, the
mark that a repair is due) the Python code would have written too. So what is left after a kill
does not depend on which of the two ran, and processes with and without the module may share a
section.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from vai.io.limits.rows import CounterRows
from vai.io.limits.section import LimitsSection
from vai.policy.limits.decision import Decision

if TYPE_CHECKING:
    from vai.io.limits._fast_path import FastPath

__all__ = ["module", "open_fast_path"]

module: ModuleType | None = None
try:
    from vai.io.limits import _fast_path

    module = _fast_path
except ImportError:
    pass  # there was no C compiler, or this is no Linux


def open_fast_path(
    section: LimitsSection, rows: CounterRows, owner_at: int, owner: int
) -> FastPath | None:
    """The fast path of the worker whose claim `owner` stands at `owner_at`, if there is one."""
    if module is None:
        return None
    opened: FastPath = module.FastPath(
        section.words,
        rows.cached,
        section.mutex,
        Decision,
        section.rows,
        section.free,
        section.leases,
        section.lease_count,
        owner_at,
        owner,
    )
    return opened

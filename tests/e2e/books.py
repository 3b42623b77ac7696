"""What a running gateway has counted, read from its shared memory by another process.

Invariants: it only reads, so a test that looks changes nothing of what it sees.
"""

from __future__ import annotations

import os
import time

from vai.io.control_block import ControlBlock, control_block_directory
from vai.io.limits import maintenance, snapshot
from vai.policy.limits.sets import GATEWAY
from vai.policy.limits.store import LimitsSnapshot, PrincipalUse

__all__ = ["Books"]


class Books:
    """The limits of the group whose main process is `pid`."""

    def __init__(self, pid: int) -> None:
        [path] = control_block_directory().glob(f"vai-{os.getuid()}-{pid}-*.control-block")
        self.control_block = ControlBlock.open(path)
        self.section = maintenance.open_section(self.control_block)

    def snapshot(self) -> LimitsSnapshot:
        return snapshot.read_snapshot(self.section, time.monotonic())

    def use(self, name: str = GATEWAY) -> PrincipalUse:
        """What one principal uses; nothing where it was never let in."""
        known = {one.name: one for one in self.snapshot().principals}
        return known.get(name, PrincipalUse(name, 0, 0, 0, 0))

    @property
    def running(self) -> int:
        """Places that are held, by the leases themselves."""
        return snapshot.count_leases(self.section)[0]

    def at_rest(self) -> bool:
        """Whether nobody holds a place, by the leases and by the counts made from them."""
        return not self.running and not any(one.running for one in self.snapshot().principals)

"""What the dead held is free again, whoever looks, and whenever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.limits.contract import user
from vai.io.control_block import ControlBlock
from vai.io.limits import leases, maintenance
from vai.io.limits.layout import SESSION
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.io.process import ProcessIdentity, current_process, is_alive

HOLDER = """
import sys
from pathlib import Path
from vai.io.control_block import ControlBlock
from vai.io.limits import leases, maintenance
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import LimitSet, Principal
control_block = ControlBlock.open(Path(sys.argv[1]))
row = control_block.claim_slot(0)
limits = SharedLimits(maintenance.open_section(control_block), row.index, row.generation)
alice = Principal("user:alice", LimitSet(concurrency=3))
for _ in range(3):
    assert limits.take_lease((alice,), 1, 100.0).is_admitted
print(row.generation, flush=True)
input()
"""


@pytest.fixture
def control_block(tmp_path: Path) -> Iterator[ControlBlock]:
    control_block = ControlBlock.create(
        tmp_path / "limits.control-block", sections=maintenance.section_sizes()
    )
    maintenance.prepare_section(control_block)
    yield control_block
    control_block.close()


@pytest.fixture
def section(control_block: ControlBlock) -> LimitsSection:
    return maintenance.open_section(control_block)


@pytest.fixture
def dead(control_block: ControlBlock) -> int:
    """The claim of a worker that was killed with three places in hand."""
    worker = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(control_block.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with worker:
        assert worker.stdout is not None
        claim = int(worker.stdout.readline())
        os.kill(worker.pid, signal.SIGKILL)
    return claim


def test_the_places_of_a_killed_worker_are_free_before_its_row_is(
    control_block, section, dead
) -> None:
    row = control_block.claim_slot(1)
    mine = SharedLimits(section, row.index, row.generation)
    who = (user(concurrency=3),)
    assert not mine.take_lease(who, 1, 100.0).is_admitted
    (left,) = [row for row in control_block.taken_slots() if row.generation == dead]
    assert not is_alive(left.owner)
    maintenance.reclaim_worker(control_block, left)
    assert [mine.take_lease(who, 1, 100.0).is_admitted for _ in range(4)] == [True] * 3 + [False]


def test_a_manager_that_comes_late_finds_what_nobody_holds(control_block, section, dead) -> None:
    row = control_block.claim_slot(1)
    mine = SharedLimits(section, row.index, row.generation)
    mine.take_lease((user("user:live", sessions=1),), 0, 100.0, SESSION)
    (left,) = [row for row in control_block.taken_slots() if row.generation == dead]
    totals = maintenance.run_maintenance(control_block, section, 0.0)
    assert (totals.running, totals.sessions) == (3, 1), "its row is still taken"
    control_block.release_slot(left, ProcessIdentity(*left.owner))
    for _ in range(2):
        totals = maintenance.run_maintenance(control_block, section, 0.0)
        assert (totals.running, totals.sessions, totals.expired) == (0, 1, 0)
    totals = maintenance.run_maintenance(control_block, section, 200.0)
    assert (totals.running, totals.sessions, totals.expired) == (0, 0, 1)
    assert control_block.release_slot(row, current_process())


def test_what_could_not_be_done_is_done_at_the_next_turn(
    control_block, section, dead, monkeypatch
) -> None:
    (left,) = [row for row in control_block.taken_slots() if row.generation == dead]

    def unavailable(*_: object) -> None:
        raise LockUnavailable("the holder of the lock is stopped")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "reclaim_leases", unavailable)
        maintenance.reclaim_worker(control_block, left)
        control_block.release_slot(left, left.owner)
        assert maintenance.run_maintenance(control_block, section, 0.0).running == 3
    assert maintenance.run_maintenance(control_block, section, 0.0).running == 0

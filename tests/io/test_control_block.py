"""One file, many processes: rows are taken once, freed once, and outlive nobody."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vai.io import control_block as control_block_module
from vai.io.control_block import (
    MAX_SIZE,
    ROWS,
    ControlBlock,
    ControlBlockError,
    State,
    remove_dead_blocks,
)
from vai.io.process import ProcessIdentity, current_process, is_alive


@pytest.fixture
def control_block(tmp_path: Path) -> Iterator[ControlBlock]:
    made = ControlBlock.create(tmp_path / "test.control-block")
    yield made
    made.close()


def test_a_row_goes_from_claim_to_release(control_block: ControlBlock) -> None:
    row = control_block.claim_slot(number=3)
    assert (row.owner, row.state, row.number) == (current_process(), State.STARTING, 3)
    assert row.serving_since == 0
    row.state = State.SERVING
    row.show_inflight(7)
    row.show_connections(9)
    other = ControlBlock.open(control_block.path)
    (seen,) = other.taken_slots()
    assert (seen.owner, seen.state, seen.inflight) == (current_process(), State.SERVING, 7)
    assert seen.serving_since > 0
    assert seen.connections == 9
    assert not control_block.release_slot(row, ProcessIdentity(1, 1)), (
        "only its owner's row is freed"
    )
    assert control_block.release_slot(row, current_process())
    assert not control_block.release_slot(row, current_process())
    assert other.taken_slots() == []
    other.close()


def test_two_claims_of_one_row_can_be_told_apart(control_block: ControlBlock) -> None:
    first = control_block.claim_slot()
    claim = first.generation
    first.show_connections(5)
    control_block.release_slot(first, current_process())
    again = control_block.claim_slot()
    assert (again.index, again.generation) == (first.index, claim + 1)
    assert again.connections == 0


def test_rows_are_bounded(control_block: ControlBlock) -> None:
    for _ in range(ROWS):
        control_block.claim_slot()
    with pytest.raises(ControlBlockError, match="all 128 slots"):
        control_block.claim_slot()


def test_sections_are_aligned_zeroed_and_bounded(tmp_path: Path) -> None:
    control_block = ControlBlock.create(tmp_path / "s.control-block", sections={1: 100, 2: 8192})
    first, second = control_block.open_section(1), control_block.open_section(2)
    assert (len(first), len(second)) == (100, 8192)
    assert bytes(second) == bytes(8192)
    second.cast("q")[0] = 42
    other = ControlBlock.open(control_block.path)
    assert other.open_section(2).cast("q")[0] == 42
    assert bytes(other.open_section(1)) == bytes(100), "sections do not overlap"
    with pytest.raises(ControlBlockError, match="no section 3"):
        other.open_section(3)
    with pytest.raises(ControlBlockError, match="larger"):
        ControlBlock.create(tmp_path / "big.control-block", sections={1: MAX_SIZE})
    other.close()
    control_block.close()
    assert not control_block.path.exists()


def test_a_living_owner_is_refused_and_a_dead_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "owned.control-block"
    make = (
        "from vai.io.control_block import *; from pathlib import Path; "
        f"ControlBlock.create(Path({str(path)!r}))"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", make + "; print('made', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ControlBlockError, match=f"running process {holder.pid}"):
            ControlBlock.create(path)
        holder.kill()
    control_block = ControlBlock.create(path)
    assert control_block.owner == current_process()
    control_block.close()


def test_control_blocks_of_the_dead_are_swept_and_others_left(tmp_path: Path) -> None:
    dead = tmp_path / f"vai-{os.getuid()}-1.control-block"
    subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import vai.io.control_block as b, pathlib; "
                f"b.ControlBlock.create(pathlib.Path({str(dead)!r}))"
            ),
        ],
        check=True,
    )
    alive = ControlBlock.create(tmp_path / f"vai-{os.getuid()}-2.control-block")
    foreign = tmp_path / "vai-other.control-block"
    foreign.touch()
    assert remove_dead_blocks(tmp_path) == [dead]
    assert alive.path.exists()
    assert foreign.exists()
    alive.close()


def test_other_files_are_not_control_blocks(tmp_path: Path) -> None:
    path = tmp_path / "not"
    path.write_bytes(bytes(1 << 20))
    with pytest.raises(ControlBlockError, match="not a control block"):
        ControlBlock.open(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ControlBlockError):
        ControlBlock.open(link)


def test_a_lock_held_by_a_stopped_process_does_not_hang(
    control_block: ControlBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_block_module, "LOCK_PATIENCE", 0.05)
    with control_block.path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ControlBlockError, match="stopped process"):
            control_block.claim_slot()
    control_block.claim_slot()


def _claim_many(path: Path, found: multiprocessing.Queue[list[int]]) -> None:
    control_block = ControlBlock.open(path)
    found.put([control_block.claim_slot().index for _ in range(20)])


def test_processes_never_claim_one_row_twice(control_block: ControlBlock) -> None:
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[list[int]] = context.Queue()
    claimers = [
        context.Process(target=_claim_many, args=(control_block.path, found)) for _ in range(4)
    ]
    for claimer in claimers:
        claimer.start()
    rows = [index for _ in claimers for index in found.get(timeout=20)]
    for claimer in claimers:
        claimer.join(5)
    found.close()
    found.join_thread()
    assert sorted(rows) == list(range(80))


def test_failed_starts_are_remembered_for_the_next_manager(control_block: ControlBlock) -> None:
    for _ in range(3):
        control_block.record_failed_start()
    other = ControlBlock.open(control_block.path)
    assert other.failed_starts() == 3
    for _ in range(40):
        control_block.record_failed_start()
    assert other.failed_starts() == control_block_module.FAILED_STARTS_KEPT
    control_block.record_served()
    assert other.failed_starts() == 0
    control_block.record_failed_start()
    assert other.failed_starts() == 1
    other.close()


def test_the_file_has_all_its_pages_from_the_start(tmp_path: Path) -> None:
    control_block = ControlBlock.create(tmp_path / "whole.control-block", sections={1: 3 << 20})
    held = control_block.path.stat()
    assert held.st_blocks * 512 >= held.st_size > 3 << 20
    control_block.close()


def test_a_file_that_cannot_grow_is_a_control_block_error_and_is_gone(tmp_path: Path) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, usual[1]))
    try:
        with pytest.raises(ControlBlockError, match=r"no shared memory: .* needs 30\d\d KiB"):
            ControlBlock.create(tmp_path / "grown.control-block", sections={1: 3 << 20})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


def test_a_control_block_of_another_version_is_not_swept_while_its_owner_lives(
    tmp_path: Path,
) -> None:
    control_block = ControlBlock.create(tmp_path / f"vai-{os.getuid()}-1-a.control-block")
    control_block._words[1] += 1  # the number of the layout
    assert remove_dead_blocks(tmp_path) == []
    control_block._words[3] = 2**31  # of a process that cannot exist
    assert remove_dead_blocks(tmp_path) == [control_block.path]


def test_servers_are_known_by_number(control_block: ControlBlock) -> None:
    control_block.record_server(0, current_process())
    control_block.record_server(5, ProcessIdentity(7, 8))
    control_block.record_server(
        -1, ProcessIdentity(9, 9)
    )  # no server: a single process, or the manager
    other = ControlBlock.open(control_block.path)
    assert other.started_servers() == {0: current_process(), 5: ProcessIdentity(7, 8)}
    other.close()


def test_a_zombie_and_a_reused_pid_are_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(ProcessIdentity(child.pid, 0))
    child.wait()
    assert is_alive(current_process())
    assert not is_alive(ProcessIdentity(os.getpid(), current_process().start + 1))

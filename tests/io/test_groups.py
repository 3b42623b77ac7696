"""Gateways are found by their control blocks, and looking at them changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vai.io import groups
from vai.io.control_block import ControlBlock, ControlBlockError
from vai.io.groups import NotRunning, has_manager, open_group, running_groups
from vai.io.process import ProcessIdentity, current_process

DEAD_OWNER = """
import sys
from pathlib import Path
from vai.io.control_block import ControlBlock
ControlBlock.create(Path(sys.argv[1]))
"""


def named(folder: Path, pid: int, end: str = "00") -> Path:
    return folder / f"vai-{os.getuid()}-{pid}-{end}.control-block"


@pytest.fixture
def control_block(tmp_path: Path) -> Iterator[ControlBlock]:
    made = ControlBlock.create(named(tmp_path, os.getpid()))
    yield made
    made.close()


def test_the_living_are_found_and_the_dead_stay_where_they_are(
    control_block: ControlBlock, tmp_path: Path
) -> None:
    left = named(tmp_path, 2)
    subprocess.run([sys.executable, "-c", DEAD_OWNER, str(left)], check=True, timeout=30)
    (tmp_path / "vai-other.control-block").write_bytes(b"of somebody else")
    (found,) = running_groups(tmp_path)
    assert found.path == control_block.path
    found.close()
    assert left.exists(), "who looks does not tidy up"
    with pytest.raises(NotRunning, match="has ended"):
        open_group(left)


def test_one_is_found_by_its_process_id(control_block: ControlBlock, tmp_path: Path) -> None:
    (found,) = running_groups(tmp_path, pid=os.getpid())
    assert found.owner == current_process()
    found.close()
    with pytest.raises(NotRunning, match="no gateway with process id 2 is"):
        running_groups(tmp_path, pid=2)


def test_nobody_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no gateway of this user"):
        running_groups(tmp_path)


def test_a_control_block_of_another_version_is_told_apart_from_none(tmp_path: Path) -> None:
    named(tmp_path, os.getpid()).write_bytes(bytes(65536))
    with pytest.raises(ControlBlockError, match="not a control block of layout") as told:
        running_groups(tmp_path)
    assert not isinstance(told.value, NotRunning)


def test_a_control_block_of_another_version_hides_no_other_one(
    control_block: ControlBlock, tmp_path: Path
) -> None:
    named(tmp_path, 1).write_bytes(bytes(65536))
    (found,) = running_groups(tmp_path)
    assert found.path == control_block.path
    found.close()


def test_a_manager_tends_while_it_lives_and_shows_it(
    control_block: ControlBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_manager(control_block), "none has come yet"
    control_block.manager = current_process()
    assert has_manager(control_block)
    monkeypatch.setattr(groups, "_SILENT", -1)
    assert not has_manager(control_block), "it stands still"
    monkeypatch.undo()
    control_block.manager = ProcessIdentity(os.getpid(), 1)
    assert not has_manager(control_block), "another process has its number"


def test_a_single_process_tends_itself(control_block: ControlBlock) -> None:
    control_block.claim_slot()
    assert has_manager(control_block)


def test_a_control_block_that_a_dead_process_left_unfinished_is_none(tmp_path: Path) -> None:
    named(tmp_path, 4_194_304).write_bytes(b"")
    with pytest.raises(NotRunning, match="no gateway of this user"):
        running_groups(tmp_path)
    named(tmp_path, os.getpid()).write_bytes(b"")
    with pytest.raises(ControlBlockError, match="is it of another version"):
        running_groups(tmp_path)

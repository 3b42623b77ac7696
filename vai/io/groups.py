"""The gateways that run on this machine, found by their control blocks.

Invariants: a look-up changes nothing. It maps and reads a control block without a lock and signals
no process, so it costs the serving processes nothing. It finds the control blocks of this user
alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from vai.io.control_block import ControlBlock, ControlBlockError, control_block_directory
from vai.io.process import ProcessIdentity, is_alive

__all__ = ["NotRunning", "has_manager", "open_group", "running_groups"]

_SILENT: Final = 5_000_000_000
"""Nanoseconds without a heartbeat after which a manager counts as absent; it writes ten a
second."""


class NotRunning(ControlBlockError):
    """There is no such gateway now."""


def running_groups(folder: Path | None = None, *, pid: int | None = None) -> list[ControlBlock]:
    """The control blocks of this user's gateways. The caller closes them.

    Args:
        folder: the folder of the control blocks; the system's folder for them if None.
        pid: return only the gateway whose first process has this id.

    Raises:
        NotRunning: no gateway runs.
        ControlBlockError: only gateways of another version run.
    """
    blocks: list[ControlBlock] = []
    foreign: ControlBlockError | None = None
    mask = f"vai-{os.getuid()}-{'*' if pid is None else pid}-*.control-block"
    for path in sorted((folder or control_block_directory()).glob(mask)):
        try:
            blocks.append(open_group(path))
        except NotRunning:
            continue
        except ControlBlockError as error:
            # Removed since it was listed, or unreadable; the end of the loop decides.
            if path.exists() and is_alive(ProcessIdentity(_first_process(path), 0)):
                foreign = error
    if blocks:
        return blocks
    if foreign is not None:
        raise foreign
    raise NotRunning(
        "no gateway of this user is running here"
        if pid is None
        else f"no gateway with process id {pid} is running"
    )


def _first_process(path: Path) -> int:
    """The process id in a control block's name, 0 without one."""
    number = path.name.split("-")[2]
    return int(number) if number.isdecimal() else 0


def open_group(path: Path) -> ControlBlock:
    """The control block at `path`. The caller closes it.

    Raises:
        NotRunning: its gateway has ended.
        ControlBlockError: it cannot be read, or another version of VAI made it.
    """
    control_block = ControlBlock.open(path)
    if is_alive(control_block.owner):
        return control_block
    control_block.close()
    raise NotRunning(f"the gateway of {path} has ended")


def has_manager(control_block: ControlBlock) -> bool:
    """Whether a process does a manager's work: a living manager, or a single process, which has
    no manager and does that work itself."""
    if is_alive(control_block.manager):
        return time.monotonic_ns() - control_block.manager_heartbeat < _SILENT
    # Main has a slot only where it is also the worker; then it has the first one.
    return control_block.slots[0].owner == control_block.owner

"""The state of a group as its first process describes it, for commands of the same user.

Invariants: the record lies in the control block, in a section of its own, and only the first
process writes it. A reader sees a whole record or none: the sequence word is odd while the record
is written, and a reader that finds it odd or changed reads again. It holds no secret.

    words 0..1      sequence, length of the record in bytes
    words 2..33     16 pairs of words: the processes that the manager killed last
    bytes 512..     the record, JSON
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from vai.io.control_block import ControlBlock, ControlBlockError
from vai.io.process import ProcessIdentity

__all__ = [
    "DEFAULTS",
    "SECTIONS",
    "GroupRecord",
    "GroupState",
    "KilledByManager",
    "ReloadState",
    "read_state",
]

DEFAULTS: Final = "defaults"
"""Stands for the configuration of a gateway that has no settings file of its own."""

_SECTION: Final = 2
_SIZE: Final = 64 << 10
_KILLED_AT, _KILLED = 2, 16
_RECORD_AT: Final = 512
SECTIONS: Final[Mapping[int, int]] = MappingProxyType({_SECTION: _SIZE})
"""The section that a control block needs for this module: id -> bytes."""

_MOST_TEXT: Final = 4000
"""Bytes of one text; eight such texts and the other members fit into the section."""
_MOST_RELOADS: Final = 6
_TRIES: Final = 50


class ReloadState(msgspec.Struct, frozen=True):
    """One reload. `number` counts the gateway's reloads from 1, in the order of their start."""

    number: int
    result: Literal["running", "reloaded", "refused", "failed"]
    """refused: the gateway cannot use the settings. failed: a new worker did not come up."""
    text: str = ""
    """Why the reload did not succeed; after a success, what it could not change."""
    workers: int = 0


class GroupState(msgspec.Struct, frozen=True):
    """A group as its first process last described it."""

    version: str
    mode: Literal["group", "single"]
    """single: one process, which cannot reload."""
    started: float
    """Unix time, seconds."""
    address: str
    """URL with the port on which the gateway listens, or `unix:` and a path."""
    config: str
    """The absolute path of the settings file, or `defaults`."""
    workers: int
    is_ready: bool = False
    """Whether all workers have served once."""
    reloads: tuple[ReloadState, ...] = ()
    """The last reloads, the oldest first."""

    @property
    def last_reload_number(self) -> int:
        """The number of the reload that began last; 0 before the first one."""
        return self.reloads[-1].number if self.reloads else 0


class GroupRecord:
    """The record of the group whose control block this process made.

    Raises:
        ControlBlockError: the control block has no section for the record.
    """

    def __init__(self, control_block: ControlBlock, state: GroupState) -> None:
        section = control_block.open_section(_SECTION)
        self._words = section[:_RECORD_AT].cast("q")
        self._bytes = section[_RECORD_AT:]
        self.state = state
        self._write()

    def change_state(self, **members: object) -> None:
        """Change some members of `GroupState` and write the record."""
        self.state = msgspec.structs.replace(self.state, **members)
        self._write()

    def begin_reload(self) -> None:
        """Record the start of a reload; main reads the settings files after this."""
        earlier = self.state.reloads[-_MOST_RELOADS + 1 :]
        self.change_state(
            reloads=(*earlier, ReloadState(self.state.last_reload_number + 1, "running"))
        )

    def end_reload(
        self, result: Literal["reloaded", "refused", "failed"], text: str = "", workers: int = 0
    ) -> None:
        """Record the result of the reload that began last."""
        ended = ReloadState(self.state.last_reload_number, result, _shorten_text(text), workers)
        self.change_state(reloads=(*self.state.reloads[:-1], ended))

    def _write(self) -> None:
        wire = msgspec.json.encode(self.state)
        if len(wire) > len(self._bytes):
            # Escapes may make a text six times as long.
            self.state = msgspec.structs.replace(self.state, reloads=self.state.reloads[-1:])
            wire = msgspec.json.encode(self.state)
        self._words[0] += 1
        self._bytes[: len(wire)] = wire
        self._words[1] = len(wire)
        self._words[0] += 1


def read_state(control_block: ControlBlock) -> GroupState | None:
    """The state of the group; None where its version writes none, or has not written it yet."""
    try:
        section = control_block.open_section(_SECTION)
    except ControlBlockError:
        return None
    words, content = section[:_RECORD_AT].cast("q"), section[_RECORD_AT:]
    for _ in range(_TRIES):
        sequence, length = words[0], words[1]
        wire = bytes(content[:length])
        if sequence and sequence % 2 == 0 and words[0] == sequence:
            try:
                return msgspec.json.decode(wire, type=GroupState)
            except msgspec.DecodeError:
                return None  # another version wrote it
        time.sleep(0.001)
    return None


class KilledByManager:
    """The processes that the manager killed last. The manager writes it, main reads it.

    Main receives only the exit status of a worker. The manager, which has the reason, has
    logged it already.
    """

    def __init__(self, control_block: ControlBlock) -> None:
        self._words = control_block.open_section(_SECTION)[: _RECORD_AT - 8].cast("q")
        self._next = 0

    def record_kill(self, who: ProcessIdentity) -> None:
        """Record that the manager is about to kill `who`."""
        at = _KILLED_AT + 2 * (self._next % _KILLED)
        self._next += 1
        self._words[at], self._words[at + 1] = who

    def __contains__(self, pid: object) -> bool:
        ends = _KILLED_AT + 2 * _KILLED
        return pid in self._words[_KILLED_AT:ends:2].tolist()


def _shorten_text(text: str) -> str:
    """The first lines of a text, as many as fit, with a note about the others."""
    if len(text.encode()) <= _MOST_TEXT:
        return text
    shown: list[str] = []
    room = _MOST_TEXT - 40
    lines = text.splitlines()
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        shown.append(line)
    if not shown:
        return text.encode()[: _MOST_TEXT - 40].decode(errors="ignore") + " ..."
    return "\n".join(shown) + f"\n  and {len(lines) - len(shown)} lines more"

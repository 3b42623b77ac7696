"""The control block: one small shared file in which every process of a group sees the others.

Invariants: a word has one writer, so no word needs a lock. A worker writes its own slot; after its
death the manager writes it. Main writes the header and the servers, the manager its own words in
the header. Only `flock` serialises taking and freeing slots; the kernel drops it when its holder
dies. Every word is 8 bytes and aligned, so a reader never sees a half-written word.

    header      words 0..63     the owner and the state of the group
    directory   words 64..127   16 sections of 4 words: id, offset, length in bytes, version
    workers     128 slots of 16 words
    servers     128 pairs of words: the process that main started last under each number
    sections    page-aligned, zeroed, sized when the file is made (limits, metrics, ...)

Pid and start time identify the owner of a slot. The worker name does not: during a restart two
processes have the same name.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Self

from vai.io.process import NO_PROCESS, ProcessIdentity, State, current_process, is_alive

__all__ = [
    "MAX_SIZE",
    "ROWS",
    "ControlBlock",
    "ControlBlockError",
    "State",
    "WorkerSlot",
    "control_block_directory",
]

MAGIC = int.from_bytes(b"VAIBOARD", "little")
LAYOUT = 1
ROWS = 128
MAX_SIZE = 64 << 20  # Docker gives /dev/shm 64 MiB by default
LOCK_PATIENCE = 2.0  # seconds; the lock is held for microseconds unless its holder is frozen

_WORD = 8
_DIRECTORY, _SECTIONS, _SECTION_WORDS = 64, 16, 4
_TABLE, _ROW_WORDS = 128, 16
_SERVERS, _SERVER_WORDS = _TABLE + ROWS * _ROW_WORDS, 2
_BASE_SIZE = (_SERVERS + ROWS * _SERVER_WORDS) * _WORD

(_H_MAGIC, _H_LAYOUT, _H_SIZE, _H_OWNER, _H_OWNER_START, _H_GENERATION, _H_DRAINING) = range(7)
_H_EXIT, _H_MANAGER, _H_MANAGER_START, _H_MANAGER_BEAT = 7, 8, 9, 10
_H_RUNNING, _H_SESSIONS, _H_SERVED, _H_CALLERS = 11, 12, 13, 14
_H_FAILED_STARTS, FAILED_STARTS_KEPT = 16, 16

(_R_PID, _R_START, _R_BEAT, _R_STATE, _R_INFLIGHT, _R_NUMBER, _R_CLAIM, _R_SERVING) = range(8)
_R_CONNECTIONS = 8


class ControlBlockError(RuntimeError):
    """The control block cannot be made, opened or claimed; the text states the reason."""


def control_block_directory() -> Path:
    """The folder of control blocks: /dev/shm where it is writable, else the temporary directory.

    Raises:
        ControlBlockError: the process can write to neither of them.
    """
    shm = Path("/dev/shm")  # noqa: S108 - the files in it are made 0600 and owned by us
    if os.access(shm, os.W_OK):
        return shm
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise ControlBlockError(
            f"no directory for shared memory: {shm} and the temporary directory are missing or "
            "read-only; mount one of them writable, or name a directory in TMPDIR"
        ) from None


class WorkerSlot:
    """One worker's slot. Any process may read it; the module's docstring names the writers."""

    __slots__ = ("_at", "_words", "index")

    def __init__(self, words: memoryview, index: int) -> None:
        self._words = words
        self.index = index
        self._at = _TABLE + index * _ROW_WORDS

    @property
    def owner(self) -> ProcessIdentity:
        return ProcessIdentity(self._words[self._at + _R_PID], self._words[self._at + _R_START])

    @property
    def state(self) -> State:
        return State(self._words[self._at + _R_STATE])

    @state.setter
    def state(self, state: State) -> None:
        if state is State.SERVING:
            self._words[self._at + _R_SERVING] = time.monotonic_ns()
        self._words[self._at + _R_STATE] = state

    @property
    def heartbeat(self) -> int:
        """Monotonic nanoseconds of the last heartbeat."""
        return self._words[self._at + _R_BEAT]

    def write_heartbeat(self) -> None:
        self._words[self._at + _R_BEAT] = time.monotonic_ns()

    @property
    def inflight(self) -> int:
        return self._words[self._at + _R_INFLIGHT]

    def show_inflight(self, count: int) -> None:
        self._words[self._at + _R_INFLIGHT] = count

    @property
    def connections(self) -> int:
        """Client connections that the worker had when it last looked for new ones."""
        return self._words[self._at + _R_CONNECTIONS]

    def show_connections(self, count: int) -> None:
        self._words[self._at + _R_CONNECTIONS] = count

    @property
    def number(self) -> int:
        """The number of the Sanic server in this slot; -1 when it runs alone."""
        return self._words[self._at + _R_NUMBER]

    @property
    def generation(self) -> int:
        """Grows with every claim of the group: distinguishes two owners of one slot."""
        return self._words[self._at + _R_CLAIM]

    @property
    def serving_since(self) -> int:
        """Monotonic nanoseconds at which the worker began to serve; 0 before that."""
        return self._words[self._at + _R_SERVING]

    def write_owner(self, who: ProcessIdentity, number: int, claim: int) -> None:
        """Write a new owner into a free slot. Only under the lock of the control block."""
        words, at = self._words, self._at
        words[at + _R_START] = who.start
        words[at + _R_BEAT] = time.monotonic_ns()
        words[at + _R_STATE] = State.STARTING
        words[at + _R_INFLIGHT] = words[at + _R_SERVING] = words[at + _R_CONNECTIONS] = 0
        words[at + _R_NUMBER] = number
        words[at + _R_CLAIM] = claim
        words[at + _R_PID] = who.pid  # last: a slot without a pid is free

    def clear_slot(self) -> None:
        """Make the slot free. Only under the lock of the control block."""
        self._words[self._at + _R_PID] = 0
        for word in range(self._at + 1, self._at + _ROW_WORDS):
            self._words[word] = 0


class ControlBlock:
    """The mapped file. Make it with `create` (main) or `open` (all others)."""

    def __init__(self, path: Path, fd: int, *, owner: bool) -> None:
        self.path = path
        self._fd = fd
        self._owner = owner
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[:_BASE_SIZE].cast("q")
        self.slots = tuple(WorkerSlot(self._words, index) for index in range(ROWS))

    # -- making and opening ------------------------------------------------------------

    @classmethod
    def create(cls, path: Path | None = None, *, sections: Mapping[int, int] | None = None) -> Self:
        """Make the control block of this group; `sections` maps an id to its length in bytes.

        Files of dead groups next to it are removed. Raises ControlBlockError when a living
        process owns `path`, when it would be larger than MAX_SIZE, or when the file system
        has no room for it.
        """
        me = current_process()
        if path is None:
            remove_dead_blocks(control_block_directory())
            path = (
                control_block_directory()
                / f"vai-{os.getuid()}-{me.pid}-{secrets.token_hex(4)}.control-block"
            )
        offsets, size = _arrange_sections(sections or {})
        fd = _open_locked(path)
        try:
            previous = _read_owner(fd)
            if previous is not None:
                if is_alive(previous):
                    raise ControlBlockError(f"{path} belongs to the running process {previous.pid}")
                # Not truncated: the kernel would kill a process that still maps the old file.
                path.unlink()
                os.close(fd)
                fd = _open_locked(path)
            _allocate_file(fd, path, size)
            control_block = cls(path, fd, owner=True)
            control_block._write_header(me, size, offsets)
        except BaseException:
            os.close(fd)
            raise
        fcntl.flock(fd, fcntl.LOCK_UN)
        return control_block

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open another process's control block. Raises ControlBlockError if `path` is none."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            text = f"cannot open the control block {path}: {error.strerror}"
            raise ControlBlockError(text) from error
        if os.fstat(fd).st_size < _BASE_SIZE or _read_owner(fd) is None:
            os.close(fd)
            text = f"{path} is not a control block of layout {LAYOUT}; is it of another version?"
            raise ControlBlockError(text)
        return cls(path, fd, owner=False)

    def _write_header(
        self, me: ProcessIdentity, size: int, offsets: Mapping[int, tuple[int, int]]
    ) -> None:
        words = self._words
        words[_H_LAYOUT], words[_H_SIZE] = LAYOUT, size
        words[_H_OWNER], words[_H_OWNER_START] = me
        for index, (section, (offset, length)) in enumerate(offsets.items()):
            at = _DIRECTORY + index * _SECTION_WORDS
            words[at + 1], words[at + 2], words[at] = offset, length, section
        words[_H_MAGIC] = MAGIC  # last: without it the file is no control block

    def close(self) -> None:
        """Unmap; the owner removes the file too."""
        if self._owner and self.owner == current_process():
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        # The mapping lives as long as a view of it; slots and sections may hold one.

    def open_section(self, section: int) -> memoryview:
        """The bytes of one section. Raises ControlBlockError when there is no such section."""
        for index in range(_SECTIONS):
            at = _DIRECTORY + index * _SECTION_WORDS
            if self._words[at] == section:
                offset, length = self._words[at + 1], self._words[at + 2]
                return self._bytes[offset : offset + length]
        raise ControlBlockError(f"the control block has no section {section}")

    # -- slots -------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        _lock_file(self._fd, self.path)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def claim_slot(self, number: int = -1) -> WorkerSlot:
        """Take a free slot for this process. Raises ControlBlockError when all are taken.

        The slot of a dead worker stays taken until the manager has freed what the worker held.
        """
        with self._locked():
            for slot in self.slots:
                if not slot.owner.pid:
                    self._words[_H_GENERATION] += 1
                    slot.write_owner(current_process(), number, self._words[_H_GENERATION])
                    return slot
        raise ControlBlockError(f"all {ROWS} slots of the control block are taken")

    def release_slot(self, slot: WorkerSlot, who: ProcessIdentity) -> bool:
        """Free the slot if `who` still owns it; returns whether it did."""
        with self._locked():
            if slot.owner != who:
                return False
            slot.clear_slot()
            return True

    def taken_slots(self) -> list[WorkerSlot]:
        """The slots that belong to a process, dead or alive."""
        # All process ids by one read: the manager asks twice a second.
        pids = self._words[_TABLE + _R_PID : _SERVERS : _ROW_WORDS].tolist()
        return list(compress(self.slots, pids))

    def serving_pids(self) -> set[int]:
        """The process ids of the workers that report that they serve."""
        return {slot.owner.pid for slot in self.taken_slots() if slot.state is State.SERVING}

    # -- the servers -------------------------------------------------------------------

    def record_server(self, number: int, who: ProcessIdentity) -> None:
        """Write which process main started last as server `number`. Only main calls this."""
        if 0 <= number < ROWS:
            at = _SERVERS + number * _SERVER_WORDS
            self._words[at] = 0  # first: a reader never pairs the old pid with the new start
            self._words[at + 1] = who.start
            self._words[at] = who.pid

    def started_servers(self) -> dict[int, ProcessIdentity]:
        """Number -> the process that main started last for it, dead or alive."""
        pairs = self._words[_SERVERS : _SERVERS + ROWS * _SERVER_WORDS].tolist()
        return {
            number: ProcessIdentity(pid, start)
            for number, (pid, start) in enumerate(zip(pairs[::2], pairs[1::2], strict=True))
            if pid
        }

    # -- the header --------------------------------------------------------------------

    @property
    def owner(self) -> ProcessIdentity:
        return ProcessIdentity(self._words[_H_OWNER], self._words[_H_OWNER_START])

    @property
    def draining(self) -> bool:
        """Whether the whole group drains, not just one worker."""
        return bool(self._words[_H_DRAINING])

    def start_draining(self) -> None:
        self._words[_H_DRAINING] = 1

    @property
    def exit_code(self) -> int:
        """The exit code that main must use if the group gave up; else 0."""
        return self._words[_H_EXIT]

    @exit_code.setter
    def exit_code(self, code: int) -> None:
        self._words[_H_EXIT] = code

    @property
    def manager(self) -> ProcessIdentity:
        return ProcessIdentity(self._words[_H_MANAGER], self._words[_H_MANAGER_START])

    @manager.setter
    def manager(self, who: ProcessIdentity) -> None:
        self.write_manager_heartbeat()
        self._words[_H_MANAGER] = 0
        self._words[_H_MANAGER_START] = who.start
        self._words[_H_MANAGER] = who.pid

    @property
    def manager_heartbeat(self) -> int:
        return self._words[_H_MANAGER_BEAT]

    def write_manager_heartbeat(self) -> None:
        self._words[_H_MANAGER_BEAT] = time.monotonic_ns()

    @property
    def totals(self) -> tuple[int, int]:
        """Requests and live sessions of the whole group, as the manager last counted them."""
        return self._words[_H_RUNNING], self._words[_H_SESSIONS]

    def publish_totals(self, running: int, sessions: int) -> None:
        """Write the totals. Only the manager calls this."""
        self._words[_H_RUNNING], self._words[_H_SESSIONS] = running, sessions

    @property
    def callers(self) -> int:
        """How many users, keys and addresses the limits count, as last seen by the manager."""
        return self._words[_H_CALLERS]

    def publish_callers(self, count: int) -> None:
        """Write the number of `callers`. Only the manager calls this."""
        self._words[_H_CALLERS] = count

    def record_served(self) -> None:
        """Record that a worker serves now. Only the manager calls this."""
        self._words[_H_SERVED] = time.monotonic_ns()

    def failed_starts(self) -> int:
        """How many workers failed to start since one last served; at most FAILED_STARTS_KEPT."""
        recent = self._words[_H_FAILED_STARTS : _H_FAILED_STARTS + FAILED_STARTS_KEPT]
        since = self._words[_H_SERVED]
        return sum(1 for when in recent if when > since)

    def record_failed_start(self) -> None:
        """Record a failed start. The control block keeps it, so that a new manager reads it too."""
        ring = range(_H_FAILED_STARTS, _H_FAILED_STARTS + FAILED_STARTS_KEPT)
        oldest = min(ring, key=lambda word: self._words[word])
        self._words[oldest] = time.monotonic_ns()


def remove_dead_blocks(folder: Path) -> list[Path]:
    """Remove the control blocks of this user's dead groups; returns the removed paths."""
    removed = []
    for path in folder.glob(f"vai-{os.getuid()}-*.control-block"):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # another process was quicker, or it is not a plain file
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A block of another layout counts too: another version of VAI may run here.
            owner = _read_owner(fd, any_layout=True)
            if owner is None or not is_alive(owner):
                path.unlink(missing_ok=True)
                removed.append(path)
        except BlockingIOError:
            pass  # a process makes or claims it at this moment: alive
        finally:
            os.close(fd)
    return removed


def _arrange_sections(sections: Mapping[int, int]) -> tuple[dict[int, tuple[int, int]], int]:
    if len(sections) > _SECTIONS or 0 in sections:
        raise ControlBlockError(f"a control block has at most {_SECTIONS} sections, from 1 on")
    offsets: dict[int, tuple[int, int]] = {}
    end = _BASE_SIZE
    for section, length in sections.items():
        start = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        end = start + length
        offsets[section] = (start, length)
    if end > MAX_SIZE:
        raise ControlBlockError(f"a control block of {end} bytes is larger than {MAX_SIZE}")
    return offsets, end


def _allocate_file(fd: int, path: Path, size: int) -> None:
    """Allocate the whole length of the file and all its pages.

    If the file system could not supply a page later, SIGBUS would end the process that writes
    to it.
    """
    try:
        os.ftruncate(fd, size)
        if sys.platform == "linux":
            os.posix_fallocate(fd, 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        room = os.statvfs(path.parent)
        free = room.f_bavail * room.f_frsize
        raise ControlBlockError(
            f"no shared memory: {path.parent} has {free >> 10} KiB free, this gateway needs "
            f"{(size + 1023) >> 10} KiB ({error.strerror}); in a container set --shm-size"
        ) from error


def _open_locked(path: Path) -> int:
    """Open or make the file and lock it; the locked file is the one that `path` names."""
    for _ in range(16):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ControlBlockError(f"cannot make {path}: {error.strerror}") from error
        try:
            _lock_file(fd, path)
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass  # `remove_dead_blocks` removed it between open and lock
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise ControlBlockError(f"{path} keeps being removed by another process")


def _lock_file(fd: int, path: Path) -> None:
    """Lock by polling: a stopped holder must not block this process forever."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ControlBlockError(
                    f"the lock of {path} is held by a stopped process"
                ) from None
            time.sleep(0.002)
        else:
            return


def _read_owner(fd: int, *, any_layout: bool = False) -> ProcessIdentity | None:
    """The creator, at one offset in all layouts; None if the file is no control block."""
    head = memoryview(os.pread(fd, _DIRECTORY * _WORD, 0))
    if len(head) < _DIRECTORY * _WORD:
        return None
    words = head.cast("q")
    if words[_H_MAGIC] != MAGIC or (words[_H_LAYOUT] != LAYOUT and not any_layout):
        return None
    owner = ProcessIdentity(words[_H_OWNER], words[_H_OWNER_START])
    return None if owner == NO_PROCESS else owner

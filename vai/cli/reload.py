"""``vai reload``: makes a gateway of this user read its settings again, and waits for the result.

Invariants: the command sends the signal only to the first process of a running gateway, which the
control block identifies; it might end any other process. The result is that of a reload that began
after this command, so it read the current files.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from vai.io.clock import monotonic, span_in_words
from vai.io.control_block import ControlBlock
from vai.io.group_record import GroupState, ReloadState, read_state
from vai.io.groups import NotRunning, running_groups
from vai.io.process import is_alive, is_stopped, parent_pid

__all__ = [
    "FAILED",
    "MISTAKE",
    "NO_RESULT",
    "REFUSED",
    "GatewaySelection",
    "ReloadError",
    "reload_gateway",
]

REFUSED: Final = 1
MISTAKE: Final = 2
FAILED: Final = 3
NO_RESULT: Final = 4

_POLL_INTERVAL: Final = 0.05
_FIRST_REPORT: Final = 2.0
"""Seconds after which a command that still waits reports what it waits for."""


class ReloadError(Exception):
    """No reload, or none with a known result. `code` is the command's exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class GatewaySelection(msgspec.Struct, frozen=True):
    """The gateway to reload: by its first process, its settings file, or the only running one."""

    pid: int | None = None
    config: Path | None = None


def reload_gateway(
    choice: GatewaySelection, *, timeout: float, wait: bool, progress: Callable[[str], None]
) -> str:
    """Reload a gateway; returns the result as text.

    Args:
        timeout: seconds to wait for the result.
        wait: whether to wait at all.
        progress: receives lines for the user during the wait.

    Raises:
        ReloadError: with the reasons.
        ControlBlockError: shared memory cannot be read.
    """
    control_block = _select_control_block(choice)
    try:
        state = _require_reloadable(control_block, wait=wait)
        before = 0 if state is None else state.last_reload_number
        _send_sighup(control_block.owner.pid)
        if not wait:
            pid = control_block.owner.pid
            return f"sent SIGHUP to gateway {pid}; its log shows how the reload goes"
        return _describe_result(
            _ResultWaiter(control_block, before, progress).wait_for_result(timeout),
            control_block.owner.pid,
        )
    finally:
        control_block.close()


# -- which gateway -----------------------------------------------------------------------


def _select_control_block(choice: GatewaySelection) -> ControlBlock:
    try:
        control_blocks = running_groups(pid=choice.pid)
    except NotRunning as error:
        why = str(error) if choice.pid is None else _describe_process(choice.pid)
        raise ReloadError(why, MISTAKE) from None
    matching = [
        control_block
        for control_block in control_blocks
        if _has_config(control_block, choice.config)
    ]
    listed = "".join(
        f"\n  {_describe_gateway(control_block.owner.pid, read_state(control_block))}"
        for control_block in control_blocks
    )
    for control_block in control_blocks:
        if len(matching) != 1 or control_block is not matching[0]:
            control_block.close()
    if len(matching) == 1:
        return matching[0]
    if not matching:
        text = f"no gateway runs with {choice.config}; there are:{listed}"
        raise ReloadError(text, MISTAKE)
    raise ReloadError(
        f"{len(matching)} gateways run, say which with --pid or --config:{listed}", MISTAKE
    )


def _has_config(control_block: ControlBlock, config: Path | None) -> bool:
    if config is None:
        return True
    state = read_state(control_block)
    return state is not None and state.config == str(config.resolve())


def _describe_gateway(pid: int, state: GroupState | None) -> str:
    if state is None:
        return f"--pid {pid}  another version"
    return f"--pid {pid}  {state.address}  {state.config}"


def _describe_process(pid: int) -> str:
    """Why a process that is not the first process of this user's gateway cannot be reloaded."""
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return f"no process {pid}"
    if owner != os.getuid():
        return f"process {pid} belongs to another user; run this as that user"
    try:
        control_blocks = running_groups()
    except NotRunning:
        control_blocks = []
    try:
        for control_block in control_blocks:
            first = control_block.owner.pid
            if any(slot.owner.pid == pid for slot in control_block.taken_slots()):
                return f"process {pid} is a worker of gateway {first}: use --pid {first}"
            if control_block.manager.pid == pid:
                return f"process {pid} is the manager of gateway {first}: use --pid {first}"
            if parent_pid(pid) == first:
                return f"process {pid} was started by gateway {first}: use --pid {first}"
    finally:
        for control_block in control_blocks:
            control_block.close()
    return f"process {pid} is no gateway"


def _require_reloadable(control_block: ControlBlock, *, wait: bool) -> GroupState | None:
    pid = control_block.owner.pid
    state = read_state(control_block)
    if state is None and wait:
        raise ReloadError(
            f"gateway {pid} is of another version, which does not report how a reload ends: "
            "use --no-wait, and read its log",
            MISTAKE,
        )
    if state is not None and state.mode == "single":
        raise ReloadError(
            f"gateway {pid} is a single process (--single-process), which cannot reload: "
            "restart it",
            MISTAKE,
        )
    if control_block.draining:
        raise ReloadError(f"gateway {pid} is ending", NO_RESULT)
    return state


def _send_sighup(pid: int) -> None:
    caught = _caught_signals(pid)
    if caught is not None and not caught & 1 << (signal.SIGHUP - 1):
        # SIGHUP ends a process that has no handler for it.
        raise ReloadError(f"gateway {pid} does not listen for a reload yet: try again", MISTAKE)
    try:
        os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, PermissionError) as error:
        raise ReloadError(f"process {pid}: {error.strerror}", MISTAKE) from None


def _caught_signals(pid: int) -> int | None:
    """The mask of the signals that a process handles, None where that is unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields.get("SigCgt", "0").strip(), 16)


# -- the result --------------------------------------------------------------------------


class _ResultWaiter:
    """Waits for the first reload after number `before` that ends."""

    def __init__(
        self, control_block: ControlBlock, before: int, progress: Callable[[str], None]
    ) -> None:
        self._control_block = control_block
        self._before = before
        self._progress = progress
        self._owner = control_block.owner
        self._began = monotonic()
        self._last_text = ""
        self._pause = threading.Event()  # never set

    def wait_for_result(self, timeout: float) -> ReloadState:
        """Raises ReloadError when no result arrives within `timeout` seconds, or none can."""
        pid = self._owner.pid
        while True:
            # Read whether it runs first, so that the read after this sees what it wrote last.
            alive, draining = is_alive(self._owner), self._control_block.draining
            reload_state = self._find_newer_reload()
            if reload_state is not None and reload_state.result != "running":
                return reload_state
            if not alive or draining:
                end = "is ending" if alive else "has ended"
                raise ReloadError(f"gateway {pid} {end}; it has not been reloaded", NO_RESULT)
            passed = monotonic() - self._began
            if passed > timeout:
                progress = self._describe_progress(reload_state)
                raise ReloadError(
                    f"no result within {span_in_words(timeout)}: {progress}; "
                    "the reload goes on, and the gateway's log will say how it ended",
                    NO_RESULT,
                )
            if passed > _FIRST_REPORT:
                self._report_progress(self._describe_progress(reload_state))
            self._pause.wait(_POLL_INTERVAL)

    def _find_newer_reload(self) -> ReloadState | None:
        state = read_state(self._control_block)
        newer = () if state is None else state.reloads
        return next((one for one in newer if one.number > self._before), None)

    def _describe_progress(self, reload_state: ReloadState | None) -> str:
        pid = self._owner.pid
        if is_stopped(pid):
            return f"process {pid} is stopped (SIGSTOP): it reloads when it is continued"
        if reload_state is None:
            return (
                f"gateway {pid} has not begun: a worker is starting, or the reload before this one "
                "runs, or its old workers finish their streams (at most drain_grace)"
            )
        return f"gateway {pid} starts new workers"

    def _report_progress(self, text: str) -> None:
        if text != self._last_text:
            self._last_text = text
            self._progress(f"{text} ...")


def _describe_result(result: ReloadState, pid: int) -> str:
    if result.result == "reloaded":
        workers = f"{result.workers} worker{'' if result.workers == 1 else 's'}"
        return f"reloaded: {workers}" + (f"; {result.text}" if result.text else "")
    unchanged = f"gateway {pid} goes on as it is"
    if result.result == "refused":
        raise ReloadError(f"not reloaded, {unchanged}: {result.text}", REFUSED)
    raise ReloadError(
        f"not reloaded, {unchanged}: {result.text}; its log says why",
        FAILED,
    )

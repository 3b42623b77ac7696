"""Main: the first process of a group, which makes the control block and starts all others.

It serves no requests. It restarts the workers that the manager requests, replaces the workers on
SIGHUP, writes lines about the group, and signals the children when the group ends.

The first process records a SIGHUP from before a command can find the control block, and handles it
as soon as the group can reload.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vai.config import Settings
from vai.gateway.process import manager
from vai.gateway.process.group_state import initial_state, listening_url, report_ready
from vai.gateway.process.operator_line import write_line
from vai.gateway.process.reload import Reloads, SettingsOrigin
from vai.gateway.process.worker_exits import WorkerExits
from vai.gateway.process.workers import CONTROL_BLOCK_VARIABLE, MANAGER_NAME, server_number
from vai.gateway.sanic_patches.opening import CannotStart, exit_with
from vai.gateway.sanic_patches.replacement import change_arguments
from vai.gateway.sanic_patches.startup import set_patience, watch_with
from vai.io import service_manager
from vai.io.control_block import ControlBlock, ControlBlockError, State
from vai.io.group_record import SECTIONS, GroupRecord
from vai.io.process import identify_process, is_alive

if TYPE_CHECKING:
    from sanic import Sanic
import signal

__all__ = ["SighupListener", "attach_main"]

Duties = Callable[[Settings], Mapping[str, Any]]


class SighupListener:
    """Handles SIGHUP in the first process."""

    def __init__(self) -> None:
        self._came = False
        self._answer: Callable[[], None] | None = None

    def start_listening(self) -> None:
        """From now on SIGHUP does not end this process. Call it in the main thread."""
        signal.signal(signal.SIGHUP, self._on_signal)

    def handle_with(self, answer: Callable[[], None]) -> None:
        """Call `answer` for each SIGHUP, also for one received before this call."""
        self._answer = answer
        if self._came:
            answer()

    def _on_signal(self, *_: object) -> None:
        self._came = True
        if self._answer is not None:
            self._answer()


def _make_control_block() -> ControlBlock:
    return ControlBlock.create(sections=SECTIONS)


def attach_main(
    app: Sanic[Any, Any],
    *,
    hung_after: float = 10.0,
    make_control_block: Callable[[], ControlBlock] = _make_control_block,
    duties: Duties | None = None,
    origin: SettingsOrigin | None = None,
) -> None:
    """Have main make the control block and start the manager; SIGHUP to main replaces all workers.

    Call it after `sanic_patches.install_patches`.

    Args:
        hung_after: seconds without a heartbeat after which a worker is killed.
        make_control_block: makes it with its sections, in main or in a single process.
        duties: returns the arguments of `manager.run_manager` that the settings decide:
            `hung_after`, `reclaim`, `tend`.
        origin: the settings of `app` and their snapshot, which main hands to the workers. None:
            they need no settings.
    """
    hangups = app.ctx.hangups = SighupListener()

    def prepare() -> None:
        hangups.start_listening()  # first: a command that finds the control block may send SIGHUP
        try:
            app.ctx.control_block = make_control_block()
        except ControlBlockError as error:
            raise CannotStart(str(error)) from error

    async def start_manager(app: Sanic[Any, Any]) -> None:
        sanic_manager: Any = app.manager
        control_block: ControlBlock = app.ctx.control_block
        os.environ[CONTROL_BLOCK_VARIABLE] = str(control_block.path)
        arguments = {
            "path": str(control_block.path),
            "publisher": sanic_manager.monitor_publisher,
            "hung_after": hung_after,
            **_manager_arguments(origin, duties),
        }
        _watch_group(app, control_block, origin, duties)
        sanic_manager.manage(MANAGER_NAME, manager.run_manager, arguments, restartable=True)
        _drain_before_shutdown(sanic_manager, control_block)

    async def remove_control_block(app: Sanic[Any, Any]) -> None:
        control_block: ControlBlock = app.ctx.control_block
        if control_block.exit_code:
            exit_with(control_block.exit_code)
        control_block.close()

    app.ctx.preparations.append(prepare)
    app.main_process_ready(start_manager)
    app.main_process_stop(remove_control_block)


def _watch_group(
    app: Sanic[Any, Any],
    control_block: ControlBlock,
    origin: SettingsOrigin | None,
    duties: Duties | None,
) -> None:
    """Have main record the state of its group, reload on SIGHUP and report ended workers."""
    sanic_manager: Any = app.manager
    settings = None if origin is None else origin.settings
    workers = sum(1 for _ in sanic_manager.transient_processes)
    record = GroupRecord(control_block, initial_state(app, settings, "group", workers))
    handover = _SettingsHandover(app, record, duties)
    reloads = Reloads(control_block, record, sanic_manager, origin, write_line, handover)
    app.ctx.hangups.handle_with(reloads.request_reload)
    exits = WorkerExits(control_block, sanic_manager, write_line)
    watch_with(_MainWatch(control_block, record, reloads, exits))


def _manager_arguments(origin: SettingsOrigin | None, duties: Duties | None) -> dict[str, Any]:
    """The arguments of `manager.run_manager` that come from settings."""
    if origin is None:
        return {"reclaim": None, "tend": None, "snapshot": None}
    from_settings = {} if duties is None else duties(origin.settings)
    return {"reclaim": None, "tend": None, **from_settings, "snapshot": origin.snapshot}


class _SettingsHandover:
    """Applies the settings of a reload to main and to the manager."""

    def __init__(self, app: Sanic[Any, Any], record: GroupRecord, duties: Duties | None) -> None:
        self._app = app
        self._record = record
        self._duties = duties

    def __call__(self, before: Settings, origin: SettingsOrigin) -> None:
        settings = origin.settings
        set_patience(settings.drain_grace)
        self._record.change_state(address=listening_url(self._app, settings))
        if self._duties is None:
            return
        arguments = _manager_arguments(origin, self._duties)
        is_other = (before.manager, before.limits) != (settings.manager, settings.limits)
        sanic_manager: Any = self._app.manager
        for process_slot in sanic_manager.durable_processes:
            change_arguments(process_slot, arguments)
            if is_other:
                process_slot.restart()


class _MainWatch:
    """Main's reads and writes of the control block while Sanic's monitor loop turns."""

    def __init__(
        self,
        control_block: ControlBlock,
        record: GroupRecord,
        reloads: Reloads,
        exits: WorkerExits,
    ) -> None:
        self._control_block = control_block
        self._record = record
        self._reloads = reloads
        self._worker_exits = exits

    def is_serving(self, pid: int) -> bool:
        return self._state_of(pid) is State.SERVING

    def is_up(self, pid: int) -> bool:
        return self._state_of(pid) not in (State.FREE, State.STARTING)

    def is_any_serving(self) -> bool:
        return any(
            slot.state is State.SERVING and is_alive(slot.owner)
            for slot in self._control_block.taken_slots()
        )

    def _state_of(self, pid: int) -> State:
        states = (slot.state for slot in self._control_block.taken_slots() if slot.owner.pid == pid)
        return next(states, State.FREE)

    def record_start(self, name: str, pid: int) -> None:
        self._control_block.record_server(server_number(name), identify_process(pid))

    def run_turn(self) -> None:
        starting = self._reloads.starting
        self._reloads.run_turn()
        state = self._record.state
        # Before the check of the processes: when `ready` appears, each is recorded as serving.
        all_serve = not state.is_ready and len(self._control_block.serving_pids()) >= state.workers
        self._worker_exits.report_exits(starting | self._reloads.starting)
        if all_serve:
            report_ready(self._record)


def _drain_before_shutdown(sanic_manager: Any, control_block: ControlBlock) -> None:
    """Record in the control block that the group is ending before main signals the first child."""
    tell_children = sanic_manager.shutdown

    def shutdown() -> None:
        service_manager.notify_service_manager("STOPPING")
        control_block.start_draining()
        tell_children()

    sanic_manager.shutdown = shutdown

"""A reload: new workers with new settings replace all workers, or none.

Invariants: at most one reload runs and one waits, however many were requested, so there are
never more than two workers of one number. Main ends the old workers when all new ones serve.
When a new one ends before that, main ends the other new ones, keeps the old workers, and goes on
replacing dead workers with the old settings.

It runs in main, in the turns of Sanic's monitor loop; only `request_reload` may run in a signal
handler.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

from vai.config import ConfigError, Settings
from vai.config.snapshot import SettingsSnapshot, changes_without_effect
from vai.gateway.process.handover import SnapshotLoader
from vai.gateway.process.worker_exits import describe_exit
from vai.gateway.process.workers import server_number
from vai.gateway.sanic_patches.replacement import (
    WorkerReplacement,
    change_loader,
    terminate_process,
)
from vai.io import service_manager
from vai.io.clock import monotonic, span_in_words
from vai.io.control_block import ControlBlock
from vai.io.group_record import GroupRecord
from vai.io.process import identify_process
from vai.io.shared_failures import forget_failures

__all__ = ["Reloads", "SettingsOrigin"]


class SettingsOrigin(NamedTuple):
    """The settings that workers start with."""

    settings: Settings
    snapshot: SettingsSnapshot | None
    """The source of the settings; None where workers read settings by themselves."""


class Reloads:
    """Replaces the workers of a group on demand.

    Args:
        control_block: of the group.
        record: of the group, where commands read how a reload ended.
        sanic_manager: Sanic's manager, with all its workers made and none started yet.
        origin: the settings of the first workers; None when they need none.
        say: writes a line for the operator.
        take: called when a reload has succeeded, with the settings before it and the new ones.
    """

    def __init__(
        self,
        control_block: ControlBlock,
        record: GroupRecord,
        sanic_manager: Any,
        origin: SettingsOrigin | None,
        say: Callable[[str], None],
        take: Callable[[Settings, SettingsOrigin], None],
    ) -> None:
        self._control_block = control_block
        self._record = record
        self._manager = sanic_manager
        self._start = self._current = origin
        self._say = say
        self._take = take
        self._is_requested = False
        self._begun = 0.0
        self._renewed: SettingsOrigin | None = None
        self._starting: list[WorkerReplacement] = []
        self._ending: list[BaseProcess] = []
        self._set_loaders(self._current)

    def request_reload(self, *_: object) -> None:
        """Request a replacement of the workers, once those of the previous reload have ended."""
        self._is_requested = True

    @property
    def starting(self) -> set[int]:
        """The process ids of the new workers of the running reload, which reports their ends."""
        return {one.new.pid for one in self._starting if one.new.pid is not None}

    def run_turn(self) -> None:
        """Go on with the reload that runs, or begin the requested one."""
        if self._control_block.draining:
            return
        self._ending = [process for process in self._ending if process.is_alive()]
        if self._starting:
            self._check_replacements()
        elif self._is_requested and not self._ending and self._is_settled():
            self._is_requested = False
            self._begin_reload()

    def _is_settled(self) -> bool:
        """Whether each worker serves or is dead: none starts."""
        serving = self._control_block.serving_pids()
        return all(
            process.pid in serving or not process.is_alive()
            for process in self._manager.transient_processes
        )

    def _begin_reload(self) -> None:
        self._begun = monotonic()
        self._record.begin_reload()
        service_manager.notify_service_manager("RELOADING")
        if self._current is not None and self._current.snapshot is not None:
            snapshot = SettingsSnapshot()
            try:
                self._renewed = SettingsOrigin(snapshot.build_settings(), snapshot)
            except ConfigError as error:
                # Reported once here; otherwise each new worker would find and report it.
                self._end_without_change("refused", str(error))
                return
            finally:
                snapshot.close()
        self._set_loaders(self._renewed)
        self._starting = [
            WorkerReplacement(process_slot) for process_slot in self._manager.transient_processes
        ]

    def _check_replacements(self) -> None:
        serving = self._control_block.serving_pids()
        if any(not one.new.is_alive() for one in self._starting):
            self._roll_back()
        elif all(one.new.pid in serving for one in self._starting):
            self._finish_reload()

    def _finish_reload(self) -> None:
        """End the old workers, and record the new settings and the result."""
        self._ending = [one.old for one in self._starting]
        self._starting = []
        for old in self._ending:
            terminate_process(old)
        stays = ""
        if self._start is not None and self._current is not None and self._renewed is not None:
            stays = changes_without_effect(self._start.settings, self._renewed.settings)
            self._take(self._current.settings, self._renewed)
            self._current = self._renewed
        count = len(self._ending)
        took = span_in_words(monotonic() - self._begun)
        self._say(f"reloaded: {count} new workers serve ({took})" + (f"; {stays}" if stays else ""))
        forget_failures(self._control_block)
        self._record.end_reload("reloaded", stays, count)
        service_manager.notify_service_manager("READY")

    def _roll_back(self) -> None:
        """Return to the old workers and their settings."""
        self._set_loaders(self._current)
        why = _failed_start(self._starting)
        for one in self._starting:
            if one.roll_back() and one.old.pid is not None:
                self._control_block.record_server(
                    server_number(one.name), identify_process(one.old.pid)
                )
        self._ending = [one.new for one in self._starting]
        self._starting = []
        self._end_without_change("failed", why)

    def _end_without_change(self, result: Literal["refused", "failed"], why: str) -> None:
        self._say(f"not reloaded, the workers go on as they are: {why}")
        self._record.end_reload(result, why)
        service_manager.notify_service_manager("READY")

    def _set_loaders(self, origin: SettingsOrigin | None) -> None:
        """Have every worker that starts from now on get the snapshot of `origin`."""
        if origin is None or origin.snapshot is None:
            return
        snapshot = origin.snapshot

        def carry(loader: Any) -> SnapshotLoader:
            inner = loader.loader if isinstance(loader, SnapshotLoader) else loader
            return SnapshotLoader(inner, snapshot)

        for process_slot in self._manager.transient_processes:
            change_loader(process_slot, carry)


def _failed_start(starting: list[WorkerReplacement]) -> str:
    """Name a new worker that has ended, and how it ended."""
    dead = next(one for one in starting if not one.new.is_alive())
    how = describe_exit(dead.new.exitcode or 0)
    return f"a new worker ended before it served (worker {server_number(dead.name)} {how})"

"""The start and the end of a group, in every order of events.

What Sanic does by itself, and what VAI does instead:

- Sanic keeps the state of the workers in a further process (SyncManager). When that one is
  killed, main stops in the middle and reports a failed start. Here the state is a dict in main,
  and main reads from the control block which workers serve.
- SIGTERM before all workers have acknowledged: main spins for ever in `wait_for_ack`, which
  puts every message back into its pipe. Here `wait_for_ack` handles messages.
- Workers that need longer than 30 s to start: main gives up. Here main waits, and the manager
  judges each worker by the processor time that it uses.
- A worker that fails to start: main kills its own process group, and with it the shell or
  the make that started it. Here it kills its children only, and exits with code 3.
- A signal to main: Sanic shuts down within the signal handler, in the middle of whatever the
  handler interrupted. Here the handler writes a message, and the monitor loop shuts down.
- A worker that main stops before it can catch the signal writes the traceback of an interrupt.
  Here main sends SIGTERM, which ends it without a line.
- Shutdown: main waits 10 s for each worker and then kills it, however long the drain takes. Here
  main waits for the drain (`set_patience`).
- A reload waits in a thread of its own, which shares an attribute with other reloads and keeps
  main from exiting. Here the gateway's own turn in the monitor loop does this work.
- A request to restart a process that runs again: Sanic ends it. Here main drops the request.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing import active_children, resource_tracker
from typing import Any, NoReturn, Protocol

from sanic.exceptions import ServerKilled
from sanic.mixins import startup
from sanic.worker.constants import ProcessState
from sanic.worker.manager import WorkerManager
from sanic.worker.process import WorkerProcess

from vai.gateway.sanic_patches.opening import exit_with

__all__ = ["EXIT_GAVE_UP", "MainWatch", "patch_startup", "set_patience", "watch_with"]

EXIT_GAVE_UP = 3
_EARLY_END = "__TERMINATE_EARLY__"
_TERMINATE = "__TERMINATE__"
_END = (None, _TERMINATE)
_REMIND = 1.0


class MainWatch(Protocol):
    """The gateway's part that main calls while Sanic's monitor loop turns."""

    def is_serving(self, pid: int) -> bool:
        """Whether that worker serves."""

    def is_up(self, pid: int) -> bool:
        """Whether that worker serves or drains."""

    def is_any_serving(self) -> bool:
        """Whether any worker serves."""

    def record_start(self, name: str, pid: int) -> None:
        """Record that Sanic has started a process."""

    def run_turn(self) -> None:
        """Do what is due; called about ten times a second."""


class _NoWatch:
    """Stands in until the gateway sets its own."""

    def is_serving(self, pid: int) -> bool:
        return False

    def is_up(self, pid: int) -> bool:
        return False

    def is_any_serving(self) -> bool:
        return False

    def record_start(self, name: str, pid: int) -> None:
        pass

    def run_turn(self) -> None:
        pass


class _Main:
    """The state of main. There is one main, so the class itself holds it."""

    patience = 32.0
    signalled = False
    watch: MainWatch = _NoWatch()


def watch_with(watch: MainWatch) -> None:
    """Have main check `watch` from now on."""
    _Main.watch = watch


def set_patience(drain_grace: float) -> None:
    """Have main wait `drain_grace` and 2 s for its children after it has stopped them."""
    # Expiring, flushing and stopping take up to 2 s after the grace.
    _Main.patience = drain_grace + 2.0


def patch_startup(drain_grace: float) -> None:
    """Patch Sanic. `drain_grace`: see `set_patience`."""
    set_patience(drain_grace)
    if "SANIC_WORKER_NAME" in os.environ:
        # A signal to stop ends a starting worker, without the traceback of an interrupt.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if WorkerManager.wait_for_ack is _wait_for_ack:
        return
    manager: Any = WorkerManager  # Any: type checkers refuse to have methods replaced
    manager.wait_for_ack = _wait_for_ack
    manager.shutdown_signal = _shutdown_signal
    manager.kill = _kill_children
    manager.join = _do_not_join
    manager.cleanup = _clean_up
    manager._sync_states = _with_turn(WorkerManager._sync_states)
    manager._handle_message = _ignoring_finished_processes(WorkerManager._handle_message)
    process: Any = WorkerProcess
    process.start = _with_record(process.start)
    process._terminate_soon = _do_not_terminate
    process.terminate = _end_early(process.terminate)
    vars(startup)["Manager"] = _LocalStates


class _LocalStates:
    """Stands in for SyncManager: the states of the processes are a dict in main.

    A child gets a copy that is not read; main reads the states from the control block.
    """

    def __init__(self) -> None:
        # Python would start this process with the first child, in the environment that names
        # the first worker. It inherits that SIGHUP is ignored: a SIGHUP to all processes is
        # meant for main.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        resource_tracker.ensure_running()
        signal.signal(signal.SIGHUP, before)

    def dict(self) -> dict[str, Any]:
        """The states, by the processes' names."""
        return {}

    def shutdown(self) -> None:
        """Does nothing: there is no process to end."""


def _wait_for_ack(self: Any) -> None:
    while not (self._shutting_down or self._all_workers_ack()):
        if not self.monitor_subscriber.poll(0.1):
            self._sync_states()
            continue
        message = self.monitor_subscriber.recv()
        if message == _EARLY_END:
            if not _Main.watch.is_any_serving():
                return _fail_start(self, "a worker failed to start; the lines above say why")
        elif message in _END:
            self.monitor_publisher.send(message)  # the monitor loop ends with it
            return None
        elif isinstance(message, str):
            self._handle_message(message)
        else:
            self._handle_manage(*message)
    return None


def _fail_start(manager: Any, why: str) -> None:
    sys.stderr.write(f"vai: gave up: {why}\n")
    exit_with(EXIT_GAVE_UP)
    manager.shutdown()
    manager.monitor_publisher.send(None)


def _with_turn(original: Any) -> Any:
    def sync_states(self: Any) -> None:
        for process in self.transient_processes:
            if process.state is ProcessState.STARTED and _Main.watch.is_serving(process.pid):
                self.worker_state[process.name]["state"] = ProcessState.ACKED.name
        original(self)
        _Main.watch.run_turn()

    return sync_states


def _ignoring_finished_processes(original: Any) -> Any:
    def handle(self: Any, message: str) -> Any:
        # Sanic takes an early end for the name of a process to restart. The manager handles it.
        if message == _EARLY_END:
            return None
        self._sync_states()  # Sanic restarts a process that it has recorded as ended
        name = message.partition(":")[0]
        if any(process.name == name and process.is_alive() for process in self.processes):
            return None
        return original(self, message)

    return handle


def _with_record(original: Any) -> Any:
    def start(self: Any) -> None:
        original(self)
        _Main.watch.record_start(self.name, self.pid)

    return start


def _do_not_terminate(_: WorkerProcess) -> None:
    """Do nothing: the reload ends the old worker, see `vai.gateway.process.reload`."""


def _shutdown_signal(self: Any, *_: object) -> None:
    if _Main.signalled:
        with suppress(ServerKilled):
            self.kill()
        return
    _Main.signalled = True
    self.monitor_publisher.send(_TERMINATE)


def _end_early(original: Any) -> Any:
    def terminate(self: Any) -> None:
        # A second SIGTERM would end a worker that drains or has stopped.
        if self.state is not ProcessState.ACKED and not _Main.watch.is_up(self.pid):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        original(self)

    return terminate


def _kill_children(_: WorkerManager) -> NoReturn:
    for child in active_children():
        child.kill()
    raise ServerKilled


def _do_not_join(_: WorkerManager) -> None:
    """Do nothing: `cleanup` waits, with a deadline; Sanic's `join` has none."""


def _clean_up(self: Any) -> None:
    deadline = time.monotonic() + _Main.patience
    remind = time.monotonic() + _REMIND
    while (children := active_children()) and (now := time.monotonic()) < deadline:
        if now > remind:
            # A child that was just starting missed the first signal; the others ignore this one.
            remind = now + _REMIND
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child.pid or 0, signal.SIGINT)
        time.sleep(0.02)
    for child in active_children():
        child.kill()
        child.join(1)
    for process in self.processes:
        process.exit()

"""A group that starts also stops, in every order of events, and says how it ended.

What Sanic does by itself, and what is put in its place:

- SIGTERM before all workers have acknowledged: main spins for ever in `wait_for_ack`, where
  every message is put back into the pipe it came from. Here messages are handled there.
- A worker that fails to start: main kills its own process group, and with it the shell or
  the make that started it. Here it kills its children only, and exits with code 3.
- A signal to main: Sanic shuts down within the signal handler, through proxies that the
  interrupted code may be using; their answers get mixed up, and main ends with a traceback.
  Here the handler writes a message, and the monitor loop shuts down.
- A worker that is told to end before it listens for it: the traceback of an interrupt. Here
  it is told by SIGTERM, which ends it without a word.
- Shutdown: main waits 10 s for each worker and then kills it, whatever the drain needs.
- A reload whose new worker fails leaves a thread behind that keeps main from exiting.
- The SyncManager process outlives a killed main, and a SIGTERM to the whole group takes it
  away in the middle of a drain.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import active_children, get_context
from multiprocessing.managers import SyncManager
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from sanic import Sanic
from sanic.exceptions import ServerKilled
from sanic.mixins import startup
from sanic.worker.constants import ProcessState
from sanic.worker.manager import WorkerManager
from sanic.worker.process import WorkerProcess

from vai.io.process import outlive_signals_of

__all__ = ["EXIT_GAVE_UP", "apply", "exit_with"]

EXIT_GAVE_UP = 3
_EARLY_END = "__TERMINATE_EARLY__"
_TERMINATE = "__TERMINATE__"
_END = (None, _TERMINATE)
_REMIND = 1.0


class _Ending:
    """How main is to end: one per process, because main is one."""

    patience = 32.0
    code = 0
    signalled = False


def exit_with(code: int) -> None:
    """Have main exit with `code` once Sanic has cleaned up."""
    _Ending.code = code


def apply(patience: float) -> None:
    """Patch Sanic. `patience`: seconds main waits for its children after telling them."""
    _Ending.patience = patience
    if "SANIC_WORKER_NAME" in os.environ:
        # Told to stop while it still starts: go, without the traceback of an interrupt.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if WorkerManager.wait_for_ack is _wait_for_ack:
        return
    manager: Any = WorkerManager  # Any: type checkers refuse to have methods replaced
    manager.wait_for_ack = _wait_for_ack
    manager.shutdown_signal = _shutdown_signal
    manager.kill = _kill
    manager.join = _do_not_join
    manager.cleanup = _cleanup
    manager._handle_message = _ignoring_early_ends(WorkerManager._handle_message)
    process: Any = WorkerProcess
    process._terminate_soon = _terminate_soon
    process.terminate = _end_early(process.terminate)
    vars(startup)["Manager"] = _sync_manager
    app_class: Any = Sanic
    app_class.serve = classmethod(_with_exit_code(app_class.serve.__func__))


def _wait_for_ack(self: Any) -> None:
    deadline = time.monotonic() + self.THRESHOLD / 10
    while not (self._shutting_down or self._all_workers_ack()):
        if time.monotonic() > deadline:
            return _give_up(self, f"not all workers came up within {self.THRESHOLD // 10} s")
        if not self.monitor_subscriber.poll(0.1):
            self._sync_states()
            continue
        message = self.monitor_subscriber.recv()
        if message == _EARLY_END:
            return _give_up(self, "a worker failed to start; the lines above say why")
        if message in _END:
            self.monitor_publisher.send(message)  # the monitor loop ends with it
            return None
        if isinstance(message, str):
            self._handle_message(message)
        else:
            self._handle_manage(*message)
    return None


def _give_up(manager: Any, why: str) -> None:
    sys.stderr.write(f"vai: gave up: {why}\n")
    exit_with(EXIT_GAVE_UP)
    manager.shutdown()
    manager.monitor_publisher.send(None)


def _ignoring_early_ends(original: Any) -> Any:
    def handle(self: WorkerManager, message: str) -> Any:
        # Sanic takes it for the name of a process to restart. The manager sees the death.
        return None if message == _EARLY_END else original(self, message)

    return handle


def _terminate_soon(self: Any) -> None:
    def wait() -> None:
        # The manager has told of the failed start and ends the old worker later.
        with suppress(TimeoutError):
            self._wait_to_terminate()

    threading.Thread(target=wait, daemon=True).start()


def _shutdown_signal(self: Any, *_: object) -> None:
    if _Ending.signalled:
        with suppress(ServerKilled):
            self.kill()
        return
    _Ending.signalled = True
    self.monitor_publisher.send(_TERMINATE)


def _end_early(original: Any) -> Any:
    def terminate(self: Any) -> None:
        with suppress(KeyError, OSError, EOFError):  # gone, or SyncManager is
            if self.worker_state[self.name].get("state") != ProcessState.ACKED.name:
                os.kill(self.pid, signal.SIGTERM)
        original(self)

    return terminate


def _children() -> list[BaseProcess]:
    """Workers and managed processes, those that are being replaced too; not SyncManager."""
    return [child for child in active_children() if child.daemon]


def _kill(_: WorkerManager) -> NoReturn:
    for child in _children():
        child.kill()
    raise ServerKilled


def _do_not_join(_: WorkerManager) -> None:
    """`cleanup` waits, with a deadline; Sanic's `join` has none."""


def _cleanup(self: Any) -> None:
    deadline = time.monotonic() + _Ending.patience
    remind = time.monotonic() + _REMIND
    while (children := _children()) and (now := time.monotonic()) < deadline:
        if now > remind:
            # One that was just starting missed the first signal; the others ignore this.
            remind = now + _REMIND
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child.pid or 0, signal.SIGINT)
        time.sleep(0.02)
    for child in _children():
        child.kill()
        child.join(1)
    for process in self.processes:
        process.exit()


def _sync_manager() -> SyncManager:
    manager = SyncManager(ctx=get_context())
    manager.start(outlive_signals_of, (os.getpid(),))
    return manager


def _with_exit_code(original: Any) -> Any:
    def serve(cls: type[Sanic[Any, Any]], *args: Any, **kwargs: Any) -> None:
        original(cls, *args, **kwargs)
        if _Ending.code:
            raise SystemExit(_Ending.code)

    return serve

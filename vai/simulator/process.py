"""The simulator as a child process that cannot outlive its parent.

Invariants: `start_simulator` returns when the child listens, `stop` when it has ended.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from types import TracebackType
from typing import Final, Self

from vai.io.process import StartWatch

__all__ = ["SimulatorFailed", "SimulatorProcess", "start_simulator"]

_GRACE: Final = 2.0
_LOOK: Final = 0.2  # seconds between two checks of the processor time of a child that starts


class SimulatorFailed(RuntimeError):
    """The child ended or did not listen in time."""


class SimulatorProcess:
    """A running simulator: its root `url` and its `pid`."""

    def __init__(self, child: subprocess.Popen[bytes], url: str) -> None:
        self._child = child
        self.url = url
        self.pid = child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def stop(self) -> None:
        """End the child with SIGTERM, and kill it after two seconds."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_simulator(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ttft: float = 0.0,
    tps: float = 0.0,
    chunk: int = 1,
    journal: int = 4096,
    patience: float = 10.0,
) -> SimulatorProcess:
    """Start a simulator and wait until it listens.

    Call it from a thread that lives as long as the process: Linux ends the child with
    the thread that started it. On other systems only `stop` ends the child.

    Raises:
        SimulatorFailed: it ended, used `patience` seconds of processor time without
            listening, or did nothing for so long.
    """
    values = {"host": host, "port": port, "ttft": ttft, "tps": tps, "chunk": chunk}
    values |= {"journal": journal, "parent": os.getpid()}
    options = [f"--{name}={value}" for name, value in values.items()]
    child = subprocess.Popen(  # noqa: S603  our own interpreter and our own module
        [sys.executable, "-m", "vai.simulator", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    return SimulatorProcess(child, _first_line(child, patience))


def _first_line(child: subprocess.Popen[bytes], patience: float) -> str:
    if child.stdout is None:
        raise SimulatorFailed("the simulator has no output to read its URL from")
    watch = StartWatch(child.pid, patience)
    while not watch.give_up_reason():
        if select.select([child.stdout], [], [], _LOOK)[0]:
            line = child.stdout.readline().decode().strip()
            if line:
                return line
            break
    child.kill()
    child.wait()
    child.stdout.close()
    raise SimulatorFailed("the simulator did not start listening")

"""A process beside a worker, for work that would block the worker's loop.

A thread is not enough: the parsers of large bodies hold the interpreter's lock for as long as
they parse. The worker starts the helper for its first piece of work. The helper does one piece
after the other, and ends when the worker ends, or after some time without work. Its end frees the
memory that large bodies took.

Work is a function of a module and its arguments, all of which can be pickled; so are its result
and the errors of `vai.errors`. The helper has neither the worker's environment of secrets nor
its sockets.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from vai.errors import InternalError, Overloaded, VaiError

__all__ = ["HelperProcess", "serve_worker"]

T = TypeVar("T")
_Packed = tuple[bytes, list[bytes]]
"""A pickled value, and the large byte strings that the sender sends beside it."""

_PASSED_VARIABLES: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "TMPDIR",
    "TZ",
)
"""The variables that the helper inherits; any other one may hold a key."""
_LONGEST: Final = 60.0
"""Seconds that a piece of work may take; the worker ends the helper after that."""
_APART: Final = 64 * 1024
"""Bytes from which a string is sent apart."""
_IDLE: Final = 30.0
"""Seconds without work after which the worker ends the helper."""


class HelperProcess:
    """One helper process, as its worker sees it. Every method is called in the worker's loop.

    Args:
        idle: seconds without work after which the worker ends the process.
    """

    def __init__(self, *, idle: float = _IDLE) -> None:
        self._idle = idle
        # The one thread that exchanges data with the process; it runs pieces of work in order.
        self._thread = ThreadPoolExecutor(1, "vai-helper")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._running = 0

    @property
    def pid(self) -> int | None:
        """The id of the running process, if any."""
        return self._process.pid if self._process is not None else None

    async def run_work(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` with these arguments in the helper; returns its result.

        Raises:
            VaiError: `work` raised it.
            Overloaded: the helper ended, or took too long.
            InternalError: `work` raised something else; its trace is in the log.
        """
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running += 1
        try:
            pending = loop.run_in_executor(self._thread, self._call_process, work, arguments)
            result: T = await pending
            return result
        finally:
            self._running -= 1
            if not self._running:
                self._timer = loop.call_later(self._idle, self._end_when_idle)

    async def aclose(self) -> None:
        """End the process once it has done its work."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_process)
        self._thread.shutdown(wait=False)

    def _end_when_idle(self) -> None:
        self._timer = None
        if not self._running:
            self._thread.submit(self._end_process)

    # -- in the thread -----------------------------------------------------------------

    def _call_process(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        connection = self._connection or self._start_process()
        try:
            _send_packed(connection, _pack_value((work, arguments)))
            if not connection.poll(_LONGEST):
                raise TimeoutError
            outcome = _receive_value(connection)
        except (OSError, EOFError):
            self._end_process()
            raise Overloaded(
                "This request could not be prepared; try again in a moment",
                code="helper_failed",
                retry_after=1,
            ) from None
        if isinstance(outcome, VaiError):
            raise outcome
        return outcome[0]

    def _start_process(self) -> Connection:
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-m", "vai.io.helper", str(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ},
                pass_fds=(there.fileno(),),
            )
        self._connection = Connection(here.detach())
        return self._connection

    def _end_process(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def serve_worker(connection: Connection) -> None:
    """Do the work that the worker sends, until it closes its end or dies."""
    while True:
        try:
            work, arguments = _receive_value(connection)
        except (EOFError, OSError):
            return
        packed = _run_packed(work, arguments)
        del work, arguments
        with suppress(OSError):
            _send_packed(connection, packed)
        del packed


def _run_packed(work: Callable[..., Any], arguments: tuple[Any, ...]) -> _Packed:
    """The result of the work, alone in a tuple, or the error that it raised."""
    try:
        return _pack_value((work(*arguments),))
    except VaiError as error:
        return _pack_value(error)
    except Exception as error:  # noqa: BLE001  the boundary of one piece of work
        _log_trace(error)
        return _pack_value(InternalError())


class _Pickler(pickle.Pickler):
    """Leaves large byte strings out, to be sent as they are: copying one holds the lock."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.apart: list[bytes] = []

    def persistent_id(self, value: Any) -> int | None:
        if type(value) is not bytes or len(value) < _APART:
            return None
        self.apart.append(value)
        return len(self.apart) - 1


class _Unpickler(pickle.Unpickler):
    """Puts the byte strings back. Both ends of the connection run this program."""

    def __init__(self, data: bytes, apart: list[bytes]) -> None:
        super().__init__(BytesIO(data))
        self._apart = apart

    def persistent_load(self, number: int) -> bytes:
        return self._apart[number]


def _pack_value(value: Any) -> _Packed:
    file = BytesIO()
    pickler = _Pickler(file)
    pickler.dump(value)
    return file.getvalue(), pickler.apart


def _send_packed(connection: Connection, packed: _Packed) -> None:
    data, apart = packed
    connection.send((len(apart), data))
    for one in apart:
        connection.send_bytes(one)


def _receive_value(connection: Connection) -> Any:
    number, data = connection.recv()
    return _Unpickler(data, [connection.recv_bytes() for _ in range(number)]).load()


def _log_trace(error: Exception) -> None:
    """Log the position of a defect, without its text, which may quote a body."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    sys.stderr.write(f"vai: helper: {type(error).__name__} at {'; '.join(frames)}\n")


def _main() -> None:
    # The worker handles a stop; until it has drained it may still need results.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve_worker(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    _main()

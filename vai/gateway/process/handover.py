"""The settings of a group's processes: main hands a snapshot to each worker.

A worker does not read the settings files. They may have been changed, broken or removed since
the group last read them, and a worker that replaces a dead one must have the same settings as
the others.
"""

from __future__ import annotations

import gc
import pickle
import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from vai.config.snapshot import SettingsSnapshot

__all__ = ["AppLoader", "SnapshotLoader", "receive_snapshot", "received_snapshot"]

_received: list[SettingsSnapshot] = []


class AppLoader(Protocol):
    """Sanic's object that makes the application in a worker."""

    def load(self) -> Any:
        """Import or make the application."""


class SnapshotLoader:
    """An application loader that contains the settings.

    Sanic pickles it into the pipe from which a new worker reads its task, so no file, variable
    or command line has the keys in a snapshot.
    """

    def __init__(self, loader: AppLoader, snapshot: SettingsSnapshot) -> None:
        self.loader = loader
        self.snapshot = snapshot

    def load(self) -> Any:
        """Make the application from the snapshot's settings."""
        receive_snapshot(self.snapshot)
        return self.loader.load()

    def __reduce__(self) -> tuple[Any, ...]:
        # The snapshot as bytes, so that its modules are imported by `_load_in_worker`.
        return _load_in_worker, (self.loader, pickle.dumps(self.snapshot))


def _load_in_worker(loader: AppLoader, snapshot: bytes) -> SnapshotLoader:
    """Unpickle a `SnapshotLoader` in a new worker; the first code of VAI that runs there.

    A worker that replaces a dead one must serve soon, and most of its start are imports. Without
    these two measures it took 20 % longer.
    """
    # `_freeze_heap` enables it again. The imports make no garbage worth a walk over all modules.
    gc.disable()
    # httpx imports its command line with rich and pygments where they are installed; an entry of
    # None is how Python says that a module is not.
    sys.modules.setdefault("httpx._main", cast("Any", None))
    return SnapshotLoader(loader, pickle.loads(snapshot))  # noqa: S301 - main has sent it


def receive_snapshot(snapshot: SettingsSnapshot) -> None:
    """Have this process use `snapshot`, before any code reads the settings."""
    _received[:] = [snapshot]


def received_snapshot() -> SettingsSnapshot | None:
    """The snapshot that main handed to this process; None in main itself."""
    return _received[0] if _received else None

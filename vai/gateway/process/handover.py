"""How settings reach the processes of a group: main hands a snapshot to each worker.

A worker does not read the settings files. They may have been changed, broken or removed since
the group last took them up, and a worker that replaces a dead one must work with what the
others work with.
"""

from __future__ import annotations

from typing import Any, Protocol

from vai.config.snapshot import SettingsSnapshot

__all__ = ["AppLoader", "SnapshotLoader", "receive_snapshot", "received_snapshot"]

_received: list[SettingsSnapshot] = []


class AppLoader(Protocol):
    """What Sanic makes the application with in a worker."""

    def load(self) -> Any:
        """Import or make the application."""


class SnapshotLoader:
    """An application loader that brings the settings along.

    Sanic pickles it into the pipe through which a new worker learns what to do, so the keys in
    a snapshot are in no file, variable or command line.
    """

    def __init__(self, loader: AppLoader, snapshot: SettingsSnapshot) -> None:
        self.loader = loader
        self.snapshot = snapshot

    def load(self) -> Any:
        """Make the application from the snapshot's settings."""
        receive_snapshot(self.snapshot)
        return self.loader.load()


def receive_snapshot(snapshot: SettingsSnapshot) -> None:
    """Have this process use `snapshot`, before any code reads the settings."""
    _received[:] = [snapshot]


def received_snapshot() -> SettingsSnapshot | None:
    """The snapshot that main handed to this process; None in main itself."""
    return _received[0] if _received else None

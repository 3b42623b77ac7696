"""The settings at one time, with all their sources: files, certificates, logins.

A worker that replaces another one must use the settings of the others, even when the files have
been changed, broken or removed since. So the first process reads once, checks the result, and
passes the snapshot to each worker.

Invariants: VAI uses exactly the bytes that it has checked. A snapshot holds keys: it goes only
through a pipe between processes of one gateway.

`FIXED_SETTINGS` is the one list of the settings that a reload cannot change, because the first
process applies them once, at its start. A reload names those that differ, and the page of the
settings marks them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Final

from vai.config.load import merged_layer, read_layers, settings_from
from vai.config.login import login_file
from vai.config.names import LOGGED_IN_TO
from vai.config.problems import Problem
from vai.config.schema import Settings
from vai.config.secret_files import SecretFiles
from vai.config.sources import Layer, SettingValue

__all__ = ["FIXED_SETTINGS", "SettingsSnapshot", "changes_without_effect"]


_NAMES_A_FILE: Final = frozenset({"cert_file", "key_file", "ca_file", "credentials_file"})
_MOST_BYTES: Final = 4 << 20
"""Bytes of one file; VAI reads a larger one from its path. A trust store has a quarter of a
megabyte."""


class SettingsSnapshot:
    """The content of all sources, and the settings that result from it.

    Args:
        environ: the variables to read, those of the process if None. Processes inherit them,
            so a snapshot does not hold them.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        problems: list[Problem] = []
        self._layers = read_layers(environ, problems)
        self._problems = tuple(problems)
        self._secrets = SecretFiles()
        self._files = dict(_read_named_files(merged_layer(self._layers, environ, self._secrets)))
        self._open: list[int] = []

    def build_settings(self, environ: Mapping[str, str] | None = None) -> Settings:
        """Check and freeze the settings.

        The files that they name are in memory: their paths refer to descriptors of this process,
        valid until `close`.

        Raises:
            ConfigError: with every problem there is.
        """
        environ = os.environ if environ is None else environ
        problems = list(self._problems)
        layer = merged_layer(self._layers, environ, self._secrets)
        for path, content in self._files.items():
            leaf = layer.get(path, SettingValue("", ".".join(path), ""))
            layer[path] = leaf._replace(value=self._in_memory(content), text=None)
        return settings_from(layer, environ, problems)

    def close(self) -> None:
        """Close the descriptors. The paths in settings built before are invalid after that."""
        while self._open:
            os.close(self._open.pop())

    def _in_memory(self, content: bytes) -> str:
        handle = os.memfd_create("vai-settings")
        self._open.append(handle)
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(content)
        return f"/proc/self/fd/{handle}"

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_open": []}

    def __repr__(self) -> str:
        return f"Snapshot({len(self._layers)} sources, {len(self._files)} files)"


def _read_named_files(layer: Layer) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The readable files that settings name, by the names of the settings."""
    if not hasattr(os, "memfd_create"):
        return  # systems without it read files from their paths
    for path, value in _file_settings(layer):
        try:
            with value.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError):
            continue  # the check of the settings reports this
        if len(content) <= _MOST_BYTES:
            yield path, content


def _file_settings(layer: Layer) -> Iterator[tuple[tuple[str, ...], Path]]:
    for path, leaf in layer.items():
        if path[-1] in _NAMES_A_FILE and isinstance(leaf.value, str) and leaf.value:
            yield path, Path(leaf.value)
    login = ("providers", LOGGED_IN_TO)
    enabled = layer.get((*login, "enabled"))
    named = layer.get((*login, "credentials_file"))
    if enabled is not None and enabled.value and (named is None or not named.value):
        yield (*login, "credentials_file"), login_file()


Condition = Callable[[Settings, Settings], bool]


def _is_always_fixed(start: Settings, new: Settings) -> bool:
    """True for all settings."""
    return True


def _is_simulator_running(start: Settings, new: Settings) -> bool:
    """Whether the simulator of the first process continues to run."""
    return start.simulate and new.simulate


FIXED_SETTINGS: Final[Mapping[str, Condition]] = MappingProxyType(
    {
        "host": _is_always_fixed,
        "port": _is_always_fixed,
        "workers": _is_always_fixed,
        "limits.max_callers": _is_always_fixed,
        "simulator.first_token": _is_simulator_running,
        "simulator.tokens_per_second": _is_simulator_running,
    }
)
"""Setting -> when a reload cannot change it, given the settings of the start and the new ones."""


def changes_without_effect(start: Settings, new: Settings) -> str:
    """The changes in `new` without effect, as half a sentence; empty where there are none.

    Args:
        start: the settings of the start.
        new: the settings of a reload.
    """
    stays = [
        f"{name} stays {value}"
        for name, is_fixed in FIXED_SETTINGS.items()
        if (value := attrgetter(name)(start)) != attrgetter(name)(new) and is_fixed(start, new)
    ]
    return f"{', '.join(stays)}: a change needs a restart" if stays else ""

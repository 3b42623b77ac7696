"""Settings that a reload cannot change: the first process applies them once, at its start.

Invariants: `FIXED` is the one list of them. A reload names those that differ, and the
page of the settings marks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from vai.config.schema import Settings

__all__ = ["FIXED_SETTINGS", "changes_without_effect"]

Condition = Callable[[Settings, Settings], bool]


def _is_always_fixed(start: Settings, new: Settings) -> bool:
    """Whatever else is set."""
    return True


def _is_simulator_running(start: Settings, new: Settings) -> bool:
    """The simulator that the first process started listens on."""
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
    """The changes in `new` that have no effect, as half a sentence; empty where there are none.

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

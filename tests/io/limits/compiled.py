"""The fast path in C for tests: built for them, and switched on or off in a process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vai.io.limits import fast_path
from vai.io.limits.shared import SharedLimits

__all__ = ["ROOT", "WATCHED", "load", "open_watched", "switch_to"]

ROOT = Path(__file__).parents[3]
WATCHED = ("-Werror", "-DWATCHED")
"""Options for a module that calls Python before each write."""


def load(path: str | Path) -> Any:
    """The module at `path`."""
    spec = importlib.util.spec_from_file_location("_fast_path", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def switch_to(path: str) -> None:
    """Have this process use the module at `path`, or Python alone if it is empty."""
    fast_path.module = load(path) if path else None


def open_watched(
    module: Any, limits: SharedLimits, words: memoryview, watch: Callable[[int, int], object]
) -> Any:
    """A fast path for `limits`, whose section has a view in place of its `words`.

    Args:
        module: one that was built as `WATCHED`.
        watch: called with position and value before each write, and with -1 before the unlock.
    """
    section = limits.section
    view, section.words = section.words, words
    before, fast_path.module = fast_path.module, module
    try:
        found: Any = fast_path.open_fast_path(
            section, limits._rows, limits._owner_at, limits._owner
        )
    finally:
        section.words, fast_path.module = view, before
    found.set_watch(watch)
    return found

"""Settings: read once, checked whole, frozen.

Invariants: importing the package reads nothing; `load()` is the only reader of files and
environment, and its result never changes. It reports every problem, with the key and where it was
set, never with the value.
"""

from __future__ import annotations

from vai.config.load import load
from vai.config.problems import ConfigError, Problem
from vai.config.schema import Settings
from vai.secret import Secret

__all__ = ["ConfigError", "Problem", "Secret", "Settings", "load"]

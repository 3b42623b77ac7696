"""All problems of the settings, reported at once.

Invariants: a problem names the key, the file and line or variable that set it, and the expected
value. It never holds the value itself, so it can be printed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["MOST_SHOWN", "ConfigError", "Problem"]

MOST_SHOWN: Final = 50
"""Problems in one message; the message counts the others."""


class Problem(NamedTuple):
    """One mistake in the settings."""

    key: str
    """The dotted name as the user wrote it; empty for a file as a whole."""
    where: str
    """The file and line, or the environment variable; empty when it was set nowhere."""
    text: str
    """What was expected."""

    def __str__(self) -> str:
        position = f" ({self.where})" if self.where and self.key else self.where
        return f"{self.key}{position}: {self.text}"


class ConfigError(Exception):
    """The settings are unusable; `problems` holds every reason, the message the first 50."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems[:MOST_SHOWN])
        if count > MOST_SHOWN:
            lines += f"\n  and {count - MOST_SHOWN} more"
        super().__init__(f"{head} in the settings:{lines}")

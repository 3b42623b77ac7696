"""A fixed piece of work: how many instructions does this build of Python take for it?

A build with other options, or another version, takes more or fewer for the same source. Counts of
instructions are compared only where this one is the same. The work uses the interpreter alone,
so that no change of the gateway or its libraries changes its count.

Run as ``python -m bench.yardstick``; it works once for each line on stdin and answers with one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["work"]

_FIELDS = [f"x-field-{number}: value {number}".encode() for number in range(12)]


@dataclass(slots=True)
class _Item:
    name: str
    value: str
    weight: float

    def is_heavy(self) -> bool:
        """Whether it weighs more than most."""
        return self.weight > 0.5


def _read_items(head: bytes) -> dict[str, _Item]:
    items: dict[str, _Item] = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(": ")
        items[name.lower()] = _Item(name, value, len(value) / 16)
    return items


def work() -> int:
    """Calls, attributes, dicts, text and numbers, as a server has them; a count of bytes."""
    written = 0
    for turn in range(50):
        items = _read_items(b"\r\n".join(_FIELDS))
        heavy = [item for item in items.values() if item.is_heavy()]
        answer = "".join(f"{item.name}={item.value};" for item in heavy)
        written += len(answer.encode()) + turn % 7
    return written


def main() -> None:
    """Answer each line with the result of the work."""
    for _ in sys.stdin:
        print(work(), flush=True)


if __name__ == "__main__":
    main()

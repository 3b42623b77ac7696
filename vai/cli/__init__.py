"""The `vai` command.

Invariants: a mistake of the user ends in one clear text and exit code 2, never in a traceback.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from vai import install_command

__all__ = ["main"]

_NEEDED = ("typer", "rich", "dynaconf", "sanic")


def main() -> None:
    """Run the command that `sys.argv` names."""
    # The base install is for programs that import vai; the commands come with the server.
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(
            f"vai: not installed: {', '.join(missing)}. Run: {install_command('server')}",
        )
    from vai.cli.commands import app  # noqa: PLC0415  needs the modules checked above

    app(prog_name="vai")

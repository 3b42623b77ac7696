"""The settings as a page: what `settings.toml` says, as tables.

The law of this module: the words and the defaults stand in `settings.toml` alone, and
`settings.toml` must speak of every setting there is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from vai.config.load import defaults_file

__all__ = ["Entry", "entries", "page"]

_TABLE: Final = re.compile(r"\[([\w.]+)\]")
_SETTING: Final = re.compile(r'(# )?((?:[a-z]|"[^"]+"\.)[\w.-]*) = (.+)')

_HEAD: Final = """\
# Settings

Made from `settings.toml` by `make docs`. Sources, later ones win:

1. `settings.toml`, the defaults below;
2. the file that `VAI_CONFIG` (or `vai serve --config`) names: `.toml`, `.yaml`, `.yml` or `.json`;
3. `.secrets.toml` beside that file, or in the working directory;
4. `VAI_` variables: `VAI_PORT=9000`, and two underscores for each dot,
   `VAI_LIMITS__PER_USER__REQUESTS_PER_MINUTE=60`. Lists and tables are written as in TOML.

The providers' usual variables (`ANTHROPIC_API_KEY`, ...) fill only what all of these leave
empty, and are not read with `auth.mode = "passthrough"`. `${NAME}` and `${NAME:-default}`
in a file stand for variables. Durations are seconds, or text: `"250ms"`, `"60s"`, `"1h30m"`.

An unknown name, a wrong type or an impossible value stops the start. `vai check` shows every
such problem at once, with the file and line or the variable, and never with the value.

Flat names (`auth_mode`, `api_keys`, `provider_keys.openai`, `rate_limit.user_requests_per_minute`,
`observability.log_level`, `allowed_origins`, `read_timeout`, `write_timeout`,
`shutdown_timeout`, ...) are understood as well; where one file has both, the nested name wins.
"""


class Entry(NamedTuple):
    """One setting: its dotted name, its default or example, and its sentence."""

    name: str
    value: str
    is_example: bool
    text: str


def entries(toml: str) -> Iterator[Entry]:
    """The settings in the order of the file. The comment above a setting is its text."""
    table, comment = "", list[str]()
    for line in toml.splitlines():
        if found := _TABLE.fullmatch(line):
            table = found.group(1) + "."
            comment.clear()
        elif found := _SETTING.fullmatch(line):
            example, name, value = found.groups()
            yield Entry(table + name, value, example is not None, " ".join(comment))
            comment.clear()
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        else:
            comment.clear()


def page(toml: str) -> str:
    """The whole page, Markdown."""
    lines = [_HEAD]
    section = None
    for entry in entries(toml):
        first = entry.name.partition(".")[0] if "." in entry.name else ""
        if first != section:
            section = first
            lines += [f"## {section or 'Server'}", ""]
            lines += ["| Setting | Default | |", "| --- | --- | --- |"]
        default = f"(e.g. `{entry.value}`)" if entry.is_example else f"`{entry.value}`"
        lines.append(f"| `{entry.name}` | {default} | {entry.text} |")
    # A blank line ends a table; sections follow each other without one above.
    return re.sub(r"\|\n## ", "|\n\n## ", "\n".join(lines)) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(defaults_file().read_text("utf-8")), "utf-8")

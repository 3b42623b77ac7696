"""The page of the settings: the content of `settings.toml` as tables.

Invariants: only `settings.toml` has the texts and the defaults, and it must describe every
setting.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from vai.config.load import defaults_file

__all__ = ["SettingEntry", "SettingTable", "list_entries", "read_tables", "settings_page"]

_TABLE: Final = re.compile(r"\[([\w.]+)\]")
_SETTING: Final = re.compile(r'(# )?((?:[a-z]|"[^"]+"\.)[\w.-]*) = (.+)')

_HEAD: Final = """\
# Settings

Made from `settings.toml` by `make docs`. Sources, later ones win:

1. `settings.toml`, the defaults below;
2. the file that `VAI_CONFIG` (or `vai serve --config`) names: `.toml`, `.yaml`, `.yml` or `.json`;
3. `.secrets.toml` beside that file, or in the working directory;
4. `VAI_` variables: `VAI_PORT=9000`, and two underscores for each dot,
   `VAI_LIMITS__PER_USER__REQUESTS_PER_MINUTE=60`. Lists and tables are written as in TOML,
   or as JSON behind `@json`.

The providers' usual variables (`ANTHROPIC_API_KEY`, ...) fill only what all of these leave
empty, and are not read with `auth.mode = "passthrough"`. In a value `${NAME}` and
`${NAME:-default}` stand for variables, and `${file:/run/secrets/openai}` for what that file holds
([secrets](keys.md#secrets)). Durations are seconds, or text: `"250ms"`, `"60s"`, `"1h30m"`.

An unknown name, a wrong type or an impossible value stops the start. `vai check` shows every
such problem at once, with the file and line or the variable, and never with the value. A file
has at most 2 MiB and 32 levels; dynaconf's casts are text here, but for `@json` in a variable.

Flat names (`auth_mode`, `api_keys`, `provider_keys.openai`, `rate_limit.user_requests_per_minute`,
`observability.log_level`, `allowed_origins`, `read_timeout`, `write_timeout`,
`shutdown_timeout`, ...) are understood as well; where one file has both, the nested name wins.
"""


class SettingEntry(NamedTuple):
    """One setting: its dotted name, its default or example, and its sentence."""

    name: str
    value: str
    is_example: bool
    text: str


class SettingTable(NamedTuple):
    """The settings below one header of the file, and the comment above that header."""

    name: str
    """Dotted; empty for the settings above the first header."""
    text: str
    entries: list[SettingEntry]


def list_entries(toml: str) -> Iterator[SettingEntry]:
    """The settings in the order of the file."""
    for table in read_tables(toml):
        yield from table.entries


def read_tables(toml: str) -> Iterator[SettingTable]:
    """The tables in the order of the file. The comment directly above a setting or header is its
    text; a blank line separates a comment from a setting to which it does not belong."""
    table, comment = SettingTable("", "", []), list[str]()
    for line in toml.splitlines():
        if match := _TABLE.fullmatch(line):
            yield table
            table = SettingTable(match.group(1), " ".join(comment), [])
            comment.clear()
        elif match := _SETTING.fullmatch(line):
            example, name, value = match.groups()
            name = f"{table.name}.{name}" if table.name else name
            table.entries.append(SettingEntry(name, value, example is not None, " ".join(comment)))
            comment.clear()
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        else:
            comment.clear()
    yield table


def settings_page(toml: str) -> str:
    """The whole page, Markdown."""
    lines = [_HEAD]
    headings = set[str]()
    for table in read_tables(toml):
        section, _, below = (table.name or "Server").partition(".")
        if section not in headings:
            headings.add(section)
            lines += [f"## {section}", ""]
        if below:
            lines += [f"### {table.name}", ""]
        if table.text:
            lines += [table.text, ""]
        if table.entries:
            lines += ["| Setting | Default | |", "| --- | --- | --- |"]
            lines += [*map(_format_entry, table.entries), ""]
    return "\n".join(lines)


def _format_entry(entry: SettingEntry) -> str:
    default = f"(e.g. `{entry.value}`)" if entry.is_example else f"`{entry.value}`"
    return f"| `{entry.name}` | {default} | {entry.text} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(settings_page(defaults_file().read_text("utf-8")), "utf-8")

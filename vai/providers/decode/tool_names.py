"""Names of tools in a server's calls -> the names that the client declared.

VAI changes some names for a server (`translate.names`), and models vary the names that they write:
with a namespace before them, with a channel mark after them, in another case.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final

from vai.providers.translate.tools import to_client_tool
from vai.types.request import Tool

__all__ = ["ToolNames"]

_MAX_NAME: Final = 128
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")
_FOLDED: Final = re.compile(r"[^a-z0-9]")
_MARKED: Final = re.compile(r"<\|.*", re.DOTALL)
_NUMBERED: Final = re.compile(r":\d+$")
_SPACED: Final = re.compile(r"[.:/]+")


_NONE: Final[frozenset[str]] = frozenset()


class ToolNames:
    """The names of one request's tools.

    Args:
        aliases: the server's name of a tool -> the client's, where they differ.
        tools: the tools that the client declared.
    """

    def __init__(
        self, aliases: Mapping[str, str] = MappingProxyType({}), tools: Collection[Tool] = ()
    ) -> None:
        self._aliases = aliases
        self._declared = frozenset(filter(None, map(_declared_name, tools))) if tools else _NONE

    @property
    def only_name(self) -> str | None:
        """The name of the only declared tool; None if there are several, or none."""
        return next(iter(self._declared)) if len(self._declared) == 1 else None

    def is_declared(self, name: str) -> bool:
        """Whether `name`, in the server's spelling, is a tool that the client declared."""
        return self.to_client_name(name) in self._declared

    def to_client_name(self, name: str) -> str:
        """The client's name for the server's `name`.

        A name that matches no tool of the client gets the form that the Messages API requires.
        """
        client_name = self._exact_name(name)
        if client_name is None:
            plain = _NUMBERED.sub("", _MARKED.sub("", name)).strip(" \t\r\n\"'`()")
            last = _SPACED.split(plain)[-1]
            client_name = self._exact_name(plain) or self._exact_name(last)
            client_name = (
                client_name
                or self._folded_names.get(_fold_name(plain))
                or self._folded_names.get(_fold_name(last))
            )
        return client_name or _ILLEGAL.sub("_", name)[:_MAX_NAME]

    def _exact_name(self, name: str) -> str | None:
        return name if name in self._declared else self._aliases.get(name)

    @cached_property
    def _folded_names(self) -> dict[str, str]:
        """Names without case and signs -> declared names, except ambiguous ones."""
        names: dict[str, str] = {}
        ambiguous = set()
        for name in self._declared:
            folded = _fold_name(name)
            if folded in names:
                ambiguous.add(folded)
            names[folded] = name
        return {
            folded: name for folded, name in names.items() if folded and folded not in ambiguous
        }


def _declared_name(tool: Tool) -> str | None:
    if tool.name:
        return tool.name
    described = to_client_tool(tool)
    return described.name if described is not None else None


def _fold_name(name: str) -> str:
    return _FOLDED.sub("", name.casefold())

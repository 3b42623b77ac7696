"""``vai models``: the catalogue as a table, or as JSON.

Invariants: it shows what ``GET /v1/models`` tells, from the same source, and
needs neither a server nor a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from vai.config import Settings
from vai.config.states import provider_states
from vai.io.catalogue import catalogue_from_settings
from vai.io.clock import today
from vai.io.providers import build_specs
from vai.policy.aliases import aliased_routes
from vai.policy.model_listing import Listing

__all__ = ["show"]

_WIDE: Final = 160
"""Columns where the output is no terminal, and nobody has said how many there are."""


def show(
    settings: Settings, *, provider: str | None, capability: str | None, as_json: bool
) -> None:
    """Write the models to standard output.

    Raises:
        InvalidRequest: there is no such provider or capability.
    """
    rows = build_specs(settings)
    known = catalogue_from_settings(settings)
    aliased = aliased_routes(settings.aliases, rows, known)
    first = {alias: routes[0].name for alias, routes in aliased.items()}
    listing = Listing(known, rows, provider_states(settings), first)
    found = listing.vai(today(), provider=provider, capability=capability)
    if as_json:
        chosen = {name: found[name] for name in ("providers", "aliases")}
        print(orjson.dumps(chosen, option=orjson.OPT_INDENT_2).decode())  # noqa: T201
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    console.print(_table(found["providers"]))
    for name, target in found["aliases"].items():
        console.print(f"{name} = {target}", markup=False)


def _table(providers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for head in ("context", "prompt", "answer", "in $/M", "out $/M", "cached $/M"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("can", overflow="fold")
    table.add_column("retires", no_wrap=True)
    for provider in providers:
        for model in provider["models"]:
            table.add_row(*_row(model))
    return table


def _row(model: Mapping[str, Any]) -> list[str]:
    pricing = model.get("pricing", {})
    prices = [pricing.get(f"{name}_per_mtok") for name in ("input", "output", "cache_read")]
    can = [name for name, there in model["capabilities"].items() if there]
    shown = [name for name in can if name not in ("text", "tool_streaming")]
    return [
        model["full_id"],
        _size(model.get("context_window")),
        _size(model.get("max_input_tokens")),
        _size(model.get("max_output_tokens")),
        *("" if price is None else f"{price:.10g}" for price in prices),
        " ".join(shown).replace("structured_output", "schema"),
        str(model.get("retires_at") or ""),
    ]


def _size(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"

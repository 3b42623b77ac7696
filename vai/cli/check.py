"""``vai check``: what the settings amount to, what is wrong or doubtful, who can be reached.

Invariants: nothing secret is printed, and the same settings print the same lines in the same
order on the same day. Exit code 2: the settings cannot be served with. 1: a provider that was
asked failed, or, with ``--strict``, there is a warning. 0: neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import typer

from vai.cli.allowed import limits_in_force, limits_in_words
from vai.cli.overview import base_urls, overview, try_it, url
from vai.config import ConfigError, Settings
from vai.config.addresses import address_fault
from vai.config.load import load_with_warnings
from vai.config.problems import Problem
from vai.config.states import provider_states
from vai.io.clock import today
from vai.io.probe import ProbeResult, probe_providers
from vai.io.providers import build_specs

__all__ = ["check", "show_start"]

_UNUSABLE = 2
_DOUBTFUL = 1


def check(*, probe: bool, strict: bool, as_json: bool) -> int:
    """Check the settings, write what was found, return the exit code."""
    try:
        settings, warnings = load_with_warnings(today())
    except ConfigError as error:
        if as_json:
            _write_json({"ok": False, "errors": _plain(error.problems), "warnings": []})
        else:
            typer.echo(f"vai: {error}", err=True)
        return _UNUSABLE
    probes = asyncio.run(probe_providers(settings)) if probe else None
    warnings = [one for one in warnings if not _is_disproved(one, settings, probes or ())]
    failed = any(one.outcome == "failed" for one in probes or ())
    doubtful = strict and (bool(warnings) or any(one.missing for one in probes or ()))
    code = _DOUBTFUL if failed or doubtful else 0
    if as_json:
        shown = {"ok": code == 0, "errors": [], "warnings": _plain(warnings)}
        _write_json({**shown, **_as_json(settings, probes)})
        return code
    _write_rows([*overview(settings), *limits_in_words(settings)])
    if probes is not None:
        typer.echo("\nasked:")
        _write_rows([(f"  provider {one.provider}", _in_words(one)) for one in probes])
    _write_warnings(warnings)
    _write_trial(settings)
    return code


def _is_disproved(warning: Problem, settings: Settings, probes: Iterable[ProbeResult]) -> bool:
    """Whether a provider has answered at an address that was only unusual."""
    rows = build_specs(settings)
    setting = warning.key.replace("_", "-")
    for one in probes:
        if one.outcome == "ok" and setting == f"providers.{one.provider}.base-url":
            row = rows[one.provider]
            fault = address_fault(row.kind, row.base_url)
            return fault is not None and warning.text == fault.text
    return False


def show_start(settings: Settings, warnings: Sequence[Problem]) -> None:
    """Write what `vai serve` is about to serve."""
    _write_rows(overview(settings))
    _write_warnings(warnings)
    _write_trial(settings)


def _write_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(principal) for principal, _ in rows)
    for principal, state in rows:
        typer.echo(f"{principal:<{width}}  {state}")


def _write_warnings(warnings: Sequence[Problem]) -> None:
    if warnings:
        count = len(warnings)
        typer.echo(f"\n{'1 warning' if count == 1 else f'{count} warnings'}:")
    for warning in warnings:
        typer.echo(f"  {warning}")


def _write_trial(settings: Settings) -> None:
    if lines := try_it(settings):
        typer.echo("\n" + "\n".join(lines) + "\n")


def _write_json(shown: dict[str, Any]) -> None:
    typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


def _in_words(probe: ProbeResult) -> str:
    asked = f" ({probe.url}, {probe.status or 'no answer'})" if probe.url else ""
    return f"{'FAILED, ' if probe.outcome == 'failed' else ''}{probe.text}{asked}"


def _plain(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [problem._asdict() for problem in problems]


def _as_json(settings: Settings, probes: Sequence[ProbeResult] | None) -> dict[str, Any]:
    urls = base_urls(settings)
    shown: dict[str, Any] = {
        "address": url(settings),
        "workers": settings.workers,
        "auth": {"mode": settings.auth.mode, "keys": len(settings.auth.api_keys)},
        "providers": [
            {"id": name, "state": state, "base_url": urls[name]}
            for name, state in provider_states(settings).items()
        ],
        "aliases": settings.aliases,
        "limits": {
            "enabled": settings.limits.enabled,
            "mode": settings.limits.mode,
            "store": settings.limits.store,
            "in_force": [row.as_json() for row in limits_in_force(settings)],
        },
    }
    if probes is not None:
        names = ProbeResult.__struct_fields__
        shown["probes"] = [{name: getattr(one, name) for name in names} for one in probes]
    return shown

"""``vai check``: what VAI would serve, errors and warnings, and which providers respond.

Invariants: the command prints no secret, and the same settings print the same lines in the same
order on the same day. Exit code 2: VAI cannot serve with the settings. 1: a probed provider
failed, or, with ``--strict``, there is a warning. 0: neither.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson
import typer

from vai.config import ConfigError, Settings
from vai.config.addresses import address_fault
from vai.config.load import load_with_warnings
from vai.config.problems import Problem
from vai.config.schema import ApiKey
from vai.config.states import OFF, SIMULATED, provider_states
from vai.gateway.admission.principals import PrincipalRegistry
from vai.io.clock import today
from vai.io.probe import ProbeResult, probe_providers
from vai.io.providers import build_specs
from vai.policy.limits.sets import LimitSet
from vai.providers.registry import PROVIDER_SPECS
from vai.secret import Secret

__all__ = [
    "PrincipalLimits",
    "base_urls",
    "describe_limits",
    "example_commands",
    "gateway_url",
    "limits_in_force",
    "overview_rows",
    "run_check",
    "show_start",
]

_UNUSABLE = 2
_DOUBTFUL = 1


def run_check(*, probe: bool, strict: bool, as_json: bool) -> int:
    """Check the settings and write the result; returns the exit code."""
    try:
        settings, warnings = load_with_warnings(today())
    except ConfigError as error:
        if as_json:
            _write_json({"ok": False, "errors": _problems_to_json(error.problems), "warnings": []})
        else:
            typer.echo(f"vai: {error}", err=True)
        return _UNUSABLE
    probes = asyncio.run(probe_providers(settings)) if probe else None
    warnings = [one for one in warnings if not _is_disproved(one, settings, probes or ())]
    failed = any(one.outcome == "failed" for one in probes or ())
    doubtful = strict and (bool(warnings) or any(one.missing for one in probes or ()))
    code = _DOUBTFUL if failed or doubtful else 0
    if as_json:
        shown = {"ok": code == 0, "errors": [], "warnings": _problems_to_json(warnings)}
        _write_json({**shown, **_settings_to_json(settings, probes)})
        return code
    _write_rows([*overview_rows(settings), *describe_limits(settings)])
    if probes is not None:
        typer.echo("\nasked:")
        _write_rows([(f"  provider {one.provider}", _describe_probe(one)) for one in probes])
    _write_warnings(warnings)
    _write_trial(settings)
    return code


def _is_disproved(warning: Problem, settings: Settings, probes: Iterable[ProbeResult]) -> bool:
    """Whether a probe reached the unusual address that `warning` reports."""
    specs = build_specs(settings)
    setting = warning.key.replace("_", "-")
    for one in probes:
        if one.outcome == "ok" and setting == f"providers.{one.provider}.base-url":
            spec = specs[one.provider]
            fault = address_fault(spec.kind, spec.base_url)
            return fault is not None and warning.text == fault.text
    return False


def show_start(settings: Settings, warnings: Sequence[Problem]) -> None:
    """Write what `vai serve` will serve."""
    _write_rows(overview_rows(settings))
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
    if lines := example_commands(settings):
        typer.echo("\n" + "\n".join(lines) + "\n")


def _write_json(shown: dict[str, Any]) -> None:
    typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


def _describe_probe(probe: ProbeResult) -> str:
    request = f" ({probe.url}, {probe.status or 'no answer'})" if probe.url else ""
    return f"{'FAILED, ' if probe.outcome == 'failed' else ''}{probe.text}{request}"


def _problems_to_json(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [problem._asdict() for problem in problems]


def _settings_to_json(settings: Settings, probes: Sequence[ProbeResult] | None) -> dict[str, Any]:
    urls = base_urls(settings)
    shown: dict[str, Any] = {
        "address": gateway_url(settings),
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
            "in_force": [one.as_json() for one in limits_in_force(settings)],
        },
    }
    if probes is not None:
        names = ProbeResult.__struct_fields__
        shown["probes"] = [{name: getattr(one, name) for name in names} for one in probes]
    return shown


_MOST_NAMES: Final = 8
_UNITS: Final = (
    ("requests", "requests/min"),
    ("tokens", "tokens/min"),
    ("concurrency", "at once"),
    ("sessions", "live sessions"),
)


class PrincipalLimits(NamedTuple):
    """The limits of one kind of principal."""

    whom: str
    limits: LimitSet
    keys: tuple[str, ...] = ()
    """The names of the keys that have these limits; only of a tier."""

    def as_json(self) -> dict[str, Any]:
        """For programs; 0 means no limit."""
        shown: dict[str, Any] = {"whom": self.whom, **self.limits._asdict()}
        return {**shown, "keys": list(self.keys)} if self.whom.startswith("tier ") else shown

    def __str__(self) -> str:
        numbers = [
            f"{getattr(self.limits, name):,} {unit}"
            for name, unit in _UNITS
            if getattr(self.limits, name)
        ]
        text = f"{self.whom}: {', '.join(numbers) or 'no limit'}"
        if not self.whom.startswith("tier "):
            return text
        more = len(self.keys) - _MOST_NAMES
        names = ", ".join(self.keys[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        return f"{text} (keys: {names or 'none'})"


def limits_in_force(settings: Settings) -> list[PrincipalLimits]:
    """The limits of all clients together, of each user, of the tiers, of single keys.

    The gateway's own rules determine the limits of a tier or a key (`PrincipalRegistry`).
    """
    return list(_principal_limits(settings)) if settings.limits.enabled else []


def describe_limits(settings: Settings) -> list[tuple[str, str]]:
    """The limits as rows of (principal, text)."""
    rows = limits_in_force(settings)
    if not rows:
        return [("limits", "off: nothing is limited")]
    limits = settings.limits
    where = "Redis" if limits.store == "redis" else "the workers of this gateway"
    return [("limits", f"{limits.mode}, counted over {where}"), *(("limits", str(r)) for r in rows)]


def _principal_limits(settings: Settings) -> Iterator[PrincipalLimits]:
    principals = PrincipalRegistry(settings)
    plain = ApiKey(key=Secret("none"))
    everyone, user = principals.principals_of_key(plain, "", "")
    yield PrincipalLimits("all clients together", everyone.limits)
    yield PrincipalLimits("each user" if settings.auth.api_keys else "each address", user.limits)
    keys = [
        (key.name or f"auth.api_keys[{number}]", key)
        for number, key in enumerate(settings.auth.api_keys)
    ]
    for tier in settings.limits.tiers:
        of_tier = principals.principals_of_key(ApiKey(key=plain.key, tier=tier), "", "")[-1]
        names = tuple(name for name, key in keys if key.tier == tier)
        yield PrincipalLimits(f"tier {tier}", of_tier.limits, names)
    for name, key in keys:
        if (
            key.rate_limit
            or key.tokens_per_minute
            or key.concurrent_requests
            or key.concurrent_sessions
        ):
            yield PrincipalLimits(
                f"key {name}", principals.principals_of_key(key, "", "")[-1].limits
            )


_AUTH = {
    "api_key": "clients present one of {keys}",
    "passthrough": "clients bring their own provider keys",
    "none": "any client may call",
}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_./:@-]+")
"""A name that needs no quoting in a shell or in JSON."""


def overview_rows(settings: Settings) -> list[tuple[str, str]]:
    """Rows of (principal, state)."""
    keys = len(settings.auth.api_keys)
    auth = _AUTH[settings.auth.mode].format(keys="1 key" if keys == 1 else f"{keys} keys")
    rows = [("address", gateway_url(settings)), ("workers", str(settings.workers)), ("auth", auth)]
    urls = base_urls(settings)
    rows += [
        (f"provider {name}", _describe_state(state, urls[name]))
        for name, state in provider_states(settings).items()
    ]
    rows += [
        (f"alias {name}", ", else ".join(targets)) for name, targets in settings.aliases.items()
    ]
    return rows


def _describe_state(state: str, base_url: str) -> str:
    """The state of a provider, and where requests to it go."""
    if state == OFF:
        return state
    if state == SIMULATED or state.startswith(OFF):
        return f"{state}; clients' own keys go to {base_url}"
    return f"{state}, {base_url}"


def base_urls(settings: Settings) -> dict[str, str]:
    """The base URL of each provider, by id, including those that are off."""
    return {
        name: spec.base_url for name, spec in {**PROVIDER_SPECS, **build_specs(settings)}.items()
    }


def gateway_url(settings: Settings) -> str:
    """The gateway's URL for a client on this machine."""
    scheme = "https" if settings.tls.enabled else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def example_commands(settings: Settings) -> list[str]:
    """Three lines for a shell, or none where they would have to contain a key.

    They name a model of a real provider, where there is one.
    """
    if settings.auth.mode != "none":
        return []
    model = _model_to_try(settings)
    lines = [f"curl {gateway_url(settings)}/health"]
    if model is None:
        return lines
    for option, stream in (("", ""), ("-N ", ', "stream": true')):
        body = (
            f'{{"model": "{model}", "max_tokens": 64{stream}, '
            '"messages": [{"role": "user", "content": "Hello"}]}'
        )
        lines.append(
            f"curl {option}{gateway_url(settings)}/v1/messages -H 'content-type: application/json' "
            f"-d '{body}'"
        )
    return lines


def _model_to_try(settings: Settings) -> str | None:
    """A model that the gateway serves: of a real provider first, then of a simulated one.

    A server of the operator's own counts when the settings describe one of its models.
    """
    models = {name: f"{name}/{spec.example_model}" for name, spec in PROVIDER_SPECS.items()}
    for name in settings.models:
        models.setdefault(name.partition("/")[0], name)
    states = provider_states(settings)
    for state in ("real", "simulated"):
        for provider, is_served in states.items():
            model = models.get(provider, "")
            if is_served.startswith(state) and _PLAIN_NAME.fullmatch(model):
                return model
    return None

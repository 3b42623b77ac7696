"""What settings amount to, in words: shown by `vai check` and when `vai serve` starts.

Invariants: pure, and no secret among its words.
"""

from __future__ import annotations

import re
from typing import Final

from vai.config import Settings
from vai.config.states import OFF, SIMULATED, provider_states
from vai.io.providers import build_specs
from vai.providers.registry import PROVIDER_SPECS

__all__ = ["base_urls", "overview", "try_it", "url"]

_AUTH = {
    "api_key": "callers present one of {keys}",
    "passthrough": "callers bring their own provider keys",
    "none": "everybody may call",
}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_./:@-]+")
"""A name that means itself in a shell and in JSON."""


def overview(settings: Settings) -> list[tuple[str, str]]:
    """Rows of (principal, state)."""
    keys = len(settings.auth.api_keys)
    auth = _AUTH[settings.auth.mode].format(keys="1 key" if keys == 1 else f"{keys} keys")
    rows = [("address", url(settings)), ("workers", str(settings.workers)), ("auth", auth)]
    urls = base_urls(settings)
    rows += [
        (f"provider {name}", _at(state, urls[name]))
        for name, state in provider_states(settings).items()
    ]
    rows += [
        (f"alias {name}", ", else ".join(targets)) for name, targets in settings.aliases.items()
    ]
    return rows


def _at(state: str, base_url: str) -> str:
    """How a provider is served, and where requests to it go."""
    if state == OFF:
        return state
    if state == SIMULATED or state.startswith(OFF):
        return f"{state}; callers' own keys go to {base_url}"
    return f"{state}, {base_url}"


def base_urls(settings: Settings) -> dict[str, str]:
    """Where each provider is, by id, those that are off among them."""
    return {name: row.base_url for name, row in {**PROVIDER_SPECS, **build_specs(settings)}.items()}


def url(settings: Settings) -> str:
    """The address as a client on this machine writes it."""
    scheme = "https" if settings.tls.enabled else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def try_it(settings: Settings) -> list[str]:
    """Three lines for a shell, or none where a key would have to stand in them.

    They name a model of a provider that is real, where there is one.
    """
    if settings.auth.mode != "none":
        return []
    model = _model_to_try(settings)
    lines = [f"curl {url(settings)}/health"]
    if model is None:
        return lines
    for option, stream in (("", ""), ("-N ", ', "stream": true')):
        body = (
            f'{{"model": "{model}", "max_tokens": 64{stream}, '
            '"messages": [{"role": "user", "content": "Hello"}]}'
        )
        lines.append(
            f"curl {option}{url(settings)}/v1/messages -H 'content-type: application/json' "
            f"-d '{body}'"
        )
    return lines


def _model_to_try(settings: Settings) -> str | None:
    """A model that the gateway serves: of a real provider first, then of a simulated one.

    A server of the operator's own has a model when the settings describe one of its models.
    """
    models = {name: f"{name}/{row.example_model}" for name, row in PROVIDER_SPECS.items()}
    for name in settings.models:
        models.setdefault(name.partition("/")[0], name)
    states = provider_states(settings)
    for state in ("real", "simulated"):
        for provider, is_served in states.items():
            model = models.get(provider, "")
            if is_served.startswith(state) and _PLAIN_NAME.fullmatch(model):
                return model
    return None

"""What settings amount to, in words: shown by `vai check` and when `vai serve` starts.

The law of this module: pure, and no secret among its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vai.config import Settings
from vai.config.login import TERMS
from vai.config.names import LOGGED_IN_TO
from vai.providers.registry import ROWS

__all__ = ["SUGGESTED", "overview", "provider_states", "try_it", "url"]

_AUTH = {
    "api_key": "callers present one of {keys}",
    "passthrough": "callers bring their own provider keys",
    "none": "everybody may call",
}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_./:@-]+")
"""A name that means itself in a shell and in JSON."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SUGGESTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": "claude-haiku-4-5",
        "openai": "gpt-5.4-mini",
        "oai-resp": "gpt-5.4-mini",
        "groq": "openai/gpt-oss-120b",
        "cerebras": "gpt-oss-120b",
        "gemini": "gemini-3.5-flash",
        "gemini-oauth": "gemini-3.5-flash",
    }
)
"""Provider -> a model of it for a first request, which the catalogue lists with its price."""


def overview(settings: Settings) -> list[tuple[str, str]]:
    """Rows of (subject, state)."""
    keys = len(settings.auth.api_keys)
    auth = _AUTH[settings.auth.mode].format(keys="1 key" if keys == 1 else f"{keys} keys")
    rows = [("address", url(settings)), ("workers", str(settings.workers)), ("auth", auth)]
    if settings.auth.mode == "none" and settings.host not in _LOOPBACK:
        rows.append(("warning", "without auth, and reachable from other machines"))
    if (login := settings.providers.get(LOGGED_IN_TO)) is not None and login.enabled:
        rows.append(("warning", TERMS))
    rows += [(f"provider {name}", state) for name, state in provider_states(settings).items()]
    rows += [
        (f"alias {name}", ", else ".join(targets)) for name, targets in settings.aliases.items()
    ]
    return rows


def provider_states(settings: Settings) -> dict[str, str]:
    """How each provider is served, by id."""
    states: dict[str, str] = {}
    own = [name for name, row in settings.providers.items() if row.kind and name not in ROWS]
    for name in (*ROWS, *own):
        row = settings.providers.get(name)
        if name == LOGGED_IN_TO:
            states[name] = "real, with your login" if row and row.enabled else "off"
        elif settings.auth.mode == "passthrough":
            states[name] = "real, with the caller's key"
        elif row is not None and row.api_key is not None:
            states[name] = "real"
        elif row is not None and row.base_url is not None:
            states[name] = "real, without a key"
        elif settings.simulate:
            states[name] = "simulated"
        else:
            states[name] = "off (no key)"
    return states


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
    models = {name: f"{name}/{model}" for name, model in SUGGESTED.items()}
    for name in settings.models:
        models.setdefault(name.partition("/")[0], name)
    states = provider_states(settings)
    for state in ("real", "simulated"):
        for provider, is_served in states.items():
            model = models.get(provider, "")
            if is_served.startswith(state) and _PLAIN_NAME.fullmatch(model):
                return model
    return None

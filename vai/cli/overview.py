"""What settings amount to, in words: shown by `vai check` and when `vai serve` starts.

The law of this module: pure, and no secret among its words.
"""

from __future__ import annotations

from vai.config import Settings
from vai.config.login import TERMS
from vai.config.names import LOGGED_IN_TO
from vai.providers.registry import ROWS

__all__ = ["overview", "provider_states", "try_it", "url"]

_AUTH = {
    "api_key": "callers present one of {keys}",
    "passthrough": "callers bring their own provider keys",
    "none": "everybody may call",
}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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
    """Three lines for a shell, or none where a key would have to stand in them."""
    if settings.auth.mode != "none":
        return []
    served = [name for name, state in provider_states(settings).items() if "off" not in state]
    # A server of one's own has model names of its own.
    models = {"anthropic": "claude-haiku-4-5", "openai": "gpt-5-mini"}
    model = next((f"{name}/{models[name]}" for name in served if name in models), None)
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

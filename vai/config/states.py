"""How each provider is served under finished settings.

Invariants: the module is pure, and its texts contain no secret.
"""

from __future__ import annotations

from typing import Final

from vai.config.names import LOGGED_IN_TO
from vai.config.schema import Settings
from vai.providers.registry import PROVIDER_SPECS

__all__ = ["OFF", "SIMULATED", "provider_states"]

OFF: Final = "off"
"""The beginning of the state of a provider without a gateway key and without the simulator."""
SIMULATED: Final = "simulated"


def provider_states(settings: Settings) -> dict[str, str]:
    """How each provider is served, by id."""
    states: dict[str, str] = {}
    servers = [
        name
        for name, server in settings.providers.items()
        if server.kind and name not in PROVIDER_SPECS
    ]
    for name in (*PROVIDER_SPECS, *servers):
        server = settings.providers.get(name)
        if name == LOGGED_IN_TO:
            states[name] = "real, with your login" if server and server.enabled else OFF
        elif settings.auth.mode == "passthrough":
            states[name] = "real, with the client's key"
        elif server is not None and server.api_key is not None:
            states[name] = "real"
        elif server is not None and server.base_url is not None:
            states[name] = "real, without a key"
        elif settings.simulate:
            states[name] = SIMULATED
        else:
            states[name] = f"{OFF} (no key)"
    return states

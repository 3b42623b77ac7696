"""By which names clients may reach a server that wants no key.

A web page can have its own name point to this machine (DNS rebinding); the browser then takes
the server for the page's own, reads its responses, and sends no `SettingsOrigin` with a GET. What
it cannot change is the `Host`, which is the name of the page. A name of the public DNS is therefore
refused unless it is configured; addresses and local names cannot be a page's.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

__all__ = ["AllowedHosts", "is_address", "is_local_name", "is_loopback"]

_LOCAL: Final = ("localhost", "local", "internal", "home.arpa", "test")
"""Names under these are in no public DNS (RFC 6761, 6762, 8375; ICANN's .internal)."""
_BELOW_LOCAL: Final = tuple(f".{local}" for local in _LOCAL)


class AllowedHosts:
    """The names that are let in.

    Args:
        names: as configured, without a port; ``*`` lets all in.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def allows_host(self, host: str) -> bool:
        """Whether a `Host` field, with or without a port, names this server."""
        name = _host_name(host)
        if name in self._names or "*" in self._names:
            return True
        return is_local_name(name) or is_address(name)


def _host_name(host: str) -> str:
    """The name in a `Host` field, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0].lstrip("[")
    return host.partition(":")[0].rstrip(".")


def is_local_name(name: str) -> bool:
    """Whether a host name, in lower case and no address, is in no public DNS."""
    # A name of one part is the machine's own or of its network.
    return "." not in name or name.endswith(_BELOW_LOCAL)


def is_address(name: str) -> bool:
    """Whether a host is an IP address, without brackets, and not a name."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to what listens on `host`."""
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)

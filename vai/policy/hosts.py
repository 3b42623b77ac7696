"""The host names by which clients may reach a server that requires no key.

A web page can point its own name to this machine (DNS rebinding); the browser then takes the
server for the page's own, reads its responses, and sends no `Origin` with a GET. The page cannot
change the `Host`, which is its own name. VAI therefore refuses a name of the public DNS unless the
settings list it; addresses and local names cannot be a page's.
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
    """The allowed host names.

    Args:
        names: as configured, without a port; ``*`` allows all.
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
    """Whether only this machine can connect to a server that listens on `host`."""
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)

"""By which address a caller without a key is known.

The law of this module: what a caller says of its own address counts for nothing. Only a peer
that the settings name as a proxy is believed, and of its X-Forwarded-For only what trusted
proxies have added: read from the right, the first address that is none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["TrustedProxies", "subject_address"]

_MAX_HOPS = 16
"""Proxies in a row. A longer list is the caller's own invention."""


class TrustedProxies:
    """The peers whose word is taken.

    Args:
        networks: addresses and networks, ``10.0.0.1`` or ``10.0.0.0/8``.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network, strict=False) for network in networks]

    def caller(self, peer: str, forwarded_for: str | None) -> str:
        """The caller's address: `peer` itself unless it is trusted and says another."""
        if not self._networks or forwarded_for is None or not self._trusts(peer):
            return peer
        hops = forwarded_for.split(",")[-_MAX_HOPS:]
        caller = peer
        for hop in reversed(hops):
            address = _parse(hop)
            if address is None:
                break  # whoever wrote that is the last one known
            caller = str(address)
            if not self._trusts(caller):
                break
        return caller

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(
            parsed in network for network in self._networks if network.version == parsed.version
        )


def subject_address(address: str) -> str:
    """What is counted as one caller: an IPv4 address, or the /64 of an IPv6 address.

    A /64 is what one subscriber gets (RFC 6177), with more addresses in it than any table holds.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed) if parsed is not None else address


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """An address, without zone and port-less; an IPv4 address that came in IPv6 clothes as IPv4."""
    try:
        parsed = ip_address(address.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed

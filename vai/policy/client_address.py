"""The address that identifies a client without a key.

Invariants: the gateway ignores a client's own statement of its address. It trusts only a peer
that the settings name as a proxy, and of its X-Forwarded-For only what trusted proxies have
added: read from the right, the first address that is none of them. A proxy may extend the line
that it received (nginx) or write a further one (HAProxy); all lines are one list in their order
(RFC 9110 5.3). The gateway does not read `Forwarded` and X-Real-IP: most proxies pass them on
as the client wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["TrustedProxies", "principal_address"]

_MAX_HOPS = 16
"""Proxies in a row. A longer list comes from the client itself."""


class TrustedProxies:
    """The peers whose X-Forwarded-For the gateway trusts.

    Args:
        networks: addresses and networks, ``10.0.0.1`` or ``10.0.0.0/8``.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network, strict=False) for network in networks]

    def find_client(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The client's address: `peer` itself unless it is trusted and names another.

        Args:
            peer: the address that the connection comes from.
            forwarded_for: the lines of X-Forwarded-For, in their order.
        """
        if not self._networks or not forwarded_for or not self._is_trusted(peer):
            return peer
        hops = ",".join(forwarded_for).rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]
        caller = peer
        for hop in reversed(hops):
            address = _parse_address(hop)
            if address is None:
                break  # the peer that wrote that is the last one known
            caller = str(address)
            if not self._is_trusted(caller):
                break
        return caller

    def _is_trusted(self, address: str) -> bool:
        parsed = _parse_address(address)
        return parsed is not None and any(
            parsed in network for network in self._networks if network.version == parsed.version
        )


def principal_address(address: str) -> str:
    """The address counted as one client: an IPv4 address, or the /64 of an IPv6 address.

    One subscriber gets a /64 (RFC 6177), with more addresses in it than any table holds.
    """
    parsed = _parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed) if parsed is not None else address


# What some proxies write with the port: 1.2.3.4:80 and [2001:db8::7]:80, or the brackets alone.
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[^\]]*)\](?::[0-9]{1,5})?")


def _parse_address(address: str) -> IPv4Address | IPv6Address | None:
    """An address, without zone and port; an IPv4-mapped IPv6 address as IPv4."""
    text = address.strip()
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match["v4"] or match["v6"]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed

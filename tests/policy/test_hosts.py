"""Names by which a server without keys may be reached."""

from __future__ import annotations

import pytest

from vai.policy.hosts import AllowedHosts, is_address

LOCAL = [
    "",
    "localhost",
    "LOCALHOST:8080",
    "localhost.",
    "app.localhost",
    "127.0.0.1",
    "192.168.1.20:8080",
    "203.0.113.7",
    "[::1]",
    "[2001:db8::1]:8080",
    "vai",
    "vai:8080",
    "mac.local",
    "db.prod.internal",
    "vai.default.svc.cluster.local:80",
    "nas.home.arpa",
]
FOREIGN = [
    "evil.example",
    "evil.example:8080",
    "EVIL.example.",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "notlocalhost.com",
    "evillocal.com",
    "127.0.0.1.nip.io",
    "1.2.3",
    "256.0.0.1",
]


@pytest.mark.parametrize("host", LOCAL)
def test_addresses_and_local_names_are_let_in(host: str) -> None:
    assert AllowedHosts(()).allows_host(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_names_of_the_public_dns_are_not_unless_they_are_configured(host: str) -> None:
    assert not AllowedHosts(()).allows_host(host)
    assert not AllowedHosts(("other.example",)).allows_host(host)
    assert AllowedHosts((host.partition(":")[0].upper(),)).allows_host(host)
    assert AllowedHosts(("*",)).allows_host(host)


def test_addresses() -> None:
    assert is_address("127.0.0.1")
    assert is_address("::1")
    assert not is_address("localhost")

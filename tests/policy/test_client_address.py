"""By which address a caller is known."""

from __future__ import annotations

import pytest

from vai.policy.client_address import TrustedProxies, principal_address


@pytest.mark.parametrize(
    ("peer", "said", "caller"),
    [
        ("9.9.9.9", [], "9.9.9.9"),
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.9.9.9", "1.1.1.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("fd00::1", "[2001:db8::7]", "2001:db8::7"),
        # HAProxy writes a line of its own behind what the caller sent.
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 7.7.7.7", "1.1.1.1", "10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1, 10.0.0.2", ""], "10.0.0.1"),
        ("9.9.9.9", ["6.6.6.6", "1.1.1.1"], "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1:54321", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1:54321, 10.0.0.2:80", "1.1.1.1"),
        ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
        ("10.0.0.1", "[::ffff:1.1.1.1]:443", "1.1.1.1"),
        ("10.0.0.1", "[fe80::1%eth0]:443", "fe80::1"),
        ("10.0.0.1", "1.1.1.1:port", "10.0.0.1"),
        ("10.0.0.1", "[1.1.1.1", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", ", ".join(["10.0.0.3"] * 10_000), "10.0.0.3"),
    ],
)
def test_only_a_trusted_proxy_is_believed(peer, said, caller):
    trusted = TrustedProxies(["10.0.0.0/8", "fd00::1"])
    lines = [said] if isinstance(said, str) else said
    assert trusted.find_client(peer, lines) == caller


def test_without_proxies_nobody_is_believed():
    assert TrustedProxies([]).find_client("127.0.0.1", ["1.1.1.1"]) == "127.0.0.1"


def test_addresses_of_one_subscriber_are_one_subject():
    assert principal_address("2001:db8:1:2::1") == principal_address("2001:db8:1:2:ffff::9")
    assert principal_address("2001:db8:1:2::1") != principal_address("2001:db8:1:3::1")
    assert principal_address("1.2.3.4") == principal_address("::ffff:1.2.3.4") == "1.2.3.4"
    assert principal_address("") == ""

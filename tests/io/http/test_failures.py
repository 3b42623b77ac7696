"""Every exception has exactly one counterpart, and none carries foreign text."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from vai.errors import UPSTREAM_SENTENCES, UpstreamFault
from vai.io.http.failures import (
    FROM_HTTPX,
    TO_HTTPX,
    broken_error,
    error_from_connect,
    fault_from_httpx,
    httpx_from_fault,
    timeout_error,
    unreachable_error,
)


def descendants(kind: type) -> set[type]:
    return {kind}.union(*(descendants(child) for child in kind.__subclasses__()))


def test_every_httpx_request_error_is_mapped():
    known = {kind for kind in descendants(httpx.RequestError) if kind.__module__ == "httpx"}
    assert known == set(FROM_HTTPX)
    assert set(FROM_HTTPX.values()) <= set(UPSTREAM_SENTENCES)
    for kind in known:
        for headed in (False, True):
            fault = fault_from_httpx(kind("Bearer sk-SECRET"), headed=headed)
            assert isinstance(fault, UpstreamFault)
            assert "SECRET" not in str(fault)
            assert fault.code in UPSTREAM_SENTENCES


def test_every_code_has_a_message_and_an_httpx_exception():
    assert set(TO_HTTPX) <= set(UPSTREAM_SENTENCES)
    for code in TO_HTTPX:
        for make in (timeout_error, unreachable_error, broken_error):
            error = httpx_from_fault(make(code))
            assert type(error) is TO_HTTPX[code]
            assert str(error) == UPSTREAM_SENTENCES[code]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (socket.gaierror(-2, "x"), "upstream_dns"),
        (ssl.SSLCertVerificationError(1, "x"), "upstream_tls"),
        (ssl.SSLError(1, "x"), "upstream_tls"),
        (ConnectionRefusedError(), "upstream_connect"),
        (TimeoutError(), "upstream_connect"),
        (OSError(101, "unreachable"), "upstream_connect"),
    ],
)
def test_connect_errors(error, code):
    assert error_from_connect(error).code == code

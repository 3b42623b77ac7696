"""The HTTP client of the hot path: its connection, its pool, and its interface to httpx."""

from __future__ import annotations

from vai.io.http.head import Endpoint, Origin
from vai.io.http.pool import PoolLimits, PoolStats
from vai.io.http.provider_keys import Credential
from vai.io.http.transport import VaiTransport
from vai.io.http.upstream import HttpUpstream, UpstreamSettings, build_transport

__all__ = [
    "Credential",
    "Endpoint",
    "HttpUpstream",
    "Origin",
    "PoolLimits",
    "PoolStats",
    "UpstreamSettings",
    "VaiTransport",
    "build_transport",
]

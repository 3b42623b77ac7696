"""TLS contexts: one per set of trust settings, shared by all its connections.

VAI verifies certificates and host names unless a setting turns this off. The trust store is
httpx's, or the file of the settings. VAI does not read the environment (SSL_CERT_FILE), so that
the settings alone determine which certificates it trusts.
"""

from __future__ import annotations

import ssl
from functools import lru_cache

import certifi

__all__ = ["TlsContext", "get_tls_context"]

_SESSION_LIMIT = 256


class TlsContext(ssl.SSLContext):
    """A client context that resumes sessions.

    asyncio has no argument for a session, but every loop makes its TLS object through
    `wrap_bio`, which has one. A resumed handshake saves the certificate check, the most
    expensive part of a new connection.
    """

    def __init__(self, _protocol: int) -> None:
        super().__init__()
        self._sessions: dict[str, ssl.SSLSession] = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if session is None and isinstance(server_hostname, str):
            session = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember_session(self, host: str, session: ssl.SSLSession | None) -> None:
        """Keep the newest session of `host` for its next connection.

        Call it after the first response: TLS 1.3 sends its tickets after the handshake.
        """
        if session is None or not session.has_ticket:
            return
        if len(self._sessions) >= _SESSION_LIMIT and host not in self._sessions:
            self._sessions.clear()
        self._sessions[host] = session


def get_tls_context(ca_file: str | None = None, verify: bool = True) -> TlsContext:
    """The shared context for these trust settings.

    Args:
        ca_file: a PEM file that replaces the built-in trust store.
        verify: False accepts any certificate for any name.

    Raises:
        OSError: `ca_file` cannot be read or holds no certificate.
    """
    return _make_context(ca_file, verify)


@lru_cache(maxsize=64)
def _make_context(ca_file: str | None, verify: bool) -> TlsContext:
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if verify:
        context.load_verify_locations(cafile=ca_file or certifi.where())
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

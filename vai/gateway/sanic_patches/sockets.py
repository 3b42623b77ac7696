"""Options of accepted sockets: they send at once, and keep little unsent data in the kernel.

Without the second, Linux buffers about 4 MB of a stream for a client that does not read, and
backpressure reaches the provider that much later (measured: ten times less with it).
"""

from __future__ import annotations

import socket
import struct
from asyncio import BaseTransport
from contextlib import suppress
from typing import Any

__all__ = ["BACKLOG", "UNSENT_LIMIT", "reset_connection", "tune_socket"]

BACKLOG = 1024

UNSENT_LIMIT = 128 * 1024
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def tune_socket(transport: BaseTransport) -> None:
    """Set TCP_NODELAY and TCP_NOTSENT_LOWAT; a Unix socket has neither and stays as it is."""
    sock = _open_socket(transport)
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # The peer may be gone already; then there is nothing to tune.
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _NOTSENT_LOWAT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_LIMIT)


_AT_ONCE = struct.pack("ii", 1, 0)


def reset_connection(transport: Any) -> None:
    """End with RST a connection whose client reads nothing.

    After a close without it the kernel keeps unsent data for a client that may never read, and a
    client that does read takes a cut response for a complete one.
    """
    sock = _open_socket(transport)
    if sock is not None:
        with suppress(OSError):  # the peer may be gone already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def _open_socket(transport: BaseTransport) -> Any:
    """The socket of `transport`, or None once uvloop has closed it and its descriptor is -1."""
    sock = transport.get_extra_info("socket")
    return None if sock is None or sock.fileno() < 0 else sock

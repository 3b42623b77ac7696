"""Why the server of the limits is not used, in words for an operator.

Invariants: the words are chosen here. Nothing of an error's own text is in them, because it may
quote an address, and a URL holds a password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from redis import exceptions

__all__ = ["NO_ANSWER", "reason_of"]

NO_ANSWER: Final = "the Redis server did not answer in time"
_BROKEN: Final = "the connection to the Redis server broke"
_FULL: Final = "the Redis server's memory is full, and it takes no writes"
_REPLICA: Final = "the Redis server is a replica, which takes no writes"
_FORBIDDEN: Final = "the Redis server does not let this user run what limits need"
_CROWDED: Final = "the Redis server has all the clients it may have"
_CODES: Final = {
    "OOM ": _FULL,
    "READONLY ": _REPLICA,
    "NOPERM ": _FORBIDDEN,
    "ACL failure": _FORBIDDEN,
    "max number of clients": _CROWDED,
}
"""What the server's own text holds -> reason: of an error inside the script there is no class."""
_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, NO_ANSWER),
    (exceptions.TimeoutError, NO_ANSWER),
    (exceptions.NoPermissionError, _FORBIDDEN),
    (exceptions.AuthenticationError, "the Redis server refused the user name or the password"),
    (exceptions.BusyLoadingError, "the Redis server is still loading its data"),
    (exceptions.ReadOnlyError, _REPLICA),
    (exceptions.OutOfMemoryError, _FULL),
    (exceptions.MaxConnectionsError, _CROWDED),
    (exceptions.ClusterDownError, "the Redis cluster is down"),
    (exceptions.MovedError, "the Redis server is part of a cluster, which is not supported"),
    (exceptions.InvalidResponse, "what answered is no Redis server"),
    (ssl.SSLCertVerificationError, "the Redis server's certificate is not trusted"),
    (ssl.SSLError, "TLS with the Redis server failed"),
    (socket.gaierror, "the name of the Redis server cannot be resolved"),
    (ConnectionRefusedError, "nothing listens at the address of the Redis server"),
    (FileNotFoundError, "the socket of the Redis server does not exist"),
    (PermissionError, "the socket of the Redis server may not be opened"),
    (exceptions.ResponseError, "the Redis server answered with an error"),
    (exceptions.RedisError, _BROKEN),
    (OSError, _BROKEN),
)
"""Error -> reason; the first match of an error or of what caused it counts."""


def reason_of(error: BaseException) -> str:
    """Return the reason that stands for `error`."""
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, exceptions.RedisError):
            text = str(one)
            if reason := next((_CODES[code] for code in _CODES if code in text), None):
                return reason
    for kind, reason in _REASONS:
        if any(isinstance(one, kind) for one in chain):
            return reason
    return _BROKEN


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised for."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__

"""The Redis client: calls of one worker, over one connection, in the order of their arrival.

Invariants: no call waits for a response longer than its timeout, whatever the server does, and no
text that leaves this module quotes the server's address or an error's own text: a URL carries a
password. The client sends the calls that arrive during another one together, so a busy worker
pays for one round trip; it does not use a broken connection again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any, Final

import msgspec

from vai import install_command

try:
    from redis import exceptions
    from redis.asyncio.connection import AbstractConnection, ConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as missing:
    raise ImportError(
        f'limits.store = "redis" needs an extra: {install_command("redis")}'
    ) from missing

__all__ = ["RedisClient", "RedisUnavailable", "reason_of"]

_MAX_WAITING: Final = 4096
_MAX_BATCH: Final = 64
_encode = msgspec.msgpack.Encoder().encode

_Call = tuple[tuple[bytes | str, ...], "asyncio.Future[bytes]"]

_NO_ANSWER: Final = "the Redis server did not respond in time"
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
"""A part of the server's text -> reason: an error inside the script has no class."""
_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, _NO_ANSWER),
    (exceptions.TimeoutError, _NO_ANSWER),
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
"""Error -> reason; the first match of an error or of its causes counts."""


class RedisUnavailable(Exception):
    """The server gave no usable response.

    Args:
        reason: a phrase that is safe to print.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"no response from the limits' server: {reason}")
        self.reason = reason


class RedisClient:
    """Calls of the script on the server.

    Args:
        url: redis://, rediss:// or unix://. A secret.
        ca_file: certificates to trust with rediss:// instead of the system's.
        prefix: the beginning of all keys, inside braces, so that a cluster keeps them on one node.
        timeout: seconds for one call, connecting included.
        lease: seconds until a lease lapses.

    Raises:
        ValueError: the URL is invalid.
    """

    def __init__(
        self, url: str, *, ca_file: str | None, prefix: str, timeout: float, lease: float
    ) -> None:
        self._make_connection = _connection_factory(url, ca_file)
        self._tag = f"{{{prefix}}}"
        self._timeout = timeout
        self._lease = str(int(lease * 1000))
        self._script = resources.files(__package__).joinpath("limits.lua").read_bytes()
        self._digest = b""
        self._connection: AbstractConnection | None = None
        self._waiting: deque[_Call] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def call_script(
        self, operation: str, *arguments: object, clock: float | None = None
    ) -> bytes:
        """Run one operation of the script; returns its response in MessagePack.

        Args:
            clock: the time for the operation, instead of the server's clock.

        Raises:
            RedisUnavailable: no response, or none in time. The operation may still have run.
        """
        if len(self._waiting) >= _MAX_WAITING:
            raise RedisUnavailable("too many calls are waiting for the Redis server")
        words = (
            operation,
            _encode(arguments),
            b"" if clock is None else _encode(clock),
            self._lease,
        )
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((words, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise RedisUnavailable(_NO_ANSWER) from None

    async def aclose(self) -> None:
        """Disconnect. Waiting calls raise RedisUnavailable."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        await self._disconnect()

    async def _send_waiting(self) -> None:
        """Send the waiting calls until there are none."""
        batch: list[_Call] = []
        reason = "the connection to the Redis server was closed"
        broken = True
        try:
            while self._waiting:
                size = min(len(self._waiting), _MAX_BATCH)
                batch = [self._waiting.popleft() for _ in range(size)]
                # Calls that were cancelled are not sent.
                batch = [one for one in batch if not one[1].done()]
                if batch:
                    async with asyncio.timeout(self._timeout):
                        await self._send_batch(batch)
            broken = False
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            reason = reason_of(error)
        finally:
            # No later call may meet half-sent or half-read bytes, also after a cancellation.
            self._sending = None
            if broken:
                _fail_calls([*batch, *self._waiting], reason)
                self._waiting.clear()
                await self._disconnect()

    async def _send_batch(self, batch: list[_Call]) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._make_connection()
            await connection.connect()  # type: ignore[no-untyped-call]
        if not self._digest:
            await self._load_script(connection)
        missing = await self._send_calls(connection, batch)
        if missing:
            await self._load_script(connection)
            if await self._send_calls(connection, missing):
                raise ConnectionError  # the server dropped the script at once

    async def _load_script(self, connection: AbstractConnection) -> None:
        await connection.send_command("SCRIPT", "LOAD", self._script)
        self._digest = await connection.read_response()

    async def _send_calls(self, connection: AbstractConnection, batch: list[_Call]) -> list[_Call]:
        """Send the calls, set their responses; returns those for which the script was missing."""
        await connection.send_packed_command(
            connection.pack_commands(
                ("EVALSHA", self._digest, "1", self._tag, *words) for words, _ in batch
            )
        )
        missing = []
        for one in batch:
            try:
                reply: Any = await connection.read_response()
            except exceptions.NoScriptError:
                missing.append(one)
            except exceptions.ResponseError as error:
                _fail_calls([one], reason_of(error))
            else:
                if not one[1].done():
                    one[1].set_result(reply)
        return missing

    async def _disconnect(self) -> None:
        connection, self._connection, self._digest = self._connection, None, b""
        if connection is not None:
            await connection.disconnect(nowait=True)


def _connection_factory(url: str, ca_file: str | None) -> Callable[[], AbstractConnection]:
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}
    if ca_file and url.startswith("rediss:"):
        options["ssl_ca_certs"] = ca_file
    try:
        # The pool only parses the URL: waiting for one of its connections would be one more wait.
        pool = ConnectionPool.from_url(url, **options)
    except ValueError:
        raise ValueError("limits.redis.url is no URL of a Redis server") from None

    def make_connection() -> AbstractConnection:
        # Not a bound method: its repr shows the pool, and the pool's the password.
        made: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    return make_connection


def _fail_calls(calls: Iterable[_Call], reason: str) -> None:
    for _, answer in calls:
        if not answer.done():
            answer.set_exception(RedisUnavailable(reason))


def reason_of(error: BaseException) -> str:
    """The reason for `error`."""
    chain = list(_error_chain(error))
    for one in chain:
        if isinstance(one, exceptions.RedisError):
            text = str(one)
            if reason := next((_CODES[code] for code in _CODES if code in text), None):
                return reason
    for kind, reason in _REASONS:
        if any(isinstance(one, kind) for one in chain):
            return reason
    return _BROKEN


def _error_chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__

"""The line to the server: calls of one worker, over one connection, in the order they came.

The law: nobody waits for an answer longer than the time allowed, whatever the server does,
and no text that leaves here quotes the server's address or what it said: a URL carries a
password. Calls that come while one is under way are sent together, so a busy worker pays for
one trip and not for each; a connection that broke is not used again.
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

_MOST_WAITING: Final = 4096
_MOST_AT_ONCE: Final = 64
_encode = msgspec.msgpack.Encoder().encode

_Call = tuple[tuple[bytes | str, ...], "asyncio.Future[bytes]"]

_NO_ANSWER: Final = "the Redis server did not answer in time"
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
"""Error -> reason; the first match of an error or of what caused it counts."""


class RedisUnavailable(Exception):
    """The server gave no answer that can be used.

    Args:
        reason: a sentence's worth of words that is safe to print.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"no answer from the limits' server: {reason}")
        self.reason = reason


class RedisClient:
    """Calls of the script on the server.

    Args:
        url: redis://, rediss:// or unix://. A secret.
        ca_file: certificates to trust with rediss:// in place of the system's.
        prefix: begins all keys, inside braces, so that a cluster keeps them in one place.
        timeout: seconds for one call, connecting included.
        lease: seconds that what is held lasts.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(
        self, url: str, *, ca_file: str | None, prefix: str, timeout: float, lease: float
    ) -> None:
        self._make = _maker(url, ca_file)
        self._tag = f"{{{prefix}}}"
        self._timeout = timeout
        self._lease = str(int(lease * 1000))
        self._script = resources.files(__package__).joinpath("limits.lua").read_bytes()
        self._digest = b""
        self._connection: AbstractConnection | None = None
        self._waiting: deque[_Call] = deque()
        self._talk: asyncio.Task[None] | None = None

    async def call(self, operation: str, *arguments: object, clock: float | None = None) -> bytes:
        """Do one operation of the script; its answer in MessagePack.

        Args:
            clock: what the operation takes for the time, in place of the server's own.

        Raises:
            Away: no answer, or none in time. It may have been done all the same.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise RedisUnavailable("too many calls are waiting for the Redis server")
        words = (
            operation,
            _encode(arguments),
            b"" if clock is None else _encode(clock),
            self._lease,
        )
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((words, answer))
        if self._talk is None:
            self._talk = asyncio.create_task(self._serve())
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise RedisUnavailable(_NO_ANSWER) from None

    async def aclose(self) -> None:
        """Hang up. Calls that wait are answered with Away."""
        if self._talk is not None:
            self._talk.cancel()
            await asyncio.wait([self._talk])
        await self._hang_up()

    async def _serve(self) -> None:
        """Send what waits until nothing does."""
        batch: list[_Call] = []
        reason = "the connection to the Redis server was closed"
        broken = True
        try:
            while self._waiting:
                size = min(len(self._waiting), _MOST_AT_ONCE)
                batch = [self._waiting.popleft() for _ in range(size)]
                # Who has left already is not asked for.
                batch = [one for one in batch if not one[1].done()]
                if batch:
                    async with asyncio.timeout(self._timeout):
                        await self._exchange(batch)
            broken = False
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            reason = reason_of(error)
        finally:
            # What is half sent or half read belongs to no later call; also when cancelled.
            self._talk = None
            if broken:
                _give_up([*batch, *self._waiting], reason)
                self._waiting.clear()
                await self._hang_up()

    async def _exchange(self, batch: list[_Call]) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._make()
            await connection.connect()  # type: ignore[no-untyped-call]
        if not self._digest:
            await self._load(connection)
        missing = await self._send(connection, batch)
        if missing:
            await self._load(connection)
            if await self._send(connection, missing):
                raise ConnectionError  # the server drops the script at once

    async def _load(self, connection: AbstractConnection) -> None:
        await connection.send_command("SCRIPT", "LOAD", self._script)
        self._digest = await connection.read_response()

    async def _send(self, connection: AbstractConnection, batch: list[_Call]) -> list[_Call]:
        """Send the calls and give out the answers; those for which the script was missing."""
        await connection.send_packed_command(
            connection.pack_commands(
                ("EVALSHA", self._digest, "1", self._tag, *words) for words, _ in batch
            )
        )
        missing = []
        for one in batch:
            try:
                told: Any = await connection.read_response()
            except exceptions.NoScriptError:
                missing.append(one)
            except exceptions.ResponseError as error:
                _give_up([one], reason_of(error))
            else:
                if not one[1].done():
                    one[1].set_result(told)
        return missing

    async def _hang_up(self) -> None:
        connection, self._connection, self._digest = self._connection, None, b""
        if connection is not None:
            await connection.disconnect(nowait=True)


def _maker(url: str, ca_file: str | None) -> Callable[[], AbstractConnection]:
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}
    if ca_file and url.startswith("rediss:"):
        options["ssl_ca_certs"] = ca_file
    try:
        # Only reads the URL: to wait for a connection of a pool would be one more wait.
        pool = ConnectionPool.from_url(url, **options)
    except ValueError:
        raise ValueError("limits.redis.url is no URL of a Redis server") from None

    def make() -> AbstractConnection:
        # No bound method: a look at one shows the pool, and the pool its password.
        made: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    return make


def _give_up(calls: Iterable[_Call], reason: str) -> None:
    for _, answer in calls:
        if not answer.done():
            answer.set_exception(RedisUnavailable(reason))


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

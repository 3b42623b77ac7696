"""An answer whose head has arrived: what an exchange holds of a pooled connection.

The law: the connection goes back the moment the last byte is taken, and is dropped the moment
`close` is called before that. After either, the reply has no way to touch it any more, so a
late or second `close` cannot hurt the connection's next exchange.
"""

from __future__ import annotations

from typing import final

from vai.errors import UpstreamFault, UpstreamTimeout
from vai.io.http.connection import UpstreamConnection
from vai.io.http.failures import broken_error, timeout_error
from vai.io.http.keyfilter import KeyFilter
from vai.io.http.pool import Pool

__all__ = ["HttpResponse", "join_headers", "send_request", "wait_for_head"]


def join_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by lower-case name; repeated fields joined with ``, `` (RFC 9110 5.3)."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


@final
class HttpResponse:
    """The answer on one connection; an `exchange.ports.UpstreamResponse`.

    Attributes:
        status: 200 to 599.
        raw_headers: the fields in order, names in lower case.
        ended_by_close: the body had no length and ended with the connection, so whether it
            is whole only its content can tell.
        key_filter: what the answer passes through, if anything.
    """

    def __init__(self, pool: Pool, connection: UpstreamConnection) -> None:
        self.status = connection.status
        self.raw_headers = connection.headers
        self.ended_by_close = False
        self.key_filter: KeyFilter | None = None
        self._headers: dict[str, str] | None = None
        self._pool = pool
        self._connection: UpstreamConnection | None = connection
        self._ended = False

    @property
    def headers(self) -> dict[str, str]:
        """Fields by lower-case name, repeated ones joined."""
        # Not a cached_property: that of Python 3.11 takes a lock.
        if self._headers is None:
            self._headers = join_headers(self.raw_headers)
            if self.key_filter is not None:
                self.key_filter.redact_headers(self._headers)
        return self._headers

    async def read(self, until: float, /) -> bytes:
        """All of the body that has come since the last read; waits only when there is nothing.

        After a timeout the answer is as it was and may be read again.

        Raises:
            UpstreamTimeout: nothing came until `until` (code ``read_timeout``).
            UpstreamBroken: the connection broke before the end of the body, or the reply
                was closed before it.
        """
        connection = self._connection
        if connection is None:
            if self._ended:
                return b""
            raise broken_error("upstream_truncated")
        while True:
            while (data := connection.take_body()) is None:
                await connection.wait_for_change(until)
            if self.key_filter is not None:
                data = self.key_filter.feed(data)
            if connection.complete:
                break
            if data:
                return data
        self._ended = True
        self.ended_by_close = connection.ended_by_close
        self.close()
        return data if self.key_filter is None else data + self.key_filter.flush()

    def release_connection(self) -> None:
        """Done with it, and the answer says that it is complete: keep the connection if so."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release_when_complete(connection)

    def close(self) -> None:
        """Give the connection back if the answer is complete, else drop it now."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)


async def send_request(
    pool: Pool,
    head: bytes,
    body: bytes,
    *,
    bodiless: bool = False,
    idempotent: bool = False,
    wait_until: float,
    connect_deadline: float,
    headers_deadline: float,
) -> HttpResponse:
    """Send a request over a connection of `pool` and wait for the answer's head.

    An idempotent request that met a dead kept-alive connection is sent again; each round uses
    up one such connection, so it ends. A POST is never repeated here: whether the upstream had
    begun to work on it cannot be known.

    Raises:
        UpstreamUnreachable: no connection, or it broke before an answer.
        UpstreamTimeout: ``pool_timeout``, ``connect_timeout`` or ``headers_timeout``.
        UpstreamBroken: the answer's head is malformed or announces an unusable body.
    """
    while True:
        connection = await pool.acquire(wait_until, connect_deadline)
        connection.start_exchange(head, body, bodiless=bodiless)
        try:
            await wait_for_head(connection, headers_deadline)
        except UpstreamFault as fault:
            pool.release(connection)
            if not (idempotent and fault.code == "upstream_stale"):
                raise
        except BaseException:
            pool.release(connection)
            raise
        else:
            return HttpResponse(pool, connection)


async def wait_for_head(connection: UpstreamConnection, until: float) -> None:
    """Wait until the answer's head is there.

    Raises:
        UpstreamTimeout: ``headers_timeout``.
        UpstreamUnreachable, UpstreamBroken: there will be none.
    """
    late = False
    while not connection.head_received:
        if connection.fault is not None:
            raise connection.fault
        try:
            await connection.wait_for_change(until)
        except UpstreamTimeout:
            late = not connection.head_received
        if late:
            raise timeout_error("headers_timeout")

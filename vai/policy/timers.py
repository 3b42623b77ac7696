"""The waits of one exchange."""

from __future__ import annotations

from vai.types.settings import Duration, SettingsSection

__all__ = ["Timers"]


class Timers(SettingsSection, frozen=True, kw_only=True):
    """The waits of one exchange, in seconds. Each has its own error code.

    A provider's silence means different things in different phases, so no timer replaces another
    (one idle timer for all of them would cut slow thinkers and spare dead connections).
    """

    connect: Duration = 5.0
    """Until a connection is free: the wait for one, TCP and TLS."""
    headers: Duration = 60.0
    """From the beginning of the exchange to the response's status line, streamed requests.
    A JSON response starts when it is complete, so there `total` alone bounds it."""
    first_token: Duration = 120.0
    """From the response's status line to the first content."""
    inter_chunk: Duration = 60.0
    """Between two reads of a streamed body."""
    total: Duration = 600.0
    """The whole exchange."""
    write_stall: Duration = 30.0
    """How long a client may read nothing of a response."""
    ping: Duration = 15.0
    """Between two events of a stream, before the gateway sends a ping. For as long from the
    beginning of the exchange VAI holds the beginning of a stream back while it has no content: it
    answers an error in that time as if the upstream had sent nothing."""

"""Reports the state of this process to the service manager (systemd's `Type=notify`).

The protocol is one datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html (2026-11-28).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final, Literal

__all__ = ["notify_service_manager"]

_VARIABLE: Final = "NOTIFY_SOCKET"


def notify_service_manager(
    state: Literal["READY", "RELOADING", "STOPPING"], status: str = ""
) -> None:
    """Send the state; do nothing without a service manager, or where it does not listen.

    Args:
        status: a line that `systemctl status` shows.
    """
    address = os.environ.get(_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    lines = [f"{state}=1"]
    if state == "RELOADING":  # `Type=notify-reload` requires the time
        lines.append(f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    if status:
        lines.append(f"STATUS={status}")
    with (
        suppress(OSError),  # the gateway also serves when its service manager does not listen
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.settimeout(1)  # a full queue must not hold up main
        sender.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1))

"""What VAI changes in Sanic: see README.md next to this file.

Every repair is made for the versions in `MADE_FOR` and uses private parts of Sanic; on another
version the gateway refuses to start rather than run half repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sanic

from vai.gateway.sanic_patches import opening, stages, startup, takeover, websocket
from vai.gateway.sanic_patches.deadlines import Deadlines, ReceiveLimits
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.sanic_patches.serving import ServerEnds

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["MADE_FOR", "ReceiveLimits", "UnknownSanic", "install_patches"]

MADE_FOR = ("25.12.1",)
"""Sanic versions on which every repair is tested. 25.12.0 is vulnerable (header injection)."""


class UnknownSanic(RuntimeError):
    """The installed Sanic is not one the repairs were made for."""


def install_patches(
    app: Sanic[Any, Any], *, limits: ReceiveLimits | None = None, drain_grace: float = 30.0
) -> None:
    """Apply every repair. Call it in every process, right after the app is made.

    Args:
        limits: how slow a client may be.
        drain_grace: seconds, as for `attach_drain`; main waits so long and 2 s more.
    """
    if sanic.__version__ not in MADE_FOR:
        raise UnknownSanic(
            f"VAI's repairs are made for Sanic {' or '.join(MADE_FOR)}, "
            f"not for {sanic.__version__}; install the pinned version"
        )
    app.request_class = PatchedRequest
    app.ctx.serving = ServerEnds()
    app.ctx.deadlines = Deadlines(limits or ReceiveLimits())
    opening.patch_opening(app)
    stages.patch_stages()
    takeover.patch_server()
    websocket.patch_websockets()
    startup.patch_startup(drain_grace)

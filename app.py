"""The Sanic application of this source tree: `sanic app` serves it."""

from __future__ import annotations

from vai.gateway.app import served_app

app = served_app()

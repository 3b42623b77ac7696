"""The application that `vai serve` has Sanic run; an installed VAI has no `app.py`.

An object and not a factory: Sanic hands its command line to a factory as an argument, and
takes a TypeError from within for a refusal of it.
"""

from __future__ import annotations

from vai.gateway.app import served_app

__all__ = ["app"]

app = served_app()

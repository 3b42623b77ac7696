"""The application that Sanic runs for `vai serve`; an installed VAI has no `app.py`.

An object and not a factory: Sanic passes its command line to a factory as an argument, and
treats a TypeError inside the factory as a refusal of that argument.
"""

from __future__ import annotations

from vai.gateway.app import served_app

__all__ = ["app"]

app = served_app()

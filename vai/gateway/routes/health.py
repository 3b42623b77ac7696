"""Is it alive, is it ready, and what is it."""

from __future__ import annotations

from sanic import Request
from sanic.response import HTTPResponse, json, text

from vai import __version__
from vai.gateway.service import Service

__all__ = ["health", "ready", "root"]


async def root(request: Request) -> HTTPResponse:
    """``HEAD /``: clients probe it before they send anything."""
    return text("")  # Sanic's `empty` writes "content-type: None" with a 200


async def health(request: Request) -> HTTPResponse:
    """``GET /health``: this worker is alive; 200 as long as it can answer at all."""
    service: Service = request.app.ctx.service
    breakers = service.health.breakers
    left_alone = {} if breakers is None else breakers.open()
    providers = {
        name: {"status": state}
        | ({"models_left_alone": left_alone[name]} if name in left_alone else {})
        for name, state in service.providers.states().items()
    }
    return json({"status": "healthy", "version": __version__, "providers": providers})


async def ready(request: Request) -> HTTPResponse:
    """``GET /readyz``: whether new work should be sent here; 503 while draining."""
    service: Service = request.app.ctx.service
    draining = service.inflight.refusing
    body = {"ok": not draining, "auth_mode": service.keyring.mode}
    return json(body | ({"issues": ["draining"]} if draining else {}), 503 if draining else 200)

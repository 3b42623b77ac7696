"""The endpoints ``HEAD /``, ``GET /health`` and ``GET /readyz``."""

from __future__ import annotations

from typing import Any

from sanic.response import HTTPResponse, json, text

from vai import __version__
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.service import GatewayService
from vai.io.clock import monotonic
from vai.io.control_block import ControlBlock
from vai.io.groups import has_manager
from vai.io.limits import maintenance
from vai.policy.provider_errors import LastError

__all__ = ["health", "ready", "root"]


async def root(request: PatchedRequest) -> HTTPResponse:
    """``HEAD /``: clients request it before they send anything else."""
    return text("")  # Sanic's `empty` writes "content-type: None" with a 200


async def health(request: PatchedRequest) -> HTTPResponse:
    """``GET /health``: this worker is alive; 200 as long as it can respond at all."""
    service: GatewayService = request.app.ctx.service
    service.keyring.check_host(request.header_fields)
    providers = _describe_providers(service)
    limits = _describe_limits(service, request.app.ctx.membership.control_block)
    return json(
        {"status": "healthy", "version": __version__, "providers": providers, "limits": limits}
    )


async def ready(request: PatchedRequest) -> HTTPResponse:
    """``GET /readyz``: whether new work should be sent here; 503 while draining."""
    service: GatewayService = request.app.ctx.service
    service.keyring.check_host(request.header_fields)
    draining = service.inflight.refusing
    body = {"ok": not draining, "auth_mode": service.keyring.mode}
    return json(body | ({"issues": ["draining"]} if draining else {}), 503 if draining else 200)


def _describe_providers(service: GatewayService) -> dict[str, dict[str, Any]]:
    """The state of each provider: the last error in any worker, and the breakers of this one. Any
    client may call this, so it has VAI's own words and figures: no address, no key, no model that
    a client chose, and nothing that a provider sent."""
    breakers = service.health.breakers
    open_breakers = {} if breakers is None else breakers.count_open()
    failing = service.health.provider_errors.last_errors
    described: dict[str, dict[str, Any]] = {}
    for name, state in service.providers.list_states().items():
        shown = described[name] = {"status": state}
        if (error := failing.get(name)) is not None:
            if state == "configured":
                shown["status"] = "failing"
            shown["last_error"] = _describe_last_error(error, service.health.clock())
        if name in open_breakers:
            shown["open_breakers"] = open_breakers[name]
    return described


def _describe_last_error(error: LastError, now: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": error.type,
        "code": error.code,
        "status": error.status,
        "upstream_status": error.upstream_status,
        "seconds_ago": round(now - error.at, 1),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _describe_limits(service: GatewayService, control_block: ControlBlock) -> dict[str, Any]:
    """The state of the limits. Any client may call this, so it has totals that are published
    already, without a search for holders of leases, and it names no principal."""
    if service.store is None:
        return {"enabled": False}
    # Only a store that uses a server has a `state`: where it counts now.
    store_state = getattr(service.store, "state", None)
    running, sessions = control_block.totals
    room = maintenance.read_capacity(control_block, monotonic())
    state = "local" if store_state == "local" else "ok"
    if store_state is None and room.is_full:
        state = "full"
    return {
        "enabled": True,
        "store": "shared_memory" if store_state is None else "redis",
        "state": state,
        "callers": room.callers,
        "max_callers": room.most,
        "running": running,
        "sessions": sessions,
        "waiting": service.admission.waiting_count,
        "manager": "alive" if has_manager(control_block) else "away",
    }

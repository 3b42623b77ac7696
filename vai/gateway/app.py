"""The Sanic application, put together.

This code runs in every process that Sanic starts: main calls it to get the app, and each worker
calls it again. So only the listeners open files and sockets, in the process that needs them.
"""

from __future__ import annotations

import ssl
import sys
from functools import partial
from typing import Any, Final

import ujson
from sanic import Sanic
from sanic.worker.loader import CertLoader

from vai.config import ConfigError, Settings
from vai.config.schema import Tls
from vai.config.snapshot import SettingsSnapshot
from vai.gateway import sanic_patches
from vai.gateway.admission.inflight import InFlightExchanges
from vai.gateway.process import (
    drain,
    handover,
    limits,
    main_process,
    simulation,
    single_process,
    workers,
)
from vai.gateway.process.reload import SettingsOrigin
from vai.gateway.request import cors
from vai.gateway.request.errors import install_error_handler
from vai.gateway.routes.count_tokens import count_tokens
from vai.gateway.routes.health import health, ready, root
from vai.gateway.routes.messages import create_message
from vai.gateway.routes.models import list_models, show_model
from vai.gateway.service import GatewayService
from vai.io import log
from vai.io.limits import maintenance
from vai.io.providers import Providers
from vai.io.shared_failures import SharedFailures
from vai.policy.provider_errors import ProviderErrors

__all__ = ["cert_loader", "create_app", "served_app"]


_REQUEST_TIMERS_ARE_OURS = 24 * 3600
"""RESPONSE_TIMEOUT is one timer for the first byte, for gaps and for slow clients. VAI has a timer
for each, so Sanic's is longer than all of them."""


def create_app(settings: Settings | None = None) -> Sanic[Any, Any]:
    """The application for `settings`; by default for those that main handed to this process, or
    those of the files and the environment.

    Raises:
        ConfigError: the settings are invalid.
    """
    snapshot = None
    if settings is None:
        snapshot = handover.received_snapshot() or SettingsSnapshot()
        settings = snapshot.build_settings()
    log.configure_logging(
        settings.observability.logging.level, settings.observability.logging.format
    )
    app: Sanic[Any, Any] = Sanic(
        "vai",
        configure_logging=False,
        certloader_class=cert_loader(settings.tls),
        dumps=partial(ujson.dumps, ensure_ascii=False, escape_forward_slashes=False),
    )
    app.config.update(_sanic_settings(settings))
    app.ctx.settings = settings
    inflight = InFlightExchanges()
    sanic_patches.install_patches(
        app,
        limits=sanic_patches.ReceiveLimits(
            head=settings.head_timeout,
            body=settings.body_timeout,
            stall=settings.timers.write_stall,
        ),
        drain_grace=settings.drain_grace,
    )
    make_control_block = partial(limits.make_control_block, settings.limits.max_callers)
    main_process.attach_main(
        app,
        hung_after=settings.manager.hung_after,
        make_control_block=make_control_block,
        duties=_manager_duties,
        origin=SettingsOrigin(settings, snapshot),
    )
    workers.attach_worker(
        app,
        inflight,
        beat=settings.manager.heartbeat,
        hung_after=settings.manager.hung_after,
        make_control_block=make_control_block,
    )
    single_process.attach_single_process(app, settings)
    limits.maintain_alone(app, settings)
    simulation.attach_simulator(app, settings)
    _add_service(app, settings, inflight)
    _add_routes(app)
    _add_model_routes(app)
    cors.attach_cors(app, settings.cors.allowed_origins)
    install_error_handler(app)
    drain.attach_drain(app, inflight, grace=settings.drain_grace)
    return app


def _manager_duties(settings: Settings) -> dict[str, Any]:
    """The arguments of `manager.run_manager` for these settings."""
    is_shared = settings.limits.enabled and settings.limits.store == "redis"
    return {
        "hung_after": settings.manager.hung_after,
        "reclaim": limits.reclaim_leases if is_shared else maintenance.reclaim_worker,
        "tend": limits.LimitsMaintenance(settings.limits.session_idle_timeout),
    }


def served_app() -> Sanic[Any, Any]:
    """The application for Sanic's command line, which does not catch a ConfigError.

    The process writes the list of problems and ends with exit code 2, as `vai serve` does;
    Sanic would write a traceback.
    """
    try:
        return create_app()
    except ConfigError as error:
        sys.stderr.write(f"vai: {error}\n")
        raise SystemExit(2) from None


def _sanic_settings(settings: Settings) -> dict[str, Any]:
    return {
        "ACCESS_LOG": False,
        # Sanic loads an installed sanic-ext, which takes a tenth of each request's time.
        "AUTO_EXTEND": False,
        "MOTD": False,
        "FALLBACK_ERROR_FORMAT": "json",
        "RESPONSE_TIMEOUT": _REQUEST_TIMERS_ARE_OURS,
        "REQUEST_TIMEOUT": settings.head_timeout,
        "KEEP_ALIVE_TIMEOUT": settings.keep_alive,
        "GRACEFUL_SHUTDOWN_TIMEOUT": 2,
        "REQUEST_MAX_SIZE": settings.max_request_body_bytes,
        "REAL_IP_HEADER": None,
        "PROXIES_COUNT": None,
    }


# Otherwise Sanic reads the body of a GET, also without a key, before it calls the handler.
_READING: Final[dict[str, Any]] = {"methods": ["GET", "HEAD"], "ignore_body": True}


def _add_routes(app: Sanic[Any, Any]) -> None:
    app.add_route(root, "/", **_READING)
    app.add_route(health, "/health", **_READING)
    app.add_route(ready, "/readyz", **_READING)
    for path in ("/v1/messages", "/messages"):
        name = "messages" + path.replace("/", "_")
        counter = f"{path}/count_tokens"
        # `stream`: the handler identifies the client before it receives the body.
        app.add_route(create_message, path, methods=["POST"], name=name, stream=True)
        app.add_route(
            count_tokens, counter, methods=["POST"], name=f"{name}_count_tokens", stream=True
        )


def _add_model_routes(app: Sanic[Any, Any]) -> None:
    for path in ("/v1/models", "/models"):
        name = "models" + path.replace("/", "_")
        app.add_route(list_models, path, name=name, **_READING)
        app.add_route(show_model, f"{path}/<name:path>", name=f"{name}_one", **_READING)


def _add_service(app: Sanic[Any, Any], settings: Settings, inflight: InFlightExchanges) -> None:
    async def open_service(app: Sanic[Any, Any]) -> None:
        providers = Providers(settings, simulator=simulation.simulator_url(settings))
        member = app.ctx.membership
        counting = None
        if settings.limits.enabled:
            counting = app.ctx.counting = limits.WorkerLimits(
                settings.limits, member.control_block, member.row
            )
            await counting.open_store()
        store = None if counting is None else counting.store
        urls = {spec.id: spec.base_url for spec in providers.specs.values()}
        troubles = ProviderErrors(SharedFailures(member.control_block, urls))
        app.ctx.service = GatewayService(settings, providers, inflight, store, troubles)

    async def close_service(app: Sanic[Any, Any]) -> None:
        await app.ctx.service.aclose()
        if settings.limits.enabled:
            await app.ctx.counting.aclose()

    app.before_server_start(open_service)
    app.after_server_stop(close_service)


def cert_loader(tls: Tls) -> type[CertLoader]:
    """Makes a worker's TLS context for Sanic; Sanic's own class where the settings want none.

    Sanic accepts certificates on its command line and parses them itself: it requires a
    subjectAltName in every one, and fails with a KeyError where there is none. VAI checked the
    settings when it read them, so it only loads the chain.
    """
    if not tls.enabled or tls.cert_file is None:
        return CertLoader
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(tls.cert_file, tls.key_file)

    class FromSettings(CertLoader):
        """Returns the context of the settings."""

        def load(self, app: Sanic[Any, Any]) -> ssl.SSLContext:
            return context

    return FromSettings

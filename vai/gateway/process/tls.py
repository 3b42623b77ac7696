"""HTTPS from the settings, however the server was started.

Sanic takes certificates from its command line and looks into them itself: it wants a
subjectAltName in every one, and fails with a KeyError where there is none. The settings
were checked when they were read, so here the chain is loaded and nothing more.
"""

from __future__ import annotations

import ssl
from typing import Any

from sanic import Sanic
from sanic.worker.loader import CertLoader

from vai.config.schema import Tls

__all__ = ["cert_loader"]


def cert_loader(tls: Tls) -> type[CertLoader]:
    """Makes a worker's TLS context for Sanic; Sanic's own function where the settings want none."""
    if not tls.enabled or tls.cert_file is None:
        return CertLoader
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(tls.cert_file, tls.key_file)

    class FromSettings(CertLoader):
        """Hands over the context of the settings."""

        def load(self, app: Sanic[Any, Any]) -> ssl.SSLContext:
            return context

    return FromSettings

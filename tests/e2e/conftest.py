"""One simulator and a few gateways, shared by all end-to-end tests of a session."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.canary import KEY, PROVIDER_KEY
from tests.e2e.rig import FACES, Gateway, Simulated, free_port, running
from vai.config.login import GoogleLogin
from vai.io.google.login import write_login
from vai.secret import Secret
from vai.simulator.process import start_simulator

PATIENT = {"breaker": {"enabled": False}}
"""For gateways that many tests share: what one test has fail is asked for by the next."""
BEYOND_KEY = KEY + "-of-bob"
LISTED = "https://a.example"


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulated]:
    with start_simulator() as process:
        simulated = Simulated(process.url)
        yield simulated
        simulated.close()


def lent_key(provider: str) -> str:
    """The key that the settings hold for a provider."""
    return f"{PROVIDER_KEY}-lent-{provider}"


def _providers(simulator: Simulated) -> dict[str, Any]:
    return {
        name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)} for name in FACES
    }


def _logged_in(simulator: Simulated, folder: Path) -> dict[str, Any]:
    """Code Assist with a login that lasts."""
    login = folder / "gemini-oauth.json"
    write_login(
        login,
        GoogleLogin(
            refresh_token=Secret(f"{PROVIDER_KEY}-refresh"),
            access_token=Secret(lent_key("gemini-oauth")),
            expiry=time.time() + 36_000,
            project="simulated-project",
            client_id="own-client",
            client_secret=Secret(f"{PROVIDER_KEY}-client"),
        ),
    )
    return {
        "enabled": True,
        "base_url": simulator.url + "/gemini-oauth",
        "credentials_file": str(login),
    }


@pytest.fixture(scope="session")
def gateway(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Keys wanted, provider keys lent, two workers."""
    login = _logged_in(simulator, tmp_path_factory.mktemp("login"))
    settings = PATIENT | {
        "max_request_body_bytes": 1_000_000,
        "auth": {
            "mode": "api_key",
            "api_keys": {
                "alice": {"key": KEY, "name": "alice"},
                "bob": {"key": BEYOND_KEY, "name": "bob"},
            },
        },
        "providers": _providers(simulator) | {"gemini-oauth": login},
        "aliases": {"fast": "groq/openai/gpt-oss-20b", "smart": "anthropic/claude-alias-1"},
        "defaults": {"max_tokens": 321},
        "cors": {"allowed_origins": [LISTED]},
    }
    with running(settings, tmp_path_factory.mktemp("api_key")) as running_gateway:
        yield running_gateway


@pytest.fixture(scope="session")
def passthrough(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Callers pay: there are keys in the settings and in the environment all the same."""
    providers = _providers(simulator)
    del providers["groq"]["api_key"]
    settings = PATIENT | {
        "auth": {"mode": "passthrough", "api_keys": {"alice": {"key": KEY}}},
        "providers": providers,
    }
    environ = {"GROQ_API_KEY": lent_key("groq"), "ANTHROPIC_API_KEY": lent_key("anthropic")}
    folder = tmp_path_factory.mktemp("passthrough")
    with running(settings, folder, environ=environ) as running_gateway:
        yield running_gateway


@pytest.fixture(scope="session")
def open_gateway(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Everybody may call; OpenAI has a key and an address, the others are simulated."""
    settings = PATIENT | {
        "auth": {"mode": "none"},
        "simulate": True,
        "head_timeout": 1.5,
        "body_timeout": 1.5,
        "providers": {"openai": _providers(simulator)["openai"]},
        "cors": {"allowed_origins": ["*"]},
    }
    folder = tmp_path_factory.mktemp("none")
    environ = {"VAI_SIMULATOR_URL": simulator.url}
    with running(settings, folder, environ=environ) as running_gateway:
        yield running_gateway


@pytest.fixture(scope="session")
def single(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One process alone; no key for groq and nothing simulated."""
    providers = _providers(simulator)
    del providers["groq"]
    settings = PATIENT | {"auth": {"mode": "none"}, "providers": providers}
    folder = tmp_path_factory.mktemp("single")
    with running(settings, folder, "--single-process") as running_gateway:
        yield running_gateway


class Nobody:
    """Two addresses of no use: one that accepts nothing, one where nobody listens."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.hole: int = self._listener.getsockname()[1]
        self.nowhere = free_port()
        # A backlog that is full has the kernel ignore further connections.
        self._waiting = [self._knock() for _ in range(4)]

    def _knock(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", self.hole))
        return sock

    def close(self) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()


TIMERS = {
    "connect": 0.4,
    "headers": 0.6,
    "first_token": 0.9,
    "inter_chunk": 0.5,
    "total": 1.6,
    "write_stall": 1.0,
    "ping": 60,
}


@pytest.fixture(scope="session")
def timed(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Short timers, each of another length, and no pings."""
    nobody = Nobody()
    own = {"kind": "openai", "api_key": lent_key("own")}
    providers = _providers(simulator)
    providers["narrow"] = own | {"base_url": simulator.base_url("openai"), "max_connections": 1}
    providers["hole"] = own | {"base_url": f"http://127.0.0.1:{nobody.hole}"}
    providers["nowhere"] = own | {"base_url": f"http://127.0.0.1:{nobody.nowhere}"}
    settings = PATIENT | {
        "auth": {"mode": "none"},
        "providers": providers,
        "timers": TIMERS,
        "retries": {"enabled": False},
        "head_timeout": 0.7,
        "body_timeout": 0.7,
    }
    folder = tmp_path_factory.mktemp("timed")
    with running(settings, folder, "--single-process") as running_gateway:
        yield running_gateway
    nobody.close()


@pytest.fixture(scope="session")
def pinging(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A ping after 0.3 s of silence."""
    settings = PATIENT | {
        "auth": {"mode": "none"},
        "providers": _providers(simulator),
        "timers": {"ping": 0.3, "write_stall": 1.0, "headers": 1.2},
    }
    folder = tmp_path_factory.mktemp("pinging")
    with running(settings, folder, "--single-process") as running_gateway:
        yield running_gateway

"""One simulator, one gateway of two workers and one desk for all clients."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.canary import KEY
from tests.clients.rig import Desk, Outside, missing
from tests.e2e.conftest import PATIENT, _logged_in, _providers
from tests.e2e.rig import Gateway, Simulated, running
from tests.e2e.test_sdk import picture as drawn
from vai.simulator.process import start_simulator

if missing():
    # One line of the summary says why, that of the page's own test.
    collect_ignore_glob = [
        f"test_{client}.py" for client in ("claude_code", "opencode", "typescript_sdk", "vercel")
    ]


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulated]:
    with start_simulator() as process:
        simulated = Simulated(process.url)
        yield simulated
        simulated.close()


@pytest.fixture(autouse=True)
def _no_scripts(simulator: Simulated) -> None:
    """What an earlier test dictated, and no client asked for, is forgotten."""
    simulator.forget()


@pytest.fixture(scope="session")
def gateway(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Seven providers, a key wanted, two workers."""
    login = _logged_in(simulator, tmp_path_factory.mktemp("login"))
    settings = PATIENT | {
        "retries": {"enabled": False},
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY, "name": "alice"}}},
        "providers": _providers(simulator) | {"gemini-oauth": login},
    }
    with running(settings, tmp_path_factory.mktemp("clients")) as running_gateway:
        yield running_gateway


@pytest.fixture(scope="session")
def picture() -> bytes:
    return base64.b64decode(drawn(40, 30))


@pytest.fixture(scope="session")
def npm() -> None:
    """For tests of npm's clients."""
    if why := missing():
        pytest.skip(f"npm's clients: {why}")


@pytest.fixture(scope="module")
def desk(npm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The machine of one client, which must not have tried to reach others than the gateway."""
    outside = Outside()
    yield Desk(tmp_path_factory.mktemp("desk"), outside)
    outside.close()
    assert not outside.asked

"""The upstream that all tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.rig import Simulated
from vai.simulator.process import start_simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulated]:
    with start_simulator(journal=8192) as process:
        yield Simulated(process.url)

"""Every exchange runs twice: its batches are read one by one, or relayed as they come.

The exhaustive tests run once: their streams come in one piece, so nothing is left to relay.
"""

from __future__ import annotations

import pytest

from tests.exchange.rig import Rig


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ways = {"read": False, "relayed": True}
    if any(mark.name == "exhaustive" for mark in metafunc.definition.iter_markers()):
        del ways["relayed"]
    metafunc.parametrize("is_relayed", ways.values(), indirect=True, ids=list(ways))


@pytest.fixture(autouse=True)
def is_relayed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rig, "relays", request.param)

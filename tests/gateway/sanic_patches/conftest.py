"""The server that most of these tests ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.group import Group, group


@pytest.fixture(scope="module")
def running() -> Iterator[Group]:
    """One process with the usual settings."""
    with group("--single-process") as started:
        started.ready(workers=1)
        yield started

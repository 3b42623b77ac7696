"""How many request bytes a worker may hold, and how they are counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vai.errors import InvalidRequest, Overloaded
from vai.gateway.request.bodies import Bounds, RequestBodies, _count_braces, body_bounds
from vai.io import memory

_MIB = 1 << 20
_LARGEST = 32 * _MIB


@pytest.mark.parametrize(
    ("mebibytes", "workers"), [(256, 1), (256, 2), (512, 2), (512, 4), (1024, 4), (65536, 8)]
)
def test_derived_bounds_fit_into_the_memory(mebibytes: int, workers: int) -> None:
    largest, most = body_bounds(_LARGEST, 0, memory=mebibytes * _MIB, workers=workers)
    assert _MIB <= most <= 256 * _MIB
    assert _MIB <= largest <= _LARGEST
    idle = (96 + 74 * workers) * _MIB
    assert idle + 4 * most * workers <= mebibytes * _MIB
    assert idle + 4 * largest <= mebibytes * _MIB


def test_what_is_set_holds_on_any_machine() -> None:
    assert body_bounds(10, 30, memory=_MIB, workers=2) == (10, 30)
    assert body_bounds(50, 30, memory=_MIB, workers=2) == (30, 30)


@pytest.mark.parametrize("piece", [b"{", b" {", b"{" + b" " * 255, b"{" + b" " * 300])
def test_near_and_far_objects_are_counted(piece: bytes) -> None:
    for times in (0, 1, 2, 500):
        for body in (piece * times, b" " * 3000 + piece * times, piece * times + b" " * 3000):
            assert _count_braces(body) == body.count(b"{")


class _Connection:
    """The other side of a request whose body comes at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.request_bytes = len(body)

    async def receive_body(self) -> bytes:
        return self._body


def _asked(size: int, piece: bytes = b" ") -> tuple[Any, Any]:
    body = piece * (size // len(piece))
    request = SimpleNamespace(header_fields={}, stream=_Connection(body), body=b"")
    return SimpleNamespace(held_bytes=0), request


async def test_bytes_are_counted_until_the_request_is_over() -> None:
    freed: list[int] = []
    bodies = RequestBodies(Bounds(600_000, 1_000_000), freed.append)
    first, second, third = _asked(600_000), _asked(600_000), _asked(300_000)
    assert len(await bodies.receive_body(*first)) == 600_000
    with pytest.raises(Overloaded) as refusal:
        await bodies.receive_body(*second)
    assert (refusal.value.code, refusal.value.status) == ("worker_full", 503)
    bodies.release_body(*second)
    await bodies.receive_body(*third)
    assert bodies.held == 900_000
    for _ in range(2):  # a second time changes nothing
        bodies.release_body(*first)
    assert bodies.held == 300_000
    assert freed == [600_000]
    assert first[1].body == b""
    await bodies.receive_body(*second)


async def test_a_large_body_is_let_in_alone_and_small_ones_beside_it() -> None:
    bodies = RequestBodies(Bounds(2_000_000, 1_000_000), lambda _: None)
    large = _asked(2_000_000)
    await bodies.receive_body(*large)
    small = [_asked(50_000) for _ in range(5)]
    for asked in small:
        await bodies.receive_body(*asked)
    with pytest.raises(Overloaded):
        await bodies.receive_body(*_asked(50_000))
    with pytest.raises(Overloaded):
        await bodies.receive_body(*_asked(100_000))
    for asked in (large, *small):
        bodies.release_body(*asked)
    assert bodies.held == bodies.held_small == 0


async def test_small_objects_count_for_what_they_take() -> None:
    freed: list[int] = []
    bodies = RequestBodies(Bounds(4_000_000, 4_000_000), freed.append)
    dense, other = _asked(80_000, b'{"a":1},'), _asked(80_000, b'{"a":1},')
    plain = _asked(3_000_000)
    await bodies.receive_body(*dense)
    assert bodies.held == 80_000 + 10_000 * 300
    bodies.release_body(*dense)
    await bodies.receive_body(*plain)
    with pytest.raises(Overloaded):
        await bodies.receive_body(*other)
    bodies.release_body(*other)
    assert bodies.held == 3_000_000
    bodies.release_body(*plain)
    assert bodies.held == 0
    assert sum(freed) == 80_000 + 10_000 * 300 + 80_000 + 3_000_000


async def test_objects_that_fit_into_no_worker_are_not_parsed() -> None:
    bodies = RequestBodies(Bounds(4_000_000, 2_000_000), lambda _: None)
    asked = _asked(800_000, b'{"a":1},')
    with pytest.raises(InvalidRequest) as refusal:
        await bodies.receive_body(*asked)
    assert (refusal.value.status, refusal.value.type) == (413, "request_too_large")
    bodies.release_body(*asked)
    assert bodies.held == 0


async def test_a_body_above_the_largest_is_never_read() -> None:
    bodies = RequestBodies(Bounds(1000, 1_000_000), lambda _: None)
    with pytest.raises(InvalidRequest) as refusal:
        await bodies.receive_body(*_asked(1001))
    assert (refusal.value.status, refusal.value.type) == (413, "request_too_large")
    assert bodies.held == 0


def test_the_limit_of_the_container_counts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    machine = memory.memory_limit()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.memory_limit() == machine
    (tmp_path / "memory.max").write_text("268435456\n")
    assert memory.memory_limit() == 256 * _MIB
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("134217728\n")
    assert memory.memory_limit() == 128 * _MIB

"""The mutex tells of a death once, and is never waited for without an end."""

from __future__ import annotations

import errno
import itertools
import mmap
from types import SimpleNamespace

import pytest

from vai.io.limits import mutex as module
from vai.io.limits.mutex import SIZE, LockUnavailable, RobustMutex


@pytest.fixture
def place() -> memoryview:
    view = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
    RobustMutex(view[:SIZE]).initialise()
    return view[:SIZE]


def test_two_views_of_one_place_are_one_mutex(place, monkeypatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    first, second = RobustMutex(place), RobustMutex(place)
    assert not first.acquire()
    with pytest.raises(LockUnavailable, match="stopped"):
        second.acquire()
    first.release(first.address)
    assert not second.acquire()
    second.release(second.address)


def test_patience_is_lost_once_and_comes_back(place, monkeypatch) -> None:
    naps: list[float] = []
    ticks = itertools.count(0.0, module.PATIENCE / 8)
    clock = SimpleNamespace(monotonic=lambda: next(ticks), sleep=naps.append)
    monkeypatch.setattr(module, "time", clock)
    first, second = RobustMutex(place), RobustMutex(place)
    first.acquire()
    with pytest.raises(LockUnavailable):
        second.acquire()
    patient, naps[:] = len(naps), []
    with pytest.raises(LockUnavailable):
        second.acquire()
    assert (patient > 0, naps) == (True, []), "a stopped holder costs the wait once"
    first.release(first.address)
    assert not second.acquire()
    second.release(second.address)
    first.acquire()
    with pytest.raises(LockUnavailable):
        second.acquire()
    assert naps
    first.release(first.address)


@pytest.mark.parametrize("after", [0, 3, 40])
def test_the_answer_that_the_holder_died_is_taken_once(place, monkeypatch, after) -> None:
    # Asking again would wait for oneself: the mutex is had with the answer.
    mutex = RobustMutex(place)
    answers = iter([errno.EBUSY] * after + [errno.EOWNERDEAD])
    made_good = []
    mutex._trylock = lambda _: next(answers)
    mutex._consistent = made_good.append
    assert mutex.acquire()
    assert made_good == [mutex.address]


def test_a_mutex_beyond_repair_is_said_to_be(place) -> None:
    mutex = RobustMutex(place)
    mutex._trylock = lambda _: errno.ENOTRECOVERABLE
    with pytest.raises(LockUnavailable, match="beyond repair"):
        mutex.acquire()


def test_systems_without_such_a_mutex_are_told(place, monkeypatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "darwin")
    with pytest.raises(LockUnavailable, match="Linux"):
        RobustMutex(place)

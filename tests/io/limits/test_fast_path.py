"""The fast path in C does what the Python code does: the same words in the same order."""

from __future__ import annotations

import errno
import mmap
import os
import random
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.io.limits.compiled import ROOT, load, open_watched
from tests.io.limits.contract import Contract, Machine
from tests.io.limits.test_shared import FULL, memory
from tools.compile_fast_path import SOURCE, CannotCompileError, compile_fast_path
from vai.io.limits import fast_path, layout, leases, shared
from vai.io.limits.layout import H_DIRTY, H_LATEST, L_TOKENS, MUTEX, SESSION, section_size
from vai.io.limits.mutex import SIZE, LockUnavailable
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits import sets, window
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal
from vai.policy.limits.store import LimitStore

SUBJECTS, PLACES = 40, 20
LATER = [*[0.0] * 20, *[0.2] * 6, 1.0, 4.9, 5.0, 31.0, 64.9, 65.0, 400.0]
NAMES = [GATEWAY, *(f"user:{n}" for n in range(6)), *(f"ip:{n}" for n in range(90))]


@pytest.fixture
def module(built: Path, monkeypatch) -> Any:
    """The module as it is shipped, in use."""
    module = load(built)
    monkeypatch.setattr(fast_path, "module", module)
    return module


def test_the_figures_of_the_layout_are_those_of_python(built: Path) -> None:
    figures = load(built).FIGURES
    named = {
        **vars(leases),
        **vars(shared),
        **vars(layout),
        **vars(window),
        "MAX_PRINCIPALS": sets.MAX_PRINCIPALS,
        "MAX_TOKENS": shared._MAX_TOKENS,
        "INDEX_MASK": leases._INDEX_MASK,
    }
    assert figures == {name: named[name] for name in figures}
    source = (ROOT / SOURCE).read_text()
    used = set(re.findall(r"\b[HRL]_[A-Z_]+\b", source))
    assert used - set(figures) <= {"R_SESSIONS", "R_REQUEST_LEVEL", "R_LEVEL_AT", "L_HEARTBEAT"}


@pytest.mark.usefixtures("module")
class TestContract(Contract):
    """The whole contract of a store, over the fast path."""

    @pytest.fixture
    def section(self) -> LimitsSection:
        return memory()

    @pytest.fixture
    def store(self, section: LimitsSection, module: Any) -> LimitStore:
        return SharedLimits(section, 0, owner=5)

    @pytest.fixture
    def other(self, section: LimitsSection, module: Any) -> LimitStore:
        return SharedLimits(section, 1, owner=6)

    def owner_of(self, store: LimitStore) -> int:
        assert isinstance(store, SharedLimits)
        return store._owner


class CompiledMachine(Machine):
    """Random histories over the fast path."""

    module: Any = None

    def open(self) -> list[tuple[int, LimitStore]]:
        self.section, self.claims = memory(), 0
        return [self.another(), self.another()]

    def another(self) -> tuple[int, LimitStore]:
        self.claims += 1
        fast_path.module = self.module
        return self.claims, SharedLimits(self.section, self.claims % 128, self.claims)


CompiledMachine.TestCase.settings = settings(
    max_examples=1000 if FULL else 60, stateful_step_count=50, deadline=None, derandomize=not FULL
)


class TestMachine(pytest.mark.timeout(600 if FULL else 60)(CompiledMachine.TestCase)):
    @pytest.fixture(autouse=True)
    def compiled(self, module) -> None:
        CompiledMachine.module = module


class Recorded:
    """The words, and each write to them in its order."""

    def __init__(self, words: memoryview) -> None:
        self.words, self.writes = words, []

    def __getitem__(self, at: Any) -> Any:
        return self.words[at]

    def __setitem__(self, at: int, value: int) -> None:
        self.writes.append((at, value))
        self.words[at] = value

    def note(self, at: int, value: int) -> None:
        if at >= 0:  # -1: before it lets go
            self.writes.append((at, value))


class Side:
    """One of two stores that are to stay alike."""

    def __init__(self, image: bytes, module: Any) -> None:
        self.view = memoryview(mmap.mmap(-1, len(image)))
        self.view[:] = image
        self.section = section = LimitsSection(self.view)
        self.other = SharedLimits(section, 1, 8)
        plain = section.words
        self.words = section.words = Recorded(plain)  # type: ignore[assignment]
        self.limits = SharedLimits(section, 0, 7)
        self.taken = self.settled = 0
        if module:
            found = open_watched(module, self.limits, plain, self.words.note)
            self.limits._fast_path = self.counting(found)

    def counting(self, found: Any) -> Any:
        """The fast path, and how often it did the work."""
        side = self

        class Counting:
            def take(self, *arguments: Any) -> Any:
                decision = found.take(*arguments)
                side.taken += decision is not None
                return decision

            def settle(self, *arguments: Any) -> Any:
                settled = found.settle(*arguments)
                side.settled += settled is not None
                return settled

        return Counting()

    def state(self) -> tuple[bytes, bytes]:
        """The whole memory but for the mutex, which holds addresses of its own process."""
        begin = MUTEX * 8
        return bytes(self.view[:begin]), bytes(self.view[begin + SIZE :])


def limit_set(dice: random.Random) -> LimitSet:
    def some(*values: int) -> int:
        return dice.choice(values)

    return LimitSet(
        some(0, 5, 40, 10**9, 10**9, 10**9),
        some(0, 300, 10**6, 10**12, 10**12),
        some(0, 0, 0, 2, 5, 20),
        some(0, 3),
        dice.random() < 0.05,
    )


class History:
    """A random one: what is done next, for both sides."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = self.dice.choice([0.0, 3.2, 1000.0, 86400.5])
        self.limits: dict[str, LimitSet] = {}
        self.held: list[int] = []
        self.gone = [0, -1, 1 << 19, 5 << 20 | 3, 1 << 70]

    def note(self, what: str, arguments: tuple[Any, ...], found: Any) -> None:
        """Learn which leases are held."""
        if what == "take" and found.handle:
            self.held.append(found.handle)
        elif what in {"settle", "release"} and found and arguments[0] in self.held:
            self.held.remove(arguments[0])
            self.gone.append(arguments[0])

    def principals(self) -> tuple[Principal, ...]:
        dice = self.dice
        few = NAMES[1:4] if dice.random() < 0.8 else NAMES[1:]
        names = [GATEWAY, *dice.sample(few, dice.randrange(3))]
        if dice.random() < 0.05:
            self.limits.clear()
        for name in names:
            self.limits.setdefault(name, limit_set(dice))
        listed = dice.random() < 0.9
        return tuple(Principal(name, self.limits[name], listed) for name in names)

    def next(self) -> tuple[str, tuple[Any, ...]]:
        dice = self.dice
        self.now = max(0.0, self.now + dice.choice(LATER) - (dice.random() < 0.02) * 7)
        kind = dice.random()
        tokens = dice.choice([0, 1, 30, 200, 10**6, 1 << 40, (1 << 40) + 1, 1 << 80, -3])
        tokens = dice.randrange(60) if dice.random() < 0.8 else tokens
        if kind < 0.45:
            return "take", (self.principals(), tokens, self.now)
        if kind < 0.48:
            return "take", (self.principals(), 0, self.now, SESSION)
        handle = dice.choice(self.held or self.gone if dice.random() < 0.9 else self.gone)
        if kind < 0.95:
            return "settle", (handle, tokens, self.now)
        return dice.choice(["release", "heartbeat", "other", "dirty", "reclaim"]), (handle,)


def do(side: Side, what: str, arguments: tuple[Any, ...], now: float) -> Any:
    limits = side.limits
    if what == "take":
        return limits.take_lease(*arguments)
    if what == "settle":
        return limits.settle_lease(*arguments)
    if what == "release":
        return limits.release_lease(*arguments)
    if what == "heartbeat":
        return limits.touch_session(arguments[0], now)
    if what == "other":  # another process moves the windows
        return side.other.take_lease((Principal(GATEWAY), Principal("user:0")), 9, now).handle
    if what == "dirty":
        side.section.words[H_DIRTY] = 1
        return None
    return leases.reclaim_leases(side.section, 8)


class Pair:
    """The same store twice: one that is Python alone, and one with the fast path."""

    def __init__(self, module: Any) -> None:
        view = memoryview(mmap.mmap(-1, section_size(SUBJECTS, PLACES)))
        image = bytes(LimitsSection.prepare(view, SUBJECTS, PLACES).words)
        self.python, self.compiled = Side(image, None), Side(image, module)

    def do(self, what: str, arguments: tuple[Any, ...], now: float) -> Any:
        """Do it to both; what both answer."""
        expected = do(self.python, what, arguments, now)
        found = do(self.compiled, what, arguments, now)
        assert found == expected
        assert repr(found) == repr(expected), "0 is not 0.0"
        assert self.compiled.words.writes == self.python.words.writes
        assert self.compiled.state() == self.python.state()
        self.python.words.writes.clear()
        self.compiled.words.writes.clear()
        return expected


@pytest.mark.timeout(600 if FULL else 120)
@pytest.mark.parametrize("seed", range(1000 if FULL else 60))
def test_random_histories_leave_the_same_words_by_the_same_writes(watched: Path, seed: int) -> None:
    pair, history = Pair(load(watched)), History(seed)
    for _ in range(500):
        what, arguments = history.next()
        history.note(what, arguments, pair.do(what, arguments, history.now))
    assert (pair.python.taken, pair.python.settled) == (0, 0)
    assert pair.compiled.taken + pair.compiled.settled >= 20


@pytest.mark.parametrize("used", [2, 7, 90])
@pytest.mark.parametrize("later", [100.5, 106.0, 131.0, 159.9, 165.0, 170.0])
def test_a_settlement_in_a_later_slot_is_the_same(watched: Path, later: float, used: int) -> None:
    pair = Pair(load(watched))
    handle = pair.do("take", (WHO, 7, 100.0), 100.0).handle
    pair.do("take", (WHO, 5, later), later)  # moves the windows
    settled = pair.compiled.settled
    assert pair.do("settle", (handle, used, later), later)
    assert pair.compiled.settled == settled + 1, "by the fast path"


WHO = (
    Principal(GATEWAY, LimitSet(requests=100, tokens=1000)),
    Principal("user:a", LimitSet(requests=50)),
)


def one() -> SharedLimits:
    """A store whose fast path is in use, and has the rows of WHO."""
    limits = SharedLimits(memory(), 0, 1)
    limits.settle_lease(limits.take_lease(WHO, 5, 100.0).handle, 5, 100.0)
    return limits


@pytest.mark.usefixtures("module")
class TestUnusual:
    def test_the_usual_is_no_matter_of_python(self) -> None:
        limits = one()
        decision = limits._fast_path.take(WHO, 7, 100.0)
        assert decision.requests_remaining == 48
        assert limits._fast_path.settle(decision.handle, 9, 101.0) is True

    @pytest.mark.parametrize(
        "arguments",
        [
            (list(WHO), 1, 100.0),
            (WHO * 2, 1, 100.0),
            ((Principal("user:new"),), 1, 100.0),
            ((WHO[0]._replace(limits=LimitSet(smooth=True)),), 1, 100.0),
            ((WHO[0]._replace(limits=LimitSet(requests=-1)),), 1, 100.0),
            ((WHO[0]._replace(limits=LimitSet(requests=1 << 62)),), 1, 100.0),
            ((WHO[0]._replace(limits=LimitSet(requests=True)),), 1, 100.0),
            ((WHO[0]._replace(limits=LimitSet(concurrency=0.5)),), 1, 100.0),
            ((WHO[0]._replace(limits=(0, 0, 0)),), 1, 100.0),
            ((WHO[0]._replace(name=["no", "hash"]),), 1, 100.0),
            ((GATEWAY,), 1, 100.0),
            (WHO, -1, 100.0),
            (WHO, 1.0, 100.0),
            (WHO, 1 << 64, 100.0),
            (WHO, 1001, 100.0),
            (WHO, 1, 100),
            (WHO, 1, -1.0),
            (WHO, 1, float("nan")),
            (WHO, 1, float("inf")),
            (WHO, 1, 105.0),  # the window must move on
            (None, None, None),
        ],
        ids=repr,
    )
    def test_an_unusual_admission_is_left_to_python(self, arguments) -> None:
        limits = one()
        before = bytes(limits.section.words)
        latest = limits.section.words[H_LATEST]
        assert limits._fast_path.take(*arguments) is None
        limits.section.words[H_LATEST] = latest
        assert bytes(limits.section.words) == before
        assert limits.take_lease(WHO, 1, 100.0).is_admitted, "the mutex is free"

    @pytest.mark.parametrize("used", [-1, 1 << 64, (1 << 40) + 1, 5.0, None])
    def test_an_unusual_settlement_is_left_to_python(self, used) -> None:
        limits = one()
        handle = limits.take_lease(WHO, 5, 100.0).handle
        assert limits._fast_path.settle(handle, used, 100.0) is None
        assert limits._fast_path.settle(handle, 6, 105.0) is None, "the window must move on"
        assert limits._fast_path.settle(0, 5, 100.0) is None
        assert limits._fast_path.settle(handle + (1 << 20), 5, 100.0) is None
        assert limits.settle_lease(handle, 5, 100.0)
        assert limits._fast_path.settle(handle, 5, 100.0) is None
        assert not limits.settle_lease(handle, 5, 100.0)

    def test_words_that_cannot_be_are_left_to_python(self) -> None:
        limits = one()
        section, words = limits.section, limits.section.words
        handle = limits.take_lease(WHO, 5, 100.0).handle
        at = leases.find_lease(section, handle)
        for place, value in (
            (layout.H_FREE, 1 << 40),
            (layout.H_FREE, -1),
            (section.rows + layout.R_PAST_TOKENS, 1 << 62),
            (section.rows + layout.R_PAST_REQUESTS, -1),
            (at + L_TOKENS, 1 << 62),
            (at + layout.L_ROWS, 1 << 19),
            (at + layout.L_ROWS, 1 << 62 | 1 << 41 | 1 << 21 | 1),
        ):
            kept, words[place] = words[place], value
            if place < at:
                assert limits._fast_path.take(WHO, 5, 100.0) is None
            if place >= at or place == layout.H_FREE:
                assert limits._fast_path.settle(handle, 6, 100.0) is None
            words[place] = kept
        assert limits._fast_path.settle(handle, 6, 100.0)

    def test_a_row_that_is_another_principals_is_left_to_python(self) -> None:
        limits = one()
        key_at, key, _ = limits._rows.cached["user:a"]
        limits.section.words[key_at] = key + 1
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        limits.section.words[key_at] = key
        assert limits._fast_path.take(WHO, 5, 100.0)

    def test_a_mutex_that_is_held_is_waited_for_by_python(self) -> None:
        limits = one()
        handle = limits.take_lease(WHO, 5, 100.0).handle
        limits.section.lock()
        before = bytes(limits.section.words)
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        assert limits._fast_path.settle(handle, 5, 100.0) is None
        assert bytes(limits.section.words) == before
        limits.section.unlock()
        assert limits._fast_path.settle(handle, 5, 100.0)

    def test_a_section_to_repair_is_left_to_python(self) -> None:
        limits = one()
        limits.section.words[H_DIRTY] = 1
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        assert limits.take_lease(WHO, 5, 100.0).is_admitted
        assert not limits.section.words[H_DIRTY]

    def test_a_holder_that_died_is_told_to_python(self) -> None:
        limits = one()
        child = os.fork()
        if not child:
            limits.section.lock()
            os._exit(0)
        os.waitpid(child, 0)
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        assert limits.section.words[H_DIRTY]
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        assert limits.take_lease(WHO, 5, 100.0).is_admitted
        assert limits._fast_path.take(WHO, 5, 100.0)

    def test_patience_that_was_lost_is_won_back_by_python(self, monkeypatch) -> None:
        limits = one()
        mutex = limits.section.mutex
        with monkeypatch.context() as patch:
            patch.setattr("vai.io.limits.mutex.PATIENCE", 0.01)
            patch.setattr(mutex, "_trylock", lambda _: errno.EBUSY)
            with pytest.raises(LockUnavailable):
                mutex.acquire()
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        assert limits.take_lease(WHO, 5, 100.0).is_admitted
        assert not mutex.deadline_passed
        assert limits._fast_path.take(WHO, 5, 100.0)

    def test_a_worker_that_was_taken_for_dead_gets_nothing(self) -> None:
        limits = one()
        leases.reclaim_leases(limits.section, 1)
        assert limits._fast_path.take(WHO, 5, 100.0) is None
        assert limits.take_lease(WHO, 5, 100.0).refused == "capacity"

    def test_arguments_are_counted(self) -> None:
        limits = one()
        for method in (limits._fast_path.take, limits._fast_path.settle):
            with pytest.raises(TypeError, match="3 arguments"):
                method(1, 2)


def test_it_keeps_no_memory(module) -> None:
    limits = one()
    shared_by_all = (WHO, WHO[0].limits, None, True, False, limits.section.mutex, Decision)
    who = tuple(Principal(one.name, LimitSet(requests=10**6)) for one in WHO)

    def work() -> None:
        for _ in range(1000):
            limits.settle_lease(limits.take_lease(who, 5, 100.0).handle, 6, 100.0)
            assert limits._fast_path.take(None, None, None) is None
            assert limits._fast_path.settle(None, None, None) is None

    work()
    counts = [sys.getrefcount(what) for what in shared_by_all]
    tracemalloc.start()
    work()
    begin, _ = tracemalloc.get_traced_memory()
    work()
    end, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert end - begin < 5_000
    after = [sys.getrefcount(what) for what in shared_by_all]
    assert all(abs(one - two) < 100 for one, two in zip(counts, after, strict=True))
    mutex = limits.section.mutex
    held = sys.getrefcount(mutex)
    limits._fast_path = None
    assert sys.getrefcount(mutex) == held - 1


def test_positions_that_are_no_sections_are_refused(module) -> None:
    section = memory()
    for rows, free, places, count in ((-1, 5, 9, 1), (9, 5, 9, 1), (1, 5, 9, 1 << 50)):
        with pytest.raises(ValueError, match="positions"):
            module.FastPath(section.words, {}, section.mutex, int, rows, free, places, count, 0, 1)


WITHOUT = """
import sys
sys.modules["vai.io.limits._fast_path"] = None
import mmap
from vai.io.limits.layout import section_size
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import Principal
view = memoryview(mmap.mmap(-1, section_size(4, 4)))
limits = SharedLimits(LimitsSection.prepare(view, 4, 4), 0, 1)
assert limits._fast_path is None
assert limits.settle_lease(limits.take_lease((Principal("user:a"),), 1, 0.0).handle, 1, 0.0)
"""


def test_an_installation_without_the_module_uses_python() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, cwd=ROOT, timeout=30)


@pytest.mark.parametrize("compiler", ["", "no-such-compiler", "false"])
def test_a_missing_or_failing_compiler_is_one_line(tmp_path, monkeypatch, compiler) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(CannotCompileError) as caught:
        compile_fast_path(ROOT, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []

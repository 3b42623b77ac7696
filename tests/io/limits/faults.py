"""A program: kills a child before every single write of every operation, and looks at what is left.

Every write to the shared words goes through one view, so a view that counts them stands at
every state that a SIGKILL can leave behind. It runs as a process of its own because it forks.

    PATH    of the fast path in C, built so that the view hears of its writes too; "": Python alone
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import orjson

from tests.io.limits.compiled import load, open_watched
from vai.io.limits import fast_path, leases, snapshot
from vai.io.limits.layout import (
    H_DIRTY,
    H_FREE,
    H_HIGH,
    H_LATEST,
    L_OWNER,
    L_SLOT,
    L_TOKENS,
    LEASE_WORDS,
    R_EPOCH,
    R_PAST_REQUESTS,
    R_PAST_TOKENS,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_SLOTS,
    ROW_WORDS,
    SESSION,
    Layout,
    section_size,
)
from vai.io.limits.leases import row_offsets
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal
from vai.policy.limits.window import SLOTS

SUBJECTS, PLACES = 1, 24
VICTIM, WITNESS = 11, 12
TOP = LimitSet(requests=12, tokens=1000, concurrency=6, sessions=4)
WHO = (Principal(GATEWAY, TOP), Principal("user:a", TOP))
SMOOTH = (Principal(GATEWAY, TOP), Principal("user:s", TOP._replace(smooth=True)))
NEW = (Principal(GATEWAY, TOP), Principal("user:new", TOP), Principal("key:new", TOP))


class Words:
    """The words, until the write before which this process ends."""

    def __init__(self, words: memoryview) -> None:
        self.words, self.left = words, sys.maxsize

    def __getitem__(self, at: Any) -> Any:
        return self.words[at]

    def __setitem__(self, at: int, value: int) -> None:
        self.step()
        self.words[at] = value

    def step(self) -> None:
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


class Fragile(LimitsSection):
    """A section whose user may end before any write, and before it lets go."""

    def unlock(self) -> None:
        words: Any = self.words
        words.step()
        super().unlock()


def audit(section: Layout) -> None:
    """All that must hold whenever nobody is inside; raises AssertionError."""
    words = section.words
    assert not words[H_DIRTY]
    held: dict[int, list[int]] = {}
    taken, reserved = set(), {}
    for place in range(words[H_HIGH]):
        at = section.leases + place * LEASE_WORDS
        if not words[at + L_OWNER]:
            continue
        taken.add(place)
        for base in row_offsets(section, at):
            held.setdefault(base, []).append(at)
            slot = (base, words[at + L_SLOT])
            reserved[slot] = reserved.get(slot, 0) + words[at + L_TOKENS]
    free = words[section.free : section.free + words[H_FREE]].tolist()
    assert len(set(free)) == len(free)
    assert sorted([*free, *taken]) == list(range(words[H_HIGH]))
    keys = words[section.keys : section.rows].tolist()
    used = [key for key in keys if key]
    assert len(set(used)) == len(used), "two rows for one principal"
    for row, key in enumerate(keys):
        base = section.rows + row * ROW_WORDS
        if not key:
            assert base not in held, "a place hangs on nobody's row"
            continue
        requests = words[base + R_REQUEST_SLOTS : base + R_REQUEST_SLOTS + SLOTS].tolist()
        tokens = words[base + R_TOKEN_SLOTS : base + R_TOKEN_SLOTS + SLOTS].tolist()
        now = words[base + R_EPOCH] % SLOTS
        assert min(requests + tokens) >= 0
        assert words[base + R_PAST_REQUESTS] == sum(requests) - requests[now]
        assert words[base + R_PAST_TOKENS] == sum(tokens) - tokens[now]
        counted = words[base + R_RUNNING] + words[base + R_SESSIONS]
        assert counted == len(held.get(base, []))
        for (other, slot), least in reserved.items():
            if other == base and slot > words[H_LATEST] - SLOTS:
                assert tokens[slot % SLOTS] >= least, "a reservation that is not charged"


USUAL = {"admit", "settle_refund", "settle_excess"}
"""What the fast path does without the Python code."""

Act = Callable[[LimitsSection, SharedLimits, dict[str, int]], object]

ACTS: dict[str, tuple[Act, float]] = {
    "admit": (lambda _, limits, kept: limits.take_lease(WHO, 30, 100.0), 100.0),
    "admit_later": (lambda _, limits, kept: limits.take_lease(WHO, 30, 131.0), 131.0),
    "admit_smooth": (lambda _, limits, kept: limits.take_lease(SMOOTH, 30, 120.0), 120.0),
    "admit_new": (lambda _, limits, kept: limits.take_lease(NEW, 30, 101.0), 101.0),
    "admit_recycling": (lambda _, limits, kept: limits.take_lease(NEW, 30, 300.0), 300.0),
    "refuse": (lambda _, limits, kept: limits.take_lease(WHO, 990, 106.0), 106.0),
    "settle_refund": (lambda _, limits, kept: limits.settle_lease(kept["one"], 5, 101.0), 101.0),
    "settle_excess": (lambda _, limits, kept: limits.settle_lease(kept["one"], 90, 101.0), 101.0),
    "settle_old": (lambda _, limits, kept: limits.settle_lease(kept["one"], 5, 123.0), 123.0),
    "settle_debt": (lambda _, limits, kept: limits.settle_lease(kept["one"], 90, 123.0), 123.0),
    "settle_smooth": (lambda _, limits, kept: limits.settle_lease(kept["smooth"], 5, 102.0), 102.0),
    "acquire": (lambda _, limits, kept: limits.take_lease(WHO, 0, 106.0, SESSION), 106.0),
    "heartbeat": (lambda _, limits, kept: limits.touch_session(kept["live"], 106.0), 106.0),
    "release": (lambda _, limits, kept: limits.release_lease(kept["live"]), 100.0),
    "expire": (lambda section, *_: leases.expire_sessions(section, 5000.0), 100.0),
    "reclaim": (lambda section, *_: leases.reclaim_leases(section, VICTIM), 100.0),
    "repair": (lambda section, *_: (section.words.__setitem__(H_DIRTY, 1), section.lock()), 100.0),
}


def figures(section: LimitsSection, now: float) -> dict[str, Any]:
    return {one.name: one for one in snapshot.read_snapshot(section, now).principals}


class Scene:
    """One state of the store, set back before every kill.

    Args:
        module: the fast path that the victim has; None: it has none.
    """

    def __init__(self, module: Any) -> None:
        self.view = memoryview(mmap.mmap(-1, section_size(SUBJECTS, PLACES)))
        self.section = LimitsSection.prepare(self.view, SUBJECTS, PLACES)
        self.witness = SharedLimits(self.section, 1, WITNESS)
        self.fragile = Fragile(self.view)
        plain = self.fragile.words
        self.words = Words(plain)
        self.fragile.words = self.words  # type: ignore[assignment]
        self.victim = victim = SharedLimits(self.fragile, 0, VICTIM)
        if module:
            victim._fast_path = open_watched(module, victim, plain, lambda *_: self.words.step())
        self.kept = {
            "one": victim.take_lease(WHO, 40, 100.0).handle,
            "gone": victim.take_lease(WHO, 40, 100.0).handle,
            "smooth": victim.take_lease(SMOOTH, 40, 100.0).handle,
            "live": victim.take_lease(WHO, 0, 100.0, SESSION).handle,
        }
        self.mine = self.witness.take_lease(WHO, 25, 100.0).handle
        victim.settle_lease(self.kept["gone"], 40, 100.0)
        audit(self.section)

    def forbid_python(self) -> None:
        """Have the victim fail where its fast path leaves an operation to the Python code."""
        limits: Any = self.victim
        limits._decide_locked = limits._correct_charge = None

    def fill(self) -> None:
        """Leave no row of the neighbourhood unused, so that a new one must be recycled."""
        for number in range(70):
            found = self.witness.take_lease((Principal(f"user:{number}"),), 1, 100.0)
            if found.is_admitted:
                self.witness.settle_lease(found.handle, 1, 100.0)

    def kill(self, act: Act, step: int) -> bool:
        """Let a child act and end before its write number `step`; False: it came through."""
        child = os.fork()
        if not child:
            self.words.left = step
            act(self.fragile, self.victim, self.kept)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status in {0, signal.SIGKILL}, f"the child failed: {status}"
        return status != 0

    def inspect(self, now: float, before: dict[str, Any]) -> None:
        """What any death must leave: nothing stuck, nothing lost, nothing given twice."""
        section = self.section
        assert leases.reclaim_leases(section, VICTIM) <= 4
        audit(section)
        assert self.witness.touch_session(self.mine, now), "what the living hold is theirs"
        left = figures(section, now)
        for name in (GATEWAY, "user:a"):
            assert (left[name].running, left[name].sessions) == (1, 0)
            # The victim's settlement may have taken back what was reserved, and no more.
            assert left[name].tokens >= before[name].tokens - 40
            assert left[name].requests >= before[name].requests
        running = 1
        while self.witness.take_lease(WHO, 1, now).is_admitted:
            running += 1
            audit(section)
        after = figures(section, now)
        most = max(after[GATEWAY].requests, after["user:a"].requests)
        assert most <= TOP.requests
        assert running == after[GATEWAY].running <= TOP.concurrency
        assert most == TOP.requests or running == TOP.concurrency, "what is allowed is admitted"


def run(module: Any) -> dict[str, int]:
    """How many deaths each operation went through."""
    kills = {}
    for name, (act, now) in ACTS.items():
        scene = Scene(module)
        if module and name in USUAL:
            scene.forbid_python()
        if name == "admit_recycling":
            scene.fill()
        image = bytes(scene.view)
        step = 0
        before = figures(scene.section, now)
        while scene.kill(act, step):
            try:
                scene.inspect(now, before)
            except BaseException:
                sys.stderr.write(f"after a death in {name}, before write {step}\n")
                raise
            scene.view[:] = image
            step += 1
        kills[name] = step
    kills["admit_then_repair"] = run_twice(module)
    return kills


def run_twice(module: Any) -> int:
    """Deaths of those that were about to make good what a dead one left."""
    (act, now), (beat, _) = ACTS["admit"], ACTS["heartbeat"]
    scene = Scene(module)
    image, before = bytes(scene.view), figures(scene.section, now)
    first = kills = 0
    while scene.kill(act, first):
        wreck = bytes(scene.view)
        second = 0
        while scene.kill(beat, second):
            scene.inspect(now, before)
            kills += 1
            second += 1
            scene.view[:] = wreck
        scene.view[:] = image
        first += 1
    return kills


if __name__ == "__main__":
    signal.alarm(300)
    fast_path.module = None  # for the witness
    sys.stdout.buffer.write(orjson.dumps(run(load(sys.argv[1]) if sys.argv[1] else None)))

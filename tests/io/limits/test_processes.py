"""What holds when there are many processes, and when some of them end or stand still.

The programs fork, so each runs as a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from vai.io.limits.mutex import PATIENCE

ROOT = Path(__file__).parents[3]
FULL = os.environ.get("VAI_CHAOS_FULL") == "1"


@pytest.fixture(params=["python", "compiled"])
def path(request) -> str:
    """Of the fast path that the program uses; empty: none."""
    return str(request.getfixturevalue("built")) if request.param == "compiled" else ""


@pytest.fixture(params=["python", "compiled", "mixed"])
def mixed_path(request) -> str:
    """As `path`; with "mixed:" before it, every other process uses it."""
    if request.param == "python":
        return ""
    built = request.getfixturevalue("built")
    return f"mixed:{built}" if request.param == "mixed" else str(built)


def program(name: str, *arguments: str, timeout: float = 55) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.io.limits.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        timeout=timeout,
        start_new_session=True,
        check=False,
    )
    assert not done.returncode, done.stderr.decode()[-2000:]
    return orjson.loads(done.stdout)


def test_eight_processes_are_given_exactly_the_limit(mixed_path) -> None:
    found = program("hammer", mixed_path, "exact")
    for limit in (1, 7, 100):
        assert found[f"requests:{limit}"] == [limit] * 3
        assert found[f"tokens:{limit}"] == [limit] * 3
        assert found[f"concurrency:{limit}"] == [limit]
    # Five seconds' worth at once, and never less than one.
    assert [found[f"smooth:{limit}"] for limit in (1, 7, 100)] == [[1] * 3, [1] * 3, [8] * 3]


@pytest.mark.parametrize("fixture", ["python", "watched"])
def test_a_death_before_any_write_leaves_nothing_stuck_lost_or_given_twice(
    request, fixture
) -> None:
    watched = fixture == "watched" and str(request.getfixturevalue("watched"))
    kills = program("faults", watched or "")
    assert min(kills.values()) >= 2, kills
    assert sum(kills.values()) >= 200


@pytest.mark.timeout(200)
def test_deaths_at_any_time_let_nobody_in_who_should_wait(mixed_path) -> None:
    found = program("hammer", mixed_path, "kills", "1000" if FULL else "50", timeout=180)
    assert found["deaths"] >= 50
    assert found["admitted_after"] == 7


def test_a_stopped_worker_hangs_nobody_and_takes_nothing_back(path) -> None:
    found = program("frozen", path)
    inside, outside = found["inside"], found["outside"]
    assert inside["refused"] == ["capacity"] * 3
    assert inside["waits"][0] >= PATIENCE, "it may let go any moment"
    assert inside["settled"]
    assert inside["unavailable"]
    assert inside["held_meanwhile"] == 1, "it can be looked at all the time"
    assert inside["status"] == 0
    assert (inside["after"], inside["running"], inside["tokens"]) == (True, 1, 15)
    assert found["killed_inside"]
    assert outside == {
        "freed": 3,
        "taken": [True, True, False],
        "status": 0,
        "report": [0, 0, 0, 0, 1],
        "running": 2,
        "tokens": 400,
    }

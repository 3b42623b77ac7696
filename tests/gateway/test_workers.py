"""The group keeps its number of workers, whatever is killed."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.gateway.group import Group, gone, group, kill, session, until
from vai.io.control_block import ControlBlock

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]


def _back(running: Group, dead: int, workers: int = 2) -> dict[int, str]:
    def whole() -> dict[int, str] | None:
        rows = running.workers()
        serving = [pid for pid, state in rows.items() if state == "SERVING" and pid != dead]
        return rows if len(serving) == workers and dead not in rows else None

    return until(whole, 20)


def test_killed_worker_hung_worker_and_manager_come_back() -> None:
    with group("--workers=2", hung=2) as running:
        pids = sorted(running.ready())
        control_block = ControlBlock.open(Path(running.control_block()["path"]))

        until(lambda: "vai: ready: " in running.log(), 5)  # main has seen them serve
        victim, survivor = pids
        began = time.monotonic()
        answers = _probe_while(running, lambda: _kill_and_measure(control_block, victim))
        assert answers.failed == 0, "the other worker serves on"
        assert answers.result < 0.25, f"row freed after {answers.result * 1000:.0f} ms"
        rows = _back(running, victim)
        print(f"row freed {answers.result * 1000:.1f} ms; back {time.monotonic() - began:.2f} s")
        assert survivor in rows

        kill(survivor, signal.SIGSTOP)
        until(lambda: gone(survivor), 6)
        _back(running, survivor)
        # The reason is told once, and the death that follows from it is not told again.
        said = [line for line in running.log().splitlines() if f"(pid {survivor})" in line]
        assert len(said) == 1, said
        assert f"(pid {survivor}) showed no life for " in said[0]
        assert said[0].endswith("and is killed; a new one starts")
        assert f"(pid {victim}) was killed by SIGKILL after " in running.log()

        manager = running.control_block()["manager"]
        kill(manager)
        until(lambda: running.control_block()["manager"] not in (0, manager), 15)
        expected = f"vai: the manager (pid {manager}) was killed by SIGKILL; a new one starts"
        assert running.log().splitlines().count(expected) == 1
        assert running.log().count(f"(pid {victim}) was killed by SIGKILL") == 1
        victim = next(iter(running.ready()))
        kill(victim)
        _back(running, victim)


class _Answers:
    failed = 0
    result = 0.0


def _probe_while(running: Group, action) -> _Answers:  # type: ignore[no-untyped-def]
    answers, stop = _Answers(), threading.Event()

    def probe() -> None:
        while not stop.is_set():
            try:
                if running.get("/")[0] != 200:
                    answers.failed += 1
            except (OSError, IndexError):
                answers.failed += 1
            time.sleep(0.02)

    thread = threading.Thread(target=probe)
    # After the kill: a connection in the victim's hands is lost with it.
    answers.result = action()
    thread.start()
    time.sleep(0.2)
    stop.set()
    thread.join(10)
    return answers


def _kill_and_measure(control_block: ControlBlock, victim: int) -> float:
    began = time.monotonic()
    kill(victim)
    until(lambda: all(row.owner.pid != victim for row in control_block.slots), 5)
    return time.monotonic() - began


def test_nothing_outlives_main() -> None:
    with group("--workers=2") as running:
        running.ready()
        members = session(running.process.pid)
        assert len(members) >= 5
        began = time.monotonic()
        kill(running.process.pid)
        running.wait(2)
        until(lambda: not session(running.process.pid), 2)
        print(f"all {len(members)} gone after {time.monotonic() - began:.2f} s")
        with pytest.raises(OSError):
            running.connect(1)


def test_single_process_signs_on_and_off() -> None:
    with group("--single-process") as running:
        assert list(running.ready(workers=1)) == [running.process.pid]
        path = Path(running.control_block()["path"])
        assert path.exists()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(5) == 0
        assert not path.exists()


def test_helpers_of_main_that_are_killed_cost_nothing() -> None:
    with group("--workers=2") as running:
        workers = set(running.ready())
        main = running.process.pid
        for helper in set(session(main)) - workers - {main}:
            kill(helper)
            time.sleep(0.5)
            assert running.get("/")[0] == 200
        victim = min(workers)
        kill(victim)
        _back(running, victim)
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(8) == 0
        assert "Traceback" not in running.log()

"""Crash loops end, reloads lose nothing, starts can be stopped."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.gateway.group import group, kill, session, until

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]


def _all_gone(leader: int) -> None:
    # SyncManager is killed by the kernel when main ends, which takes a moment on a busy box.
    until(lambda: not session(leader), 2)


def test_bad_setting_at_the_first_start_is_one_line_and_exit_3(tmp_path: Path) -> None:
    switch = tmp_path / "fail"
    switch.touch()
    with group("--workers=2", fail_file=switch) as running:
        assert running.wait(20) == 3
        assert running.log().count("vai: gave up:") == 1
        _all_gone(running.process.pid)


def test_workers_that_die_while_starting_back_off_and_give_up() -> None:
    with group("--workers=1", die_at_start=1) as running:
        assert running.wait(30) == 3
        assert running.log().count("vai: gave up: 5 workers") == 1


def test_reload_replaces_all_workers_without_a_failed_connection(tmp_path: Path) -> None:
    switch = tmp_path / "fail"
    with group("--workers=2", fail_file=switch) as running:
        old = set(running.ready())
        failures: list[object] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    status = running.get("/")[0]
                    if status != 200:
                        failures.append(status)
                except (OSError, IndexError) as error:
                    failures.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            running.process.send_signal(signal.SIGHUP)
            until(lambda: not old & set(running.workers()), 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)
        assert failures == [], failures
        new = set(running.ready())

        # A reload to something broken leaves the group as it was.
        switch.touch()
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.log().count("not reloaded, the workers go on as they are") == 1, 20)
        until(lambda: set(running.workers()) == new, 5)
        switch.unlink()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(8) == 0
        _all_gone(running.process.pid)


def test_a_replacement_that_ends_before_it_is_on_the_control_block_is_told_of(
    tmp_path: Path,
) -> None:
    switch = tmp_path / "refuse"
    with group("--workers=2", refuse_file=switch) as running:
        before = set(running.ready())
        switch.touch()
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.log().count("not reloaded, the workers go on as they are") == 1, 20)
        time.sleep(1.2)  # two more rounds of the manager
        assert running.log().count("not reloaded, the workers go on as they are") == 1
        until(lambda: set(running.workers()) == before, 5)


def test_a_group_goes_on_while_one_serves_and_others_cannot_start(tmp_path: Path) -> None:
    switch = tmp_path / "fail"
    with group("--workers=2", fail_file=switch) as running:
        victim, survivor = running.ready()
        switch.touch()
        kill(victim)
        until(lambda: "failed to start (5 in a row)" in running.log(), 30)
        assert "1 serve, the next try is in 1.6 s" in running.log()
        assert "gave up" not in running.log()
        assert running.get("/")[0] == 200
        assert survivor in running.workers()
        switch.unlink()
        assert len(running.ready()) == 2


def test_many_reloads_are_one_that_runs_and_one_that_waits() -> None:
    with group("--workers=2") as running:
        running.ready()
        usual = len(session(running.process.pid))
        most = 0
        end = time.monotonic() + 6
        hangups = iter(range(12))
        due = time.monotonic()
        while time.monotonic() < end:
            if time.monotonic() > due and next(hangups, None) is not None:
                running.process.send_signal(signal.SIGHUP)
                due = time.monotonic() + 0.2
            most = max(most, len(session(running.process.pid)))
            time.sleep(0.02)
        before = set(running.workers())
        running.process.send_signal(signal.SIGHUP)
        until(lambda: not before & set(running.workers()), 30)
        running.ready()
        log = running.log()
        print(f"{usual} processes, at most {most}; {log.count('vai: reloaded')} reloads")
        assert most <= usual + 2
        assert 2 <= log.count("vai: reloaded") <= 8
        assert "Traceback" not in log
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(8) == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_start_with_little_processor_time_is_waited_for() -> None:
    """35 s is longer than the 30 s that once ended a group whose workers got on slowly."""
    with group("--workers=2", slow_start=35) as running:
        assert len(running.ready(seconds=80)) == 2
        assert "killed" not in running.log()


@pytest.mark.parametrize("delay", [0.3, 0.7, 1.0, 1.4, 1.9])
def test_sigterm_during_the_start_always_ends(delay: float) -> None:
    with group("--workers=2") as running:
        time.sleep(delay)
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(6) in (0, -signal.SIGTERM)
        until(lambda: not session(running.process.pid), 2)

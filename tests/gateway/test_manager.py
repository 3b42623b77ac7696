"""Crash loops end, reloads lose nothing, starts can be stopped."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.gateway.group import group, session, until

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
        assert failures == []
        new = set(running.ready())

        # A reload to something broken leaves the group as it was.
        switch.touch()
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.log().count("the old one goes on") == 2, 20)
        assert set(running.workers()) == new
        switch.unlink()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(8) == 0
        _all_gone(running.process.pid)


def test_a_replacement_that_ends_before_it_is_on_the_board_is_told_of(tmp_path: Path) -> None:
    switch = tmp_path / "refuse"
    with group("--workers=2", refuse_file=switch) as running:
        before = set(running.ready())
        switch.touch()
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.log().count("the old one goes on") == 2, 20)
        time.sleep(1.2)  # two more rounds of the manager
        assert running.log().count("the old one goes on") == 2
        assert set(running.workers()) == before


@pytest.mark.parametrize("delay", [0.3, 0.7, 1.0, 1.4, 1.9])
def test_sigterm_during_the_start_always_ends(delay: float) -> None:
    with group("--workers=2") as running:
        time.sleep(delay)
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(6) in (0, -signal.SIGTERM)
        until(lambda: not session(running.process.pid), 2)

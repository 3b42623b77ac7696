"""`vai reload` finds its gateway, signals no other process, and tells how the reload ended.

The first process of the gateways here is the test's own: it answers SIGHUP as a test wants it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from vai.cli.commands import app
from vai.io import groups
from vai.io.control_block import ControlBlock, State
from vai.io.group_record import SECTIONS, GroupRecord, GroupState, read_state
from vai.io.process import identify_process

STATE = GroupState(
    version="1.2.3",
    mode="group",
    started=1_700_000_000.0,
    address="http://127.0.0.1:8080",
    config="/etc/vai/one.toml",
    workers=2,
)
Answer = Callable[[GroupRecord], None]


def vai_reload(*words: str) -> Result:
    return CliRunner().invoke(app, ["reload", *words], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where control blocks are looked for, so that gateways of this machine are not found."""
    monkeypatch.setattr(groups, "control_block_directory", lambda: tmp_path)
    return tmp_path


def _control_block(
    folder: Path, end: str = "00", *, pid: int | None = None, old: bool = False
) -> ControlBlock:
    path = folder / f"vai-{os.getuid()}-{pid or os.getpid()}-{end}.control-block"
    control_block = ControlBlock.create(path, sections={} if old else SECTIONS)
    if pid is not None:
        control_block._words[3], control_block._words[4] = identify_process(pid)
    return control_block


@contextmanager
def answering(answer: Callable[[], None]) -> Iterator[None]:
    """Have SIGHUP to this process answered as a gateway would."""
    before = signal.signal(signal.SIGHUP, lambda *_: answer())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def a_process(*words: str) -> Iterator[int]:
    """A process that no reload concerns, and that a SIGHUP would end."""
    process = subprocess.Popen(words or ["sleep", "60"])
    try:
        yield process.pid
        assert process.poll() is None, "the command has ended a process that is no gateway"
    finally:
        process.kill()
        process.wait(5)


@pytest.fixture
def record(folder: Path) -> Iterator[GroupRecord]:
    control_block = _control_block(folder)
    yield GroupRecord(control_block, STATE)
    control_block.close()


def test_without_a_gateway_it_says_so(folder: Path) -> None:
    done = vai_reload()
    assert (done.exit_code, done.stderr) == (2, "vai: no gateway of this user is running here\n")


def test_the_result_of_a_success_is_its_workers_and_what_stays(record: GroupRecord) -> None:
    def answer() -> None:
        record.begin_reload()
        record.end_reload("reloaded", "port stays 8080: a change needs a restart", 2)

    with answering(answer):
        done = vai_reload()
    assert done.exit_code == 0
    assert done.stdout == "reloaded: 2 workers; port stays 8080: a change needs a restart\n"


@pytest.mark.parametrize(("result", "code"), [("refused", 1), ("failed", 3)])
def test_reasons_come_with_an_exit_code_of_their_own(
    record: GroupRecord, result: str, code: int
) -> None:
    def answer() -> None:
        record.begin_reload()
        record.end_reload(result, "1 problem in the settings:\n  prot: did you mean port?")

    with answering(answer):
        done = vai_reload()
    assert done.exit_code == code
    assert f"not reloaded, gateway {os.getpid()} goes on as it is" in done.stderr
    assert "prot: did you mean port?" in done.stderr


def test_the_result_is_that_of_a_reload_that_began_after_the_command(record: GroupRecord) -> None:
    """One runs already, and others ask meanwhile: its own result is told, not theirs."""
    record.begin_reload()

    def later() -> None:
        time.sleep(0.2)
        record.end_reload("refused", "that of the other")
        time.sleep(0.2)
        record.begin_reload()
        record.end_reload("reloaded", "", 7)
        record.begin_reload()
        record.end_reload("failed", "the next one")

    threads: list[threading.Thread] = []

    def answer() -> None:
        threads.append(threading.Thread(target=later))
        threads[-1].start()

    with answering(answer):
        done = vai_reload()
    threads[0].join(5)
    assert (done.exit_code, done.stdout) == (0, "reloaded: 7 workers\n")


def test_of_several_gateways_one_is_to_be_named(folder: Path, record: GroupRecord) -> None:
    with a_process() as pid:
        other = _control_block(folder, "01", pid=pid)
        GroupRecord(
            other, msgspec.structs.replace(STATE, address="http://[::1]:1", config="/b.toml")
        )
        done = vai_reload()
        assert done.exit_code == 2
        assert "2 gateways run, say which with --pid or --config:" in done.stderr
        assert f"--pid {os.getpid()}  http://127.0.0.1:8080  /etc/vai/one.toml" in done.stderr
        assert f"--pid {pid}  http://[::1]:1  /b.toml" in done.stderr

        def answer() -> None:
            record.begin_reload()
            record.end_reload("reloaded", "", 1)

        with answering(answer):
            for words in (("--pid", str(os.getpid())), ("--config", "/etc/vai/one.toml")):
                assert vai_reload(*words).stdout == "reloaded: 1 worker\n"
        nowhere = vai_reload("--config", "/c.toml")
        assert nowhere.exit_code == 2
        assert "no gateway runs with /c.toml" in nowhere.stderr
        # What calls itself a gateway and has no handler is not ended by a signal.
        assert "does not listen" in vai_reload("--pid", str(pid)).stderr
        other.path.unlink()


def test_a_process_that_is_no_gateway_is_left_alone(folder: Path, record: GroupRecord) -> None:
    listening = "import signal; signal.signal(signal.SIGHUP, lambda *_: exit(7)); signal.pause()"
    with a_process() as deaf, a_process(sys.executable, "-c", listening) as other:
        above, me = os.getppid(), os.getpid()
        done = vai_reload("--pid", str(above))
        assert (done.exit_code, done.stderr) == (2, f"vai: process {above} is no gateway\n")
        for pid in (deaf, other):
            done = vai_reload("--pid", str(pid))
            said = f"vai: process {pid} was started by gateway {me}: use --pid {me}\n"
            assert (done.exit_code, done.stderr) == (2, said)
        row = record_control_block(folder).claim_slot(1)
        row.write_owner(identify_process(deaf), 1, 5)
        row.state = State.SERVING
        done = vai_reload("--pid", str(deaf))
        assert (done.exit_code, done.stderr) == (
            2,
            f"vai: process {deaf} is a worker of gateway {me}: use --pid {me}\n",
        )
    done = vai_reload("--pid", str(deaf))
    assert (done.exit_code, done.stderr) == (2, f"vai: no process {deaf}\n")


def record_control_block(folder: Path) -> ControlBlock:
    (path,) = folder.glob("*.control-block")
    return ControlBlock.open(path)


def test_ctrl_c_ends_the_wait_and_says_so(record: GroupRecord) -> None:
    with answering(lambda: signal.raise_signal(signal.SIGINT)):
        done = vai_reload()
    said = "vai: no longer waiting; the requested reload goes on\n"
    assert (done.exit_code, done.stderr) == (130, said)


def test_another_users_process_is_named_as_such(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    done = vai_reload("--pid", str(os.getppid()))
    assert done.exit_code == 2
    assert "belongs to another user" in done.stderr


def test_a_single_process_and_another_version_are_refused(folder: Path) -> None:
    with answering(lambda: pytest.fail("signalled")):
        alone = _control_block(folder)
        GroupRecord(alone, msgspec.structs.replace(STATE, mode="single"))
        done = vai_reload()
        assert (done.exit_code, "restart it" in done.stderr) == (2, True)
        alone.close()
        old = _control_block(folder, old=True)
        done = vai_reload()
        assert (done.exit_code, "of another version" in done.stderr) == (2, True)
    asked: list[int] = []
    with answering(lambda: asked.append(1)):
        done = vai_reload("--no-wait")
    assert (done.exit_code, asked) == (0, [1])
    old.close()


def test_the_wait_has_an_end(record: GroupRecord, folder: Path) -> None:
    with answering(record.begin_reload):
        done = vai_reload("--timeout=0.3")
    assert done.exit_code == 4
    assert "no result within 0.3 s" in done.stderr
    assert "starts new workers" in done.stderr
    with answering(record_control_block(folder).start_draining):
        done = vai_reload()
    assert done.exit_code == 4
    assert "is ending; it has not been reloaded" in done.stderr
    done = vai_reload()
    assert (done.exit_code, "is ending" in done.stderr) == (4, True)


def test_a_record_is_bounded_and_read_as_a_whole(folder: Path) -> None:
    control_block = _control_block(folder)
    record = GroupRecord(control_block, STATE)
    for text in ("short", "\x01" * 100_000, "a line of reasons\n" * 20_000):
        for _ in range(9):
            record.begin_reload()
            record.end_reload("refused", text)
        state = read_state(control_block)
        assert state == record.state
        assert 1 <= len(state.reloads) <= 6
        assert all(len(one.text.encode()) <= 4000 for one in state.reloads)
    assert state.reloads[-1].number == 27
    assert state.reloads[-1].text.endswith(" lines more")
    assert control_block.path.stat().st_mode & 0o777 == 0o600
    control_block.close()

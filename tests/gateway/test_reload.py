"""What a running gateway says of itself: ready, a worker's death, a reload and its limits.

One group serves all tests of this module, in their order; each leaves it whole.
"""

from __future__ import annotations

import http.client
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from tests.gateway.group import ROOT, free_port, until
from tests.gateway.served import OPEN, Served, command, serve
from vai import __version__
from vai.config.snapshot import FIXED_SETTINGS
from vai.io.control_block import ControlBlock, control_block_directory
from vai.simulator.process import start_simulator

pytestmark = pytest.mark.e2e


class Gateway:
    """The group, its settings file and the lines that it writes."""

    def __init__(self, running: Served, config: Path, said: str, manager: ServiceManager) -> None:
        self.service_manager = manager
        self.running = running
        self.config = config
        self.said = said
        self.pid = running.process.pid
        (path,) = control_block_directory().glob(f"vai-{os.getuid()}-{self.pid}-*.control-block")
        self.control_block = ControlBlock.open(path)
        self._read = 0

    def reload(self, *words: str, code: int = 0) -> str:
        said = command(self.config.parent, "reload", f"--pid={self.pid}", *words, code=code)
        # A line about the progress comes on a slow machine, and not on a fast one.
        return "".join(line for line in said.splitlines(True) if not line.endswith(" ...\n"))

    def new_lines(self) -> list[str]:
        """What VAI wrote since the last call."""
        lines = [line for line in self.running.log().splitlines() if line.startswith("vai: ")]
        new, self._read = lines[self._read :], len(lines)
        return new

    def whole(self) -> set[int]:
        """The workers, once two serve and no others are there."""

        def serving() -> set[int]:
            pids = self.control_block.serving_pids()
            return pids if len(pids) == 2 == len(self.control_block.taken_slots()) else set()

        found: set[int] = until(serving, 20)
        return found


class ServiceManager:
    """A socket as systemd gives one to a service of `Type=notify`, and what came on it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._came: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while text := self._socket.recv(4096).decode():
            self._came.put(text)

    def next(self) -> dict[str, str]:
        """The members of the next message."""
        text = self._came.get(timeout=10)
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait_for(self, state: str) -> None:
        """Read on until a message tells this state."""
        while self.next().get(state) != "1":
            pass

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", self.address.replace("@", "\0", 1))
        self._reader.join(5)
        self._socket.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("reload")
    config = folder / "mine.toml"
    port = free_port()
    with start_simulator(tps=4) as upstream:
        said = (
            f"port = {port}\nsimulate = true\n"
            '[auth]\nmode = "none"\n'
            f'[providers.anthropic]\nbase_url = "{upstream.url}/anthropic"\n'
            'api_key = "k2222222222222222222"\n'
        )
        config.write_text(said)
        manager = ServiceManager(str(folder / "notify"))
        with serve(
            folder, f"--config={config}", port=port, NOTIFY_SOCKET=manager.address
        ) as running:
            until(lambda: "vai: ready" in running.log(), 30)
            found = Gateway(running, config, said, manager)
            yield found
            running.process.send_signal(signal.SIGTERM)  # unless the last test has ended it
            assert running.process.wait(40) == 0
            manager.wait_for("STOPPING")
            assert "Traceback" not in running.log()
            assert "resource_tracker" not in running.log()
        manager.close()


def test_ready_is_one_line_when_all_workers_serve(gateway: Gateway) -> None:
    (line,) = gateway.new_lines()
    expected = (
        rf"vai: ready: http://127\.0\.0\.1:{gateway.running.port}, 2 workers, "
        rf"config {re.escape(str(gateway.config))} \(\d+\.\d s\)"
    )
    assert re.fullmatch(expected, line), line
    assert gateway.running.status("/health") == 200
    assert len(gateway.control_block.serving_pids()) == 2
    status = f"http://127.0.0.1:{gateway.running.port}, 2 workers"
    assert gateway.service_manager.next() == {"READY": "1", "STATUS": status}


def test_limits_tell_which_gateway_that_is(gateway: Gateway) -> None:
    words = ("limits", f"--pid={gateway.pid}", f"--config={gateway.config}")
    (found,) = orjson.loads(command(ROOT, *words, "--json"))["gateways"]
    assert found["address"] == f"http://127.0.0.1:{gateway.running.port}"
    assert found["config"] == str(gateway.config)
    assert (found["version"], found["workers"]) == (__version__, 2)
    assert 0 < found["uptime"] < 600
    assert (
        abs(time.time() - found["uptime"] - datetime.fromisoformat(found["started"]).timestamp())
        < 3
    )
    text = command(ROOT, *words)
    assert f"{found['address']}, config {gateway.config}; 2 workers, up " in text


def test_a_killed_worker_is_one_line(gateway: Gateway) -> None:
    gateway.whole()
    with _stream(gateway):
        time.sleep(0.4)  # main looks ten times a second
        held = {row.owner.pid: row.inflight for row in gateway.control_block.taken_slots()}
        victim = max(held, key=lambda pid: held[pid])
        os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in gateway.control_block.serving_pids(), 10)
    gateway.whole()
    (line,) = gateway.new_lines()
    expected = (
        rf"vai: worker [01] \(pid {victim}\) was killed by SIGKILL after .* s of serving, "
        r"with 1 request running; a new one starts"
    )
    assert re.fullmatch(expected, line), line


@contextmanager
def _stream(
    gateway: Gateway, model: str = "anthropic/claude-x"
) -> Iterator[http.client.HTTPResponse]:
    """A stream of some seconds whose first bytes have come."""
    connection = gateway.running.connection()
    body = {
        "model": model,
        "max_tokens": 12,
        "stream": True,
        "messages": [{"role": "user", "content": "go on"}],
    }
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    connection.request("POST", "/v1/messages", orjson.dumps(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read1(64)
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def test_refused_settings_are_exit_code_1_and_nothing_changes(gateway: Gateway) -> None:
    before = gateway.whole()
    gateway.config.write_text("prot = 9000\n" + gateway.said)
    said = gateway.reload(code=1)
    assert f"not reloaded, gateway {gateway.pid} goes on as it is" in said
    assert f"prot ({gateway.config}, line 1)" in said
    assert gateway.whole() == before
    (line,) = gateway.new_lines()
    assert line.startswith("vai: not reloaded, the workers go on as they are: 1 problem")
    gateway.config.write_text(gateway.said)
    begun = gateway.service_manager.next()
    assert abs(int(begun["MONOTONIC_USEC"]) / 1e6 - time.monotonic()) < 30
    assert begun["RELOADING"] == "1"
    assert gateway.service_manager.next() == {"READY": "1"}


def test_a_reload_while_streams_run_ends_none_of_them(gateway: Gateway) -> None:
    before = gateway.whole()
    with _stream(gateway) as answer:
        assert gateway.reload() == "reloaded: 2 workers\n"
        assert not before & gateway.control_block.serving_pids()
        assert b"message_stop" in answer.read()
    (line,) = gateway.new_lines()
    assert re.fullmatch(r"vai: reloaded: 2 new workers serve \(.* s\)", line), line


def test_what_stays_is_said_and_true(gateway: Gateway) -> None:
    """Each setting of the table is changed, and stays as it was; others take effect."""
    gateway.whole()
    manager = gateway.control_block.manager
    port = gateway.running.port
    gateway.config.write_text(
        gateway.said.replace(f"port = {port}", f'port = {port + 1}\nhost = "0.0.0.0"\nworkers = 3')
        + "[limits]\nmax_callers = 100\n[simulator]\nfirst_token = 9\ntokens_per_second = 1\n"
        "[manager]\nhung_after = 20\n"
    )
    said = gateway.reload()
    assert said.startswith("reloaded: 2 workers; ")
    assert f"port stays {port}, workers stays 2, " in said
    assert said.endswith(": a change needs a restart\n")
    (line,) = gateway.new_lines()
    assert line.startswith("vai: reloaded: 2 new workers serve (")
    for name in FIXED_SETTINGS:
        assert f"{name} stays " in said, name
        assert f"{name} stays " in line, name
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port + 1), 5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), 5)
    gateway.whole()
    words = ("limits", f"--pid={gateway.pid}", f"--config={gateway.config}", "--json")
    assert orjson.loads(command(ROOT, *words))["gateways"][0]["max_callers"] == 8192
    began = time.monotonic()
    with _stream(gateway, "openai/gpt-5.4-mini") as answer:
        answer.read()
    assert time.monotonic() - began < 8, "the simulator that runs has its old pace"
    # The manager works with the new settings, and nothing is said of its end.
    until(lambda: gateway.control_block.manager not in (manager, (0, 0)), 10)
    assert gateway.new_lines() == []
    gateway.config.write_text(gateway.said)
    assert gateway.reload() == "reloaded: 2 workers\n"
    gateway.new_lines()


def test_two_reloads_at_once_have_their_own_results(gateway: Gateway) -> None:
    gateway.whole()
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(gateway.reload())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert said == ["reloaded: 2 workers\n"] * 2
    assert 1 <= len(gateway.new_lines()) <= 2


def test_new_workers_that_die_at_their_start_are_exit_code_3(gateway: Gateway) -> None:
    before = gateway.whole()

    def kill_one() -> None:
        new = until(
            lambda: {who.pid for who in gateway.control_block.started_servers().values()} - before,
            20,
        )
        os.kill(min(new), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    said = gateway.reload(code=3)
    killer.join(20)
    assert "a new worker ended before it served (worker " in said
    assert "was killed by SIGKILL)" in said
    assert gateway.whole() == before
    (line,) = gateway.new_lines()
    assert line.startswith("vai: not reloaded, the workers go on as they are: a new worker ended")


def test_a_stopped_main_is_named(gateway: Gateway) -> None:
    gateway.whole()
    os.kill(gateway.pid, signal.SIGSTOP)
    try:
        said = gateway.reload("--timeout=0.3", code=4)
    finally:
        os.kill(gateway.pid, signal.SIGCONT)
    assert f"process {gateway.pid} is stopped (SIGSTOP)" in said
    until(lambda: "vai: reloaded" in "".join(gateway.new_lines()), 20)


def test_a_hangup_of_all_processes_is_a_reload(gateway: Gateway) -> None:
    before = gateway.whole()
    os.killpg(gateway.pid, signal.SIGHUP)
    until(lambda: not before & gateway.control_block.serving_pids(), 20)
    gateway.whole()
    (line,) = gateway.new_lines()
    assert line.startswith("vai: reloaded")


def test_main_waits_for_its_children_as_long_as_a_reload_has_said(gateway: Gateway) -> None:
    """The last test of the group: main does not wait for a worker that stands still."""
    gateway.whole()
    gateway.config.write_text('drain_grace = "1s"\n' + gateway.said)
    assert gateway.reload() == "reloaded: 2 workers\n"
    os.kill(min(gateway.whole()), signal.SIGSTOP)
    gateway.running.process.send_signal(signal.SIGTERM)
    gateway.running.process.wait(15)  # it was started with 30 s


def test_a_single_process_is_ready_and_says_that_it_cannot_reload(tmp_path: Path) -> None:
    address = f"@vai-test-{os.getpid()}"
    manager = ServiceManager(address)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "key", "-out", "pem"]
    subprocess.run(words, check=True, capture_output=True, cwd=tmp_path)
    secure = {"VAI_TLS__ENABLED": "true", "VAI_TLS__CERT_FILE": "pem", "VAI_TLS__KEY_FILE": "key"}
    options = ("--single-process", "--port=0")
    with serve(tmp_path, *options, port=1, NOTIFY_SOCKET=address, **OPEN, **secure) as running:
        until(lambda: "vai: ready" in running.log(), 20)
        found = re.search(
            r"^vai: ready: (https://127\.0\.0\.1:(\d+), single process), defaults \(.* s\)$",
            running.log(),
            re.MULTILINE,
        )
        assert found, running.log()
        listening = ("127.0.0.1", int(found[2]))
        certificate = (tmp_path / "pem").read_text()
        assert ssl.get_server_certificate(listening) == certificate
        assert manager.next() == {"READY": "1", "STATUS": found[1]}
        said = command(tmp_path, "reload", f"--pid={running.process.pid}", code=2)
        assert "is a single process (--single-process), which cannot reload: restart it" in said
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "vai: not reloaded: a single process cannot reload" in running.log(), 5)
        assert ssl.get_server_certificate(listening) == certificate
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        assert manager.next() == {"STOPPING": "1"}
    manager.close()

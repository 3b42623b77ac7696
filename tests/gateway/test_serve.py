"""`vai serve` as it is run: it ends when told, reloads when told, and refuses while it drains."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import orjson
import pytest

from tests.canary import PROMPT
from tests.gateway.group import session, until
from tests.gateway.served import OPEN, Served, ask, command, serve
from vai.simulator.process import start_simulator

pytestmark = pytest.mark.e2e


def _all_gone(leader: int) -> None:
    # SyncManager is killed by the kernel when main ends, which takes a moment on a busy box.
    until(lambda: not session(leader), 2)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--single-process", "--workers=2"])
def test_sigterm_right_after_the_first_answer_is_an_orderly_end(
    tmp_path: Path, option: str
) -> None:
    for _ in range(10):
        with serve(tmp_path, option, **OPEN) as running:
            running.healthy()
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) == 0
            assert "Traceback" not in running.log()
            _all_gone(running.process.pid)


def _mode(running: Served) -> bytes:
    """The auth mode that the workers work with."""
    connection = running.connection()
    try:
        return ask(connection, "GET", "/readyz")[2]
    finally:
        connection.close()


def test_reload_takes_new_settings_and_survives_broken_ones(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[auth]\nmode = "none"\n')
    with serve(tmp_path, "--workers=2", f"--config={config}") as running:
        until(lambda: len(running.workers()) == 2 and running.status("/readyz") == 200, 20)
        reload = ("reload", f"--pid={running.process.pid}")
        old = running.workers()
        assert b'"auth_mode":"none"' in _mode(running)

        config.write_text('[auth]\nmode = "passthrough"\n')
        command(tmp_path, *reload)
        until(lambda: not old & running.workers(), 20)
        assert b'"auth_mode":"passthrough"' in _mode(running)

        new = running.workers()
        config.write_text('log_levle = "x"\n')
        assert "log_levle" in command(tmp_path, *reload, code=1)
        time.sleep(0.5)
        assert running.log().count("not reloaded, the workers go on as they are") == 1
        assert running.log().count("log_levle") == 1
        assert running.workers() == new
        assert b'"auth_mode":"passthrough"' in _mode(running)
        assert "Traceback" not in running.log()

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0


@pytest.mark.parametrize("option", ["--single-process", "--workers=2"])
def test_a_draining_worker_refuses_the_next_request_of_a_connection(
    tmp_path: Path, option: str
) -> None:
    question = {
        "model": "anthropic/claude-x",
        "max_tokens": 8,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    with start_simulator(tps=2) as upstream:
        address = {
            "VAI_PROVIDERS__ANTHROPIC__BASE_URL": f"{upstream.url}/anthropic",
            "VAI_PROVIDERS__ANTHROPIC__API_KEY": "k" * 20,
        }
        with serve(tmp_path, option, **OPEN, **address) as running:
            serving = 2 if option == "--workers=2" else 1
            until(
                lambda: len(running.serving()) == serving and running.status("/readyz") == 200, 20
            )
            # One stream on each worker holds its drain open; connections spread unevenly, and a
            # worker that starts late accepts none of the first ones.
            streams, busy = [], set()
            while busy != running.serving():
                streams.append(stream := running.connection())
                stream.request("POST", "/v1/messages", orjson.dumps(question | {"stream": True}))
                assert stream.getresponse().status == 200
                busy.add(running.worker_of(stream))
                assert len(streams) < 200, "one worker accepts no connection"
            kept = {}
            for path in ("/v1/messages", "/messages", "/readyz", "/health"):
                kept[path] = running.connection()
                assert ask(kept[path], "GET", "/health")[0] == 200

            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.4)
            for path in ("/v1/messages", "/messages"):
                status, headers, body = ask(kept[path], "POST", path, question)
                assert (status, headers["connection"]) == (503, "close")
                assert b'"draining"' in body
                assert "retry-after" in headers
            status, headers, _ = ask(kept["/readyz"], "GET", "/readyz")
            assert (status, headers["connection"]) == (503, "close")
            status, headers, _ = ask(kept["/health"], "GET", "/health")
            assert (status, headers["connection"]) == (200, "close")
            for connection in [*streams, *kept.values()]:
                connection.close()
            assert running.process.wait(10) == 0

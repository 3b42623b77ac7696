"""The lines of README and API page against a server started as `make run` starts it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs/api.md").read_text()
SHOWN_BY_API = {
    "message": ["x-vai-dropped: top_k", "x-cost-usd: ", '"cost_usd":', '"cache_read_tokens":'],
    "schema": ['"text":"[', '"stop_reason":"end_turn"'],
    "stream": ["event: message_start", "event: message_stop", '"cost_usd":'],
    "conversation": ["gemini/gemini-3.8-flash look openai/gpt-5.4 end_turn"],
    "count": ["x-vai-tokens: estimated", '{"input_tokens":'],
    "models": ['"object":"list"', '"full_id":"gemini/', '"image_output":true'],
    "health": ['"status":"healthy"', '"ok":true', '"gemini":{"status":"simulated"}'],
    "error": ['"param":"tools[0]"', '"code":"unsupported_tool_type"', '"request_id":"req_'],
}
"""Block -> what its output holds."""


def block(name: str, port: int, page: str = README) -> str:
    """The block that follows ``<!-- run: name -->``, aimed at `port`."""
    found = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    return found[1].replace("127.0.0.1:8080", f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    recipe = (ROOT / "Makefile").read_text()
    assert '"$${VAI_CONFIG:-demo.toml}" exec $(BIN)/vai serve' in recipe
    log = tmp_path_factory.mktemp("run") / "log"
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [Path(sys.executable).with_name("vai"), "serve"],
            cwd=ROOT,
            env={**clean, "VAI_CONFIG": "demo.toml", "VAI_PORT": str(free)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(f"http://127.0.0.1:{free}/readyz")
        yield free
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0, log.read_text()[-2000:]
    shown = log.read_text()
    assert f"http://127.0.0.1:{free}" in shown
    assert "simulated" in shown
    assert shown.count("curl") >= 3


def _await(url: str) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_json_line(port: int) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    answer = run(["sh", "-c", block("json", port)])
    assert '"type":"message"' in answer
    assert "simulated Anthropic model" in answer


def test_the_stream_line(port: int) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    answer = run(["sh", "-c", block("sse", port)])
    assert answer.startswith("event: message_start\n")
    assert answer.rstrip().endswith('data: {"type":"message_stop"}')


def test_the_script(port: int) -> None:
    assert len(block("python", port).strip().splitlines()) <= 10
    assert "simulated Groq model" in run([sys.executable, "-c", block("python", port)])


def test_every_block_of_the_api_page_is_run() -> None:
    assert re.findall(r"<!-- run: (\w+) -->\n```(?:sh|python)\n", API) == list(SHOWN_BY_API)
    assert len(re.findall(r"^```(?:sh|python)$", API, re.MULTILINE)) == len(SHOWN_BY_API)


@pytest.mark.parametrize("name", SHOWN_BY_API)
def test_the_blocks_of_the_api_page(name: str, port: int) -> None:
    lines = block(name, port, API)
    if lines.startswith("from "):
        answer = run([sys.executable, "-c", lines])
    elif shutil.which("curl") is None:
        pytest.skip("curl is missing")
    else:
        answer = run(["sh", "-c", lines])
    assert [part for part in SHOWN_BY_API[name] if part not in answer] == []

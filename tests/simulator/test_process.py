"""The simulator as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import pytest
from google import genai

from vai.simulator.process import SimulatorFailed, start_simulator

pytestmark = pytest.mark.e2e


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone(pid: int, within: float = 2.0) -> bool:
    until = time.monotonic() + within
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


@pytest.mark.timing
def test_it_starts_fast_serves_and_stops():
    began = time.monotonic()
    with start_simulator(tps=1000) as handle:
        assert time.monotonic() - began < 2
        assert httpx.get(f"{handle.url}/_sim/health", trust_env=False).json() == {"ok": True}
        assert handle.running
    assert not handle.running
    assert gone(handle.pid)


def test_it_dies_with_a_killed_parent():
    code = "import time; from vai.simulator.process import start_simulator; "
    code += "print(start_simulator().pid, flush=True); "
    parent = subprocess.Popen(
        [sys.executable, "-c", code + "time.sleep(60)"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_port_that_is_taken_is_told():
    with start_simulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(SimulatorFailed):
            start_simulator(port=port)


def test_the_port_file_is_whole(tmp_path):
    file = tmp_path / "port"
    child = subprocess.Popen(
        [sys.executable, "-m", "vai.simulator", "--port-file", str(file)], start_new_session=True
    )
    try:
        until = time.monotonic() + 5
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{file.read_text()}/_sim/health"
        assert httpx.get(url, trust_env=False).status_code == 200
    finally:
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(5) == 0


def test_little_is_imported():
    """The start stays fast: the providers' table, sizes of pictures, no HTTP library."""
    code = "import sys, vai.simulator.__main__; print(*sorted(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"httpx", "sanic", "pydantic", "anthropic", "openai", "ssl_"} & set(found)
    ours = {name for name in found if name.startswith("vai.")}
    of_the_table = {"vai.providers", "vai.providers.registry", "vai.types", "vai.types.provider"}
    of_pictures = {"vai.codec", "vai.codec.pictures"}
    assert all(name.startswith("vai.simulator") for name in ours - of_the_table - of_pictures)


@pytest.fixture(scope="module")
def live():
    with start_simulator() as handle:
        yield handle


@pytest.mark.parametrize("provider", ["openai", "oai-resp"])
def test_the_official_openai_client_works_against_the_process(live, provider):
    with openai.OpenAI(
        api_key="sk-test", base_url=f"{live.url}/{provider}/v1", max_retries=2
    ) as client:
        whole = client.responses.create(model="sim-1", input="Hello there")
        with client.responses.stream(model="sim-1", input="Hello there") as stream:
            stream.until_done()
            assert stream.get_final_response().output_text == whole.output_text
        asked = {"model": "sim-1;tool=f;calls=2", "input": "Hello"}
        assert [item.name for item in client.responses.create(**asked).output] == ["f", "f"]
        again = client.responses.create(model="sim-1;fail=1x503", input="Hi")
        assert again.status == "completed"
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model="sim-1", input="Hi", max_output_tokens=3)


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_official_google_client_works_against_the_process(live, version):
    options = {"base_url": f"{live.url}/gemini", "api_version": version}
    with genai.Client(api_key="AIza-test", http_options=options) as client:
        models = client.models
        whole = models.generate_content(model="sim-1", contents="Hello there")
        stream = models.generate_content_stream(model="sim-1", contents="Hello there")
        assert "".join(chunk.text or "" for chunk in stream) == whole.text
        called = models.generate_content(model="sim-1;tool=f;calls=2", contents="Hello")
        assert [call.name for call in called.function_calls] == ["f", "f"]
        with pytest.raises(genai.errors.ClientError, match="RESOURCE_EXHAUSTED"):
            models.generate_content(model="sim-1;status=429", contents="Hi")

"""Direct use: the example of docs/direct-use.md on the base install, without any server part."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from vai.simulator.process import start_simulator

ROOT = Path(__file__).parents[1]
BASE = {"httpx", "httptools", "msgspec", "orjson", "certifi", "anyio", "h11", "httpcore", "idna"}
SERVER = ("sanic", "dynaconf", "loguru", "uvloop", "pydantic", "typer")


def example() -> str:
    page = (ROOT / "docs/direct-use.md").read_text()
    return re.search(r"```python direct\n(.*?)```", page, re.DOTALL)[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that can import VAI and what the base install brings, nothing else.

    The packages are those of this environment, linked one by one: what is not linked cannot
    be imported, and nothing has to be downloaded.
    """
    home = tmp_path_factory.mktemp("base")
    venv.create(home, with_pip=False)
    site = next((home / "lib").glob("python*/site-packages"))
    ours = Path(next(path for path in sys.path if path.endswith("site-packages")))
    for name in (*BASE, "typing_extensions.py", "sniffio"):
        if (ours / name).exists():
            (site / name).symlink_to(ours / name)
    shutil.copytree(ROOT / "vai", site / "vai", ignore=shutil.ignore_patterns("__pycache__"))
    return home / "bin" / "python"


def run(python: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", "-c", code] if not variables else [python, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
        env={"PATH": os.environ["PATH"], **variables},
    )


@pytest.mark.parametrize("module", SERVER)
def test_the_base_install_has_no_server(python: Path, module: str) -> None:
    assert "ModuleNotFoundError" in run(python, f"import {module}").stderr


def test_the_base_install_is_what_the_project_declares() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    names = re.search(r"\ndependencies = \[(.*?)\n\]", declared, re.DOTALL)[1]
    assert set(re.findall(r'^    "([a-z0-9]+)', names, re.MULTILINE)) <= BASE


def test_the_example_runs(python: Path) -> None:
    with start_simulator() as simulator:
        done = run(
            python,
            example(),
            OPENAI_API_KEY="sk-anything",
            OPENAI_BASE_URL=f"{simulator.url}/openai/v1",
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "simulated OpenAI model" in lines[0]
    assert lines[1] == "MessageStart"
    assert lines[-2:] == ["MessageDelta", "MessageStop"]


@pytest.mark.parametrize("provider", ["anthropic", "openai", "groq", "cerebras"])
async def test_json_and_stream_say_the_same(provider: str) -> None:
    from vai.direct import DirectClient
    from vai.providers.decode.accumulate import message_from_events
    from vai.simulator import Simulator

    paths = {"openai": "/openai/v1", "groq": "/groq/openai/v1", "cerebras": "/cerebras/v1"}
    ask = {"model": f"{provider}/sim-1", "messages": [{"role": "user", "content": "Hello"}]}
    async with Simulator() as simulator:
        base = simulator.url + paths.get(provider, f"/{provider}")
        async with DirectClient({provider: "sk-x"}, base_urls={provider: base}) as vai:
            whole = await vai.create(ask)
            events = [event async for event in vai.stream(ask)]
    told = message_from_events(events)
    assert told.content == whole.content
    assert told.usage.output_tokens == whole.usage.output_tokens
    assert whole.model == f"{provider}/sim-1"


async def test_closing_the_iterator_stops_the_provider() -> None:
    import asyncio

    from vai.direct import DirectClient
    from vai.simulator import Knobs, Simulator

    ask = {"model": "openai/sim-1", "messages": [{"role": "user", "content": "Hello"}]}
    async with (
        Simulator(pace=Knobs(tps=5)) as simulator,
        DirectClient({"openai": "sk-x"}, base_urls={"openai": f"{simulator.url}/openai/v1"}) as vai,
    ):
        events = vai.stream(ask)
        await anext(events)
        await events.aclose()
        await asyncio.sleep(0.1)
        assert simulator.stats()["in_flight"] == 0


async def test_no_key_is_told_before_anything_is_sent() -> None:
    from vai.direct import DirectClient
    from vai.errors import AuthenticationFailed

    async with DirectClient({}) as vai:
        with pytest.raises(AuthenticationFailed) as caught:
            await vai.create({"model": "groq/x", "messages": [{"role": "user", "content": "a"}]})
    assert caught.value.code == "provider_key_missing"


async def test_what_wants_a_login_is_not_there() -> None:
    from vai.direct import DirectClient
    from vai.errors import NotFound

    ask = {"model": "gemini-oauth/gemini-2.5-pro", "messages": [{"role": "user", "content": "a"}]}
    async with DirectClient({"gemini-oauth": "key"}) as vai:
        with pytest.raises(NotFound, match="needs a login"):
            await vai.create(ask)

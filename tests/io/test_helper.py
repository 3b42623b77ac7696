"""The process beside a worker: what it does, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from vai.errors import InternalError, InvalidRequest, Overloaded
from vai.io.helper import HelperProcess


def double(value: Any) -> Any:
    return value * 2


def refuse(param: str) -> None:
    raise InvalidRequest("no", param=param, code="refused", status=413)


def fail() -> None:
    raise LookupError("a secret text")


def environment() -> dict[str, str]:
    return dict(os.environ)


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(main: Coroutine[Any, Any, None]) -> None:
    uvloop.run(main)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def gone(pid: int) -> None:
    until = time.monotonic() + 5
    while is_there(pid):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


def test_work_is_done_there_and_large_values_come_back_whole() -> None:
    async def main() -> None:
        helper = HelperProcess()
        assert helper.pid is None
        assert await helper.run_work(double, 21) == 42
        large = os.urandom(3 << 20)
        assert await helper.run_work(double, {"a": [large]}["a"]) == [large, large]
        assert helper.pid not in (None, os.getpid())
        await helper.aclose()

    run(main())


def test_errors_of_ours_come_back_as_they_are_and_others_as_no_more_than_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        helper = HelperProcess()
        with pytest.raises(InvalidRequest) as caught:
            await helper.run_work(refuse, "place")
        error = caught.value
        assert (error.message, error.param, error.code, error.status) == (
            *("no", "place"),
            *("refused", 413),
        )
        with pytest.raises(InternalError):
            await helper.run_work(fail)
        assert await helper.run_work(double, 1) == 2
        await helper.aclose()

    run(main())
    said = capfd.readouterr().err
    assert "LookupError" in said
    assert "secret" not in said


def test_it_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("VAI_AUTH__API_KEYS__A__KEY", "secret")

    async def main() -> None:
        helper = HelperProcess()
        assert "secret" not in str(await helper.run_work(environment))
        await helper.aclose()

    run(main())


def test_one_that_is_killed_costs_one_piece_of_work() -> None:
    async def main() -> None:
        helper = HelperProcess()
        with pytest.raises(Overloaded) as caught:
            await helper.run_work(end)
        assert (caught.value.status, caught.value.code) == (503, "helper_failed")
        assert await helper.run_work(double, 2) == 4
        await helper.aclose()

    run(main())


def test_it_ends_when_it_is_idle_and_starts_again() -> None:
    async def main() -> None:
        helper = HelperProcess(idle=0.1)
        assert await helper.run_work(double, 2) == 4
        first = helper.pid
        assert first is not None
        await gone(first)
        assert await helper.run_work(double, 3) == 6
        assert helper.pid != first
        await helper.aclose()

    run(main())


def test_it_ends_with_its_worker() -> None:
    """The worker is killed; nothing tells its helper but the end of the connection."""
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:

        async def main() -> None:
            helper = HelperProcess()
            await helper.run_work(double, 1)
            os.write(writer, str(helper.pid).encode())
            await asyncio.sleep(60)

        try:
            uvloop.run(main())
        finally:
            os._exit(1)
    helper_pid = int(os.read(reader, 100))
    assert is_there(helper_pid)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    asyncio.run(gone(helper_pid))


def test_a_caller_who_leaves_leaves_no_work_undone_for_others() -> None:
    async def main() -> None:
        helper = HelperProcess()
        asked = [asyncio.create_task(helper.run_work(double, bytes(1 << 20))) for _ in range(6)]
        await asyncio.sleep(0.01)
        for task in asked[::2]:
            task.cancel()
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in done] == [True, False] * 3
        assert await helper.run_work(double, 5) == 10
        await helper.aclose()

    run(main())

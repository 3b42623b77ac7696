"""What is written about a failure, and what is not."""

from __future__ import annotations

import asyncio
import logging
import os

import orjson
import pytest

from vai.io import log as logs

SECRET = "a prompt that nobody may read"


@pytest.fixture(params=["json", "text"])
def written(request, capfd):
    logs.configure_logging("info", request.param)
    yield lambda: capfd.readouterr().err
    logs.log.remove()


def test_an_exception_is_its_type_and_its_frames(written):
    try:
        int(SECRET)
    except ValueError as error:
        logs.log.opt(exception=error).error("request {} failed", "req_1")
    said = written()
    assert SECRET not in said
    assert "ValueError" in said
    assert "test_log.py" in said
    assert "req_1" in said


def test_the_words_of_the_system_are_kept(written):
    try:
        os.open("/nowhere/at/all", os.O_RDONLY)
    except OSError as error:
        logs.log.opt(exception=error).error("start failed")
    assert "FileNotFoundError: No such file or directory" in written()


def test_other_libraries_come_the_same_way(written):
    try:
        raise KeyError(SECRET)
    except KeyError:
        logging.getLogger("sanic.error").exception("it failed")
    said = written()
    assert SECRET not in said
    assert "KeyError" in said


def test_asyncio_does_not_tell_what_a_task_failed_of(written):
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.set_exception(ValueError(SECRET))
    loop.call_exception_handler(
        {
            "message": "Task exception was never retrieved",
            "future": future,
            "exception": future.exception(),
        }
    )
    loop.close()
    said = written()
    assert "never retrieved" in said
    assert SECRET not in said


async def test_request_lines_are_whole_and_in_order(tmp_path):
    fd = os.open(tmp_path / "lines", os.O_WRONLY | os.O_CREAT)
    lines = logs.RequestLog(fd, batch=3, every=0.02)
    for number in range(4):
        lines.write({"n": number})
    assert len((tmp_path / "lines").read_bytes().splitlines()) == 3
    await asyncio.sleep(0.05)
    os.close(fd)
    found = [orjson.loads(line) for line in (tmp_path / "lines").read_bytes().splitlines()]
    assert [line["n"] for line in found] == [0, 1, 2, 3]
    assert all(line["timestamp"].endswith("Z") for line in found)


async def test_a_reader_that_blocks_costs_lines_and_not_the_worker():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lines = logs.RequestLog(writing, batch=1)
    for _ in range(3000):
        lines.write({"filling": "x" * 100})
    assert lines.lost > 0
    os.close(reading)
    os.close(writing)

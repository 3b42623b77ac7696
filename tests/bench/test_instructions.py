"""Counting instructions: the figure itself needs valgrind, what is around it does not."""

import pytest

from bench import callgrind, instructions
from bench.ways import WayError


def test_without_valgrind_it_says_so_and_ends(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert instructions.main([]) == 0
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (callgrind.CannotCountError("no compiler"), 0, "bench: skipped, no compiler\n"),
        (WayError("it ended"), 2, "bench: FAILED, it ended\n"),
    ],
)
def test_a_command_that_counts_nothing_says_why(monkeypatch, capsys, error, code, line):
    monkeypatch.setattr(callgrind, "is_installed", lambda: True)

    def count():
        raise error

    assert callgrind.run_command("bench", count) == code
    assert capsys.readouterr().out == line
    assert callgrind.run_command("bench", lambda: 1) == 1


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", False),
        (b"HTTP/1.1 200 OK\r\n", False),
    ],
)
def test_the_end_of_an_answer(answer, whole):
    assert instructions._is_whole(answer) is whole

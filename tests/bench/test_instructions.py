"""Counting instructions: the figure itself needs valgrind, what is around it does not."""

import pytest

from bench import instructions


def test_without_valgrind_it_says_so_and_ends(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    instructions.main([])
    assert "skipped" in capsys.readouterr().out


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

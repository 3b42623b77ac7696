"""The open ends of a worker are closed in order, also when others close theirs."""

from __future__ import annotations

import socket

import pytest

from vai.gateway.sanic_patches.serving import ServerEnds


def test_two_workers_may_both_find_that_they_are_the_last() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        workers = [ServerEnds(), ServerEnds()]
        for worker in workers:
            worker.keep_listener(listener)
        for worker in workers:
            worker.refuse_connections()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(listener.getsockname(), 1)
        for worker in workers:
            worker.stop_accepting()


def test_without_a_listener_there_is_nothing_to_refuse() -> None:
    serving = ServerEnds()
    serving.refuse_connections()
    serving.stop_accepting()

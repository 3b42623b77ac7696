"""What an operator sees of the limits of a running gateway: `vai limits` and /health."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.canary import KEY
from tests.e2e.conftest import BEYOND_KEY, lent_key
from tests.e2e.rig import ROOT, Answer, Gateway, Simulated, ask, running, until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limited") / "settings.json"


@pytest.fixture(scope="module")
def limited(simulator: Simulated, config: Path) -> Iterator[Gateway]:
    """Alice has one place and may wait for it, bob has limits of his own."""
    settings = {
        "auth": {
            "mode": "api_key",
            "api_keys": {
                "alice": {"key": KEY, "name": "alice"},
                "bob": {"key": BEYOND_KEY, "name": "bob", "rate_limit": 7},
            },
        },
        "providers": {
            "openai": {"api_key": lent_key("openai"), "base_url": simulator.base_url("openai")}
        },
        "limits": {
            "max_queue_ms": 300_000,
            "per_user": {"concurrent_requests": 1, "tokens_per_minute": 5000},
        },
    }
    # One worker: who waits does so in the one that answers /health.
    with running(settings, config.parent, "--workers=1") as gateway:
        yield gateway


def held_open(gateway: Gateway, key: str) -> socket.socket:
    """A request whose answer does not come."""
    body = orjson.dumps(ask("openai/sim;ttft=50", stream=True))
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: vai\r\nx-api-key: {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    sock = gateway.raw()
    sock.sendall(head.encode() + body)
    return sock


def command(gateway: Gateway, config: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vai.cli", "limits", f"--pid={gateway.process.pid}", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "VAI_CONFIG": str(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def shown(gateway: Gateway, config: Path, *words: str) -> str:
    process = command(gateway, config, *words)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    return out


def limits_in_health(gateway: Gateway) -> dict[str, Any]:
    """Without the callers: how many are counted is a few seconds old."""
    found = dict(gateway.ask("GET", "/health").json["limits"])
    if found["enabled"]:
        assert found.pop("callers") <= found.pop("max_callers") == 8192
    return found


def test_what_runs_and_waits_is_shown(limited: Gateway, config: Path) -> None:
    idle = {"enabled": True, "store": "shared_memory", "state": "ok", "manager": "alive"}
    idle |= {"running": 0, "sessions": 0, "waiting": 0}
    until(lambda: limits_in_health(limited) == idle, 20)
    clients = [held_open(limited, key) for key in (KEY, BEYOND_KEY)]
    until(lambda: limits_in_health(limited)["running"] == 2, 20)
    clients.append(held_open(limited, KEY))
    until(lambda: limits_in_health(limited) == idle | {"running": 2, "waiting": 1}, 20)

    (found,) = json.loads(shown(limited, config, "--json"))["gateways"]
    assert found["pid"] == limited.process.pid
    assert (found["running"], found["sessions"], found["waiting"]) == (2, 0, 1)
    assert (found["store"], found["enabled"]) == ("shared_memory", True)
    users = {"running": 1, "sessions": 0, "requests": 100_000, "tokens": 5000}
    principals = {one.pop("name"): one for one in found["principals"]}
    assert next(iter(principals)) == "gateway"
    assert principals["user:alice"]["limits"] == users
    assert principals["key:bob"]["limits"] == users | {"requests": 7}
    for name in ("user:alice", "key:bob"):
        one = principals[name]
        assert (one["running"], one["requests"]) == (1, 1)
        assert one["tokens"] >= 64
    assert {place["principals"][1] for place in found["places"]} == set(principals) - {"gateway"}
    assert all(place["kind"] == "request" and place["worker"] == 0 for place in found["places"])

    table = shown(limited, config)
    assert f"gateway {limited.process.pid}: 2 running, 0 sessions, 1 waiting" in table
    assert "1 / 7" in table
    for client in clients:
        client.close()
    until(lambda: limits_in_health(limited) == idle, 20)


def test_health_names_nobody(limited: Gateway) -> None:
    assert limited.post(ask("openai/sim")).status == 200
    said = limited.ask("GET", "/health").body
    assert b"alice" not in said
    assert b"user:" not in said


def test_watching_goes_on_until_it_is_interrupted(limited: Gateway, config: Path) -> None:
    process = command(limited, config, "--watch=0.2", "--json")
    assert process.stdout is not None
    try:
        for _ in range(3):
            (found,) = json.loads(process.stdout.readline())["gateways"]
            assert found["pid"] == limited.process.pid
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_a_process_alone_tends_its_limits_itself(single: Gateway) -> None:
    assert limits_in_health(single)["manager"] == "alive"


def test_limits_that_are_off_are_said_to_be(tmp_path: Path) -> None:
    settings = {"auth": {"mode": "none"}, "simulate": False, "limits": {"enabled": False}}
    with running(settings, tmp_path, "--single-process") as gateway:
        assert limits_in_health(gateway) == {"enabled": False}
        assert "limits are off" in shown(gateway, tmp_path / "settings.json")


def test_no_room_for_callers_is_told_everywhere(simulator: Simulated, tmp_path: Path) -> None:
    settings = {
        "auth": {"mode": "none"},
        "trusted_proxies": ["127.0.0.1"],
        "providers": {
            "openai": {"api_key": lent_key("openai"), "base_url": simulator.base_url("openai")}
        },
        "limits": {"max_callers": 64},
    }
    body = orjson.dumps(ask("openai/sim"))

    def call(gateway: Gateway, number: int) -> Answer:
        address = {"x-forwarded-for": f"10.1.{number >> 8}.{number & 255}"}
        return gateway.ask(
            "POST", "/v1/messages", address | {"content-type": "application/json"}, body
        )

    with running(settings, tmp_path, "--workers=2") as gateway:
        answers = [call(gateway, number) for number in range(130)]
        assert {answer.status for answer in answers[:64]} == {200}
        refused = next(answer for answer in answers if answer.status != 200)
        assert (refused.status, refused.error["code"]) == (503, "limits_full")
        assert 55 <= int(refused.header("retry-after")) <= 66
        assert call(gateway, 0).status == 200, "who has a row keeps it"
        found = gateway.ask("GET", "/health").json["limits"]
        assert (found["state"], found["max_callers"]) == ("full", 64)
        until(lambda: gateway.ask("GET", "/health").json["limits"]["callers"] >= 64, 10)
        table = shown(gateway, tmp_path / "settings.json")
        assert "room for 64; FULL" in table
        assert 1 <= gateway.log.read_text().count("limits.max_callers") <= 2

"""The line of a request in the log: which members it has, and in which order."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from vai.codec.head import HeaderFields
from vai.errors import RateLimited, UpstreamRejected
from vai.exchange.exchange import Settlement
from vai.gateway.request.context import RequestContext
from vai.io.log import RequestLog
from vai.policy.route import resolve_route
from vai.providers.registry import PROVIDER_SPECS
from vai.types.message import Usage


def context() -> RequestContext:
    fields = HeaderFields([("x-request-id", "req_1")])
    request: Any = SimpleNamespace(
        header_fields=fields, method="POST", path='/v1/"é\n', ip="127.0.0.1", app=None
    )
    return RequestContext(request)


def written(tmp_path: Path, *lines: Any) -> list[bytes]:
    """What the log makes of these lines, without their timestamps."""
    file = tmp_path / "lines"
    fd = os.open(file, os.O_WRONLY | os.O_CREAT)

    async def write() -> None:
        request_log = RequestLog(fd)
        for line in lines:
            request_log.write(line)
        request_log.flush()
        assert not request_log.lost

    asyncio.run(write())
    os.close(fd)
    found = file.read_bytes().splitlines()
    for line in found:
        assert orjson.loads(line)["timestamp"].endswith("Z")
    return [line[len('{"timestamp":"2026-11-28T12:00:00.000Z",') :] for line in found]


BEGIN: dict[str, Any] = {
    "level": "info",
    "event": "request_complete",
    "request_id": "req_1",
    "method": "POST",
    "path": '/v1/"é\n',
}


def as_written(members: dict[str, Any]) -> bytes:
    return orjson.dumps(BEGIN | members)[1:]


def test_a_request_without_an_exchange_has_a_short_line(tmp_path: Path) -> None:
    asked = context()
    asked.status = 429
    asked.error = RateLimited("slow down", code="requests_limit", limit="user requests_per_minute")
    asked.error.code = "not a code!"
    assert written(tmp_path, asked.make_log_line(0.01234)) == [
        as_written(
            {
                "status": 429,
                "stream": False,
                "duration_ms": 12.3,
                "user_id": None,
                "ip": "127.0.0.1",
                "error_type": "rate_limit_error",
                "limit": "user requests_per_minute",
            }
        )
    ]


def test_a_full_line_has_all_members_in_their_order(tmp_path: Path) -> None:
    asked = context()
    asked.route = resolve_route("openai/gpt-6-sol", PROVIDER_SPECS, {})
    asked.status, asked.stream, asked.is_simulated = 200, True, True
    fault = UpstreamRejected("no", type="overloaded_error", status=529, code="busy")
    asked.record_failed_attempt(fault)
    asked.attempts = 2
    priced: Any = SimpleNamespace(terms=SimpleNamespace(cost=lambda usage: 1.2e-05))
    asked.target = priced
    usage = Usage(input_tokens=7, output_tokens=5)
    asked.record_settlement(Settlement("completed", usage, False, None, 1.0, 0.25))
    full = asked.make_log_line(1.0)
    asked.settlement = Settlement(
        "client_left", Usage(output_tokens=5), True, "end_turn", 1.0, None
    )
    estimated = asked.make_log_line(1.0)
    common = {
        "status": 200,
        "stream": True,
        "duration_ms": 1000.0,
        "user_id": None,
        "ip": "127.0.0.1",
        "provider": "openai",
        "model": "openai/gpt-6-sol",
        "attempts": 2,
        "failed_attempts": asked.failed_attempts,
    }
    assert asked.failed_attempts[0]["error_type"] == "overloaded_error"
    assert written(tmp_path, full, estimated) == [
        as_written(
            common
            | {
                "outcome": "completed",
                "stop_reason": None,
                "input_tokens": 7,
                "output_tokens": 5,
                "total_tokens": 12,
                "first_token_ms": 250.0,
                "cost_usd": 0.000012,
                "simulated": True,
            }
        ),
        as_written(
            common
            | {
                "outcome": "client_left",
                "stop_reason": "end_turn",
                "input_tokens": None,
                "output_tokens": 5,
                "usage_estimated": True,
                "simulated": True,
            }
        ),
    ]


def test_a_line_without_a_json_form_is_lost_and_no_other(tmp_path: Path) -> None:
    async def write() -> None:
        request_log = RequestLog(os.open(os.devnull, os.O_WRONLY))
        for line in ({"path": "\ud800"}, {"path": object()}, {"path": "fine"}):
            request_log.write(line)
        assert request_log.lost == 2
        request_log.flush()

    asyncio.run(write())

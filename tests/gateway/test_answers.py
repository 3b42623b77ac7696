"""The head of an answer, and how a failure is written."""

from __future__ import annotations

import orjson
import pytest

from vai.errors import UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.gateway.request.context import RequestContext
from vai.gateway.request.responses import (
    GatewayResponse,
    make_error_frame,
    make_error_response,
    make_headers,
)
from vai.policy.route import Route
from vai.providers.registry import PROVIDER_SPECS


def call(model: str = "gpt-5") -> RequestContext:
    """A call whose request has been routed."""
    made = RequestContext.__new__(RequestContext)
    made.request_id, made.is_simulated, made.status = "req_1", False, 0
    made.attempts, made.skipped_models, made.limits = 1, [], None
    made.route = Route(PROVIDER_SPECS["openai"], model, f"openai/{model}", "vai")
    return made


def test_what_a_caller_wrote_does_not_make_the_head_long() -> None:
    headers = make_headers(call("m" * 100_000), None, ["metadata." + "n" * 100_000] * 9)
    assert headers["x-model"].startswith("openai/mmm")
    assert headers["x-vai-dropped"].startswith("metadata.nnn")
    assert sum(map(len, headers.values())) < 4096


@pytest.mark.parametrize("fault", [UpstreamTimeout("late"), UpstreamUnreachable("gone")])
def test_a_fault_of_the_way_to_a_provider_names_it(fault: UpstreamFault) -> None:
    for body in (
        make_error_response(fault, call()).body,
        make_error_frame(fault, call()).split(b"data: ")[1],
    ):
        assert body is not None
        assert orjson.loads(body)["error"]["provider"] == "openai"


def test_a_stream_that_fails_has_been_answered_with_200() -> None:
    pinged = call()
    make_error_frame(UpstreamTimeout("late"), pinged)
    assert pinged.error is not None
    assert (pinged.status, pinged.error.type) == (200, "timeout_error")


def encoded(**headers: str) -> dict[bytes, bytes]:
    return dict(GatewayResponse(b"", 200, headers, "application/json").processed_headers)


def test_an_upstreams_bytes_come_back_as_they_were() -> None:
    read = "café".encode().decode("latin-1")
    assert encoded(name=read)[b"name"] == "café".encode()


def test_nothing_splits_a_head() -> None:
    for bad in ("a\r\nx: y", "a\nb", "a\0b"):
        found = encoded(name=bad)[b"name"]
        assert not {b"\r", b"\n", b"\0"} & {found[at : at + 1] for at in range(len(found))}

"""Which web pages may read an answer: those on the list, to the letter."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import LISTED
from tests.e2e.rig import ask

pytestmark = pytest.mark.e2e

UNLISTED = [
    "https://a.example.evil.test",
    "https://evil.test",
    "https://a.exampl",
    "https://a.example.",
    "https://a.example:443",
    "https://A.example",
    "https://a.example/",
    "http://a.example",
    "https://b.a.example",
    "https://evil.test?https://a.example",
    "https://a.example@evil.test",
    "https://a.example, https://evil.test",
    "null",
    "*",
    "",
]
ASKED = "content-type,x-provider-key-anthropic,x-provider-key-of-tomorrow,anthropic-beta"


def cors_of(answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("access-control-")}


def preflight(gateway, origin: str, path: str = "/v1/messages"):
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": ASKED,
    }
    return gateway.ask("OPTIONS", path, headers)


def test_a_listed_page_may_read_every_kind_of_answer(gateway):
    for said, headers in (
        (ask("claude-cors"), {}),
        (ask("openai/sim-cors", stream=True), {}),
        (ask("openai/sim;status=429"), {}),
        (b"{", {}),
    ):
        answer = gateway.post(said, {"origin": LISTED, **headers})
        cors = cors_of(answer)
        assert cors["access-control-allow-origin"] == LISTED
        assert "x-request-id" in cors["access-control-expose-headers"]
        assert "retry-after" in cors["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in cors
        assert answer.header("vary") == "Origin"
    stranger = gateway.ask("POST", "/v1/messages", {"origin": LISTED}, b"{}")
    assert stranger.status == 401
    assert cors_of(stranger)["access-control-allow-origin"] == LISTED
    nowhere = gateway.ask("GET", "/nowhere", {"origin": LISTED})
    assert cors_of(nowhere)["access-control-allow-origin"] == LISTED


@pytest.mark.parametrize("origin", UNLISTED)
def test_no_other_page_may(gateway, origin):
    answer = gateway.post(ask("claude-cors"), {"origin": origin})
    assert answer.status == 200
    assert cors_of(answer) == {}
    assert answer.header("vary") == "Origin"
    assert cors_of(preflight(gateway, origin)) == {}


def test_a_preflight_of_a_listed_page(gateway):
    for path in ("/v1/messages", "/messages"):
        answer = preflight(gateway, LISTED, path)
        assert answer.status == 204
        cors = cors_of(answer)
        assert cors["access-control-allow-origin"] == LISTED
        assert "POST" in cors["access-control-allow-methods"]
        allowed = cors["access-control-allow-headers"].lower().replace(" ", "").split(",")
        assert set(ASKED.split(",")) <= set(allowed)
        assert int(cors["access-control-max-age"]) > 0
        assert answer.body == b""


def test_a_preflight_runs_nothing(gateway, simulator):
    before = simulator.last
    preflight(gateway, LISTED)
    assert simulator.last == before


def test_everybody(open_gateway):
    for origin in ("https://anywhere.test", "null"):
        answer = open_gateway.post(ask("claude-cors"), {"origin": origin})
        assert cors_of(answer)["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in cors_of(answer)
        assert cors_of(preflight(open_gateway, origin))["access-control-allow-origin"] == "*"


def test_nobody_unless_it_is_set(single):
    # No key is asked for here, so that the page is refused and not only its reading.
    for kind in ("application/json", "text/plain"):
        answer = single.post(ask("claude-cors"), {"origin": LISTED, "content-type": kind})
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        assert cors_of(answer) == {}
    assert single.post(ask("claude-cors")).status == 200
    assert cors_of(preflight(single, LISTED)) == {}
    assert preflight(single, LISTED).status == 405

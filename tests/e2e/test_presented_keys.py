"""Providers' keys where the providers' own clients put them, plan logins among them.

The simulator's journal tells which header left, and with which key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import orjson
import pytest

from tests.canary import KEY, PROVIDER_KEY
from tests.e2e.conftest import BEYOND_KEY, lent_key
from tests.e2e.rig import FACES, Gateway, Simulated, ask, digest, headers_of, running

pytestmark = pytest.mark.e2e

# The canary stands within each, so that the session fails wherever one is shown.
PLAN = f"sk-ant-oat01-{PROVIDER_KEY}-plan"
API = f"sk-ant-api03-{PROVIDER_KEY}-api"
PLAIN = f"{PROVIDER_KEY}-plain"
SHAPED = {
    "anthropic": API,
    "openai": f"sk-proj-{PROVIDER_KEY}",
    "oai-resp": f"sk-proj-{PROVIDER_KEY}",
    "groq": f"gsk_{PROVIDER_KEY}",
    "cerebras": f"csk-{PROVIDER_KEY}",
    "gemini": f"AIza{PROVIDER_KEY}",
}
OAUTH = "oauth-2025-04-20"
ALIASES = {
    "claude-first": ["anthropic/claude-pk-down;status=529", "openai/pk-backup"],
    "openai-first": ["openai/pk-down;status=503", "anthropic/claude-pk-backup"],
}
MODES = ["paying", "keyed"]


def _settings(simulator: Simulated, mode: str) -> dict[str, Any]:
    providers: dict[str, Any] = {
        name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)} for name in FACES
    }
    providers["own"] = {"kind": "openai", "api_key": lent_key("own")}
    providers["own"]["base_url"] = simulator.base_url("openai")
    return {
        "auth": {
            "mode": mode,
            "api_keys": {
                "alice": {"key": KEY, "name": "alice"},
                "bob": {"key": BEYOND_KEY, "name": "bob"},
            },
        },
        "breaker": {"enabled": False},
        "retries": {"enabled": False},
        "providers": providers,
        "aliases": ALIASES,
        "cors": {"allowed_origins": ["https://a.example"]},
    }


@pytest.fixture(scope="module")
def paying(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Passthrough: callers pay."""
    folder = tmp_path_factory.mktemp("paying")
    with running(_settings(simulator, "passthrough"), folder, "--single-process") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keyed(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Keys wanted, provider keys lent."""
    folder = tmp_path_factory.mktemp("keyed")
    with running(_settings(simulator, "api_key"), folder, "--single-process") as gateway:
        yield gateway


@pytest.fixture(params=MODES)
def either(request: pytest.FixtureRequest) -> tuple[Gateway, list[tuple[str, str]]]:
    """A gateway, and what a caller presents to it beside a provider's key."""
    own = [("x-vai-key", KEY)] if request.param == "keyed" else []
    return request.getfixturevalue(request.param), own


def post(gateway: Gateway, said: dict[str, Any], *headers: tuple[str, str], path="/v1/messages"):
    fields = [("content-type", "application/json"), *headers]
    return gateway.ask("POST", path, fields, orjson.dumps(said))


def left_with(simulator: Simulated, after: int) -> tuple[str, str]:
    """Header and digest of the only credential of the only request since `after`."""
    (entry,) = simulator.journal(after=after)
    (credential,) = entry["credentials"]
    return credential["header"], credential["sha256"]


def betas(simulator: Simulated, after: int) -> list[str]:
    (entry,) = simulator.journal(after=after)
    return [value for name, value in headers_of(entry) if name == "anthropic-beta"]


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


# --- plan logins -------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    "said",
    [
        ask("claude-plan"),
        ask("anthropic/claude-plan"),
        ask("anthropic/claude-plan", voice={}),
    ],
    ids=["bare", "prefixed", "translated"],
)
def test_a_plan_login_leaves_as_it_must(either, simulator, said, stream):
    gateway, own = either
    before = simulator.last
    listed = ("anthropic-beta", "claude-code-20250219,other-2026-01-01")
    answer = post(gateway, said | {"stream": stream}, *own, bearer(PLAN), listed)
    assert answer.status == 200, answer
    assert left_with(simulator, before) == ("authorization", digest(PLAN))
    assert betas(simulator, before) == [f"{listed[1]},{OAUTH}"]


@pytest.mark.parametrize(
    "listed",
    [[], [OAUTH], ["a", OAUTH, "b"], [f"a, {OAUTH}"], [f" {OAUTH} ,a"]],
)
def test_the_beta_is_listed_once(paying, simulator, listed):
    before = simulator.last
    fields = [("anthropic-beta", value) for value in listed]
    assert post(paying, ask("claude-plan"), bearer(PLAN), *fields).status == 200
    (sent,) = betas(simulator, before)
    asked = [beta.strip() for value in listed for beta in value.split(",")]
    assert sorted(sent.split(",")) == sorted({*asked, OAUTH})


@pytest.mark.parametrize("place", ["header", "body", "x-api-key"])
def test_a_plan_token_is_known_wherever_it_comes(paying, simulator, place):
    before = simulator.last
    said = ask("claude-plan")
    fields = {"header": [("x-provider-key-anthropic", PLAN)], "x-api-key": [("x-api-key", PLAN)]}
    if place == "body":
        said["provider_keys"] = {"anthropic": PLAN}
    assert post(paying, said, *fields.get(place, [])).status == 200
    assert left_with(simulator, before) == ("authorization", digest(PLAN))
    assert betas(simulator, before) == [OAUTH]


def test_a_plan_login_counts_tokens(either, simulator):
    gateway, own = either
    before = simulator.last
    said = ask("claude-plan")
    del said["max_tokens"]
    path = "/v1/messages/count_tokens"
    assert post(gateway, said, *own, bearer(PLAN), path=path).status == 200
    assert left_with(simulator, before) == ("authorization", digest(PLAN))
    assert betas(simulator, before) == [OAUTH]


def test_a_plan_login_of_the_official_sdk(paying, keyed, simulator):
    for gateway, own in ((paying, {}), (keyed, {"x-vai-key": KEY})):
        before = simulator.last
        with anthropic.Anthropic(
            auth_token=PLAN, api_key=None, base_url=gateway.url, default_headers=own
        ) as client:
            client.messages.create(
                model="claude-plan", max_tokens=50, messages=[{"role": "user", "content": "Hi"}]
            )
        assert left_with(simulator, before) == ("authorization", digest(PLAN))


# --- which provider, which header --------------------------------------------------------------

READS = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
PLACED = [
    *(("anthropic", field, API, "x-api-key") for field in ("authorization", "x-api-key")),
    ("anthropic", "x-api-key", PLAIN, "x-api-key"),
    ("anthropic", "authorization", PLAIN, "authorization"),
    *(
        (name, "authorization", token, "authorization")
        for name in ("openai", "oai-resp", "groq", "cerebras")
        for token in (PLAIN, SHAPED[name])
    ),
    ("gemini", "x-goog-api-key", PLAIN, "x-goog-api-key"),
    ("gemini", "x-goog-api-key", SHAPED["gemini"], "x-goog-api-key"),
    *((name, "x-api-key", token, READS.get(name, "authorization"))
      for name, token in SHAPED.items()),
    ("gemini", "authorization", SHAPED["gemini"], "x-goog-api-key"),
    ("own", "authorization", PLAIN, "authorization"),
]  # fmt: skip


def field_of(name: str, token: str) -> tuple[str, str]:
    return bearer(token) if name == "authorization" else (name, token)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(("provider", "field", "token", "leaves"), PLACED, ids=range(len(PLACED)))
def test_a_key_leaves_where_its_provider_reads_it(
    either, simulator, provider, field, token, leaves, stream
):
    gateway, own = either
    before = simulator.last
    answer = post(gateway, ask(f"{provider}/pk", stream=stream), *own, field_of(field, token))
    assert answer.status == 200, answer
    assert left_with(simulator, before) == (leaves, digest(token))


ELSEWHERE = [
    *(
        (provider, "authorization", token)
        for maker, token in [*SHAPED.items(), ("anthropic", PLAN)]
        for provider in [*FACES, "own"]
        if maker.replace("oai-resp", "openai") != provider.replace("oai-resp", "openai")
    ),
    *((name, "x-api-key", PLAIN) for name in [*FACES, "own"] if name != "anthropic"),
    *((name, "x-goog-api-key", PLAIN) for name in [*FACES, "own"] if name != "gemini"),
    ("gemini", "authorization", PLAIN),
]


@pytest.mark.parametrize(("provider", "field", "token"), ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_no_provider_is_shown_the_key_of_another(paying, keyed, simulator, provider, field, token):
    before = simulator.last
    answer = post(paying, ask(f"{provider}/pk"), field_of(field, token))
    assert (answer.status, answer.error["code"]) == (401, "provider_key_missing")
    assert simulator.last == before
    # With a gateway's key the request is served all the same: with the gateway's own.
    answer = post(keyed, ask(f"{provider}/pk"), ("x-vai-key", KEY), field_of(field, token))
    assert answer.status == 200
    expected = (READS.get(provider, "authorization"), digest(lent_key(provider)))
    assert left_with(simulator, before) == expected


@pytest.mark.parametrize("token", [PLAIN, PLAN, API], ids=["plain", "plan", "api"])
def test_a_fallback_is_not_shown_the_key_of_the_first(paying, simulator, token):
    before = simulator.last
    assert post(paying, ask("claude-first"), bearer(token)).status == 529
    assert [entry["provider"] for entry in simulator.journal(after=before)] == ["anthropic"]


def test_a_fallback_is_shown_a_key_that_names_it(paying, simulator):
    before = simulator.last
    answer = post(paying, ask("openai-first"), bearer(PLAIN), ("x-api-key", API))
    assert answer.status == 200
    shown = [entry["credentials"][0] for entry in simulator.journal(after=before)]
    assert [item["sha256"] for item in shown] == [digest(PLAIN), digest(API)]


def test_a_header_that_names_the_provider_goes_first(either, simulator):
    gateway, own = either
    before = simulator.last
    named = ("x-provider-key-anthropic", PLAIN)
    assert post(gateway, ask("claude-pk"), *own, bearer(PLAN), named).status == 200
    assert left_with(simulator, before) == ("x-api-key", digest(PLAIN))
    assert betas(simulator, before) == []


# --- the gateway's keys ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mine",
    [bearer(KEY), ("x-api-key", KEY), ("x-vai-key", KEY)],
    ids=["bearer", "x-api-key", "x-vai-key"],
)
@pytest.mark.parametrize("provider", [*FACES, "own"])
def test_a_key_of_the_gateway_is_no_providers(paying, keyed, simulator, provider, mine):
    before = simulator.last
    also = [("x-goog-api-key", KEY), ("x-api-key", BEYOND_KEY)]
    answer = post(paying, ask(f"{provider}/pk"), mine, *[f for f in also if f[0] != mine[0]])
    assert (answer.status, answer.error["code"]) == (401, "provider_key_missing")
    assert simulator.last == before
    answer = post(keyed, ask(f"{provider}/pk"), ("x-vai-key", BEYOND_KEY), bearer(KEY))
    assert answer.status == 200
    assert left_with(simulator, before)[1] == digest(lent_key(provider))


@pytest.mark.parametrize(
    "own", [KEY[:-1], KEY + "x", PLAN, "no-such"], ids=["cut", "longer", "plan", "other"]
)
@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_key_in_its_own_header_is_refused(request, simulator, mode, own):
    before = simulator.last
    gateway = request.getfixturevalue(mode)
    for beside in ([], [bearer(KEY)], [bearer(PLAN)]):
        answer = post(gateway, ask("claude-pk"), ("x-vai-key", own), *beside)
        assert answer.status == 401
        assert answer.error["message"].startswith("Invalid API key in X-VAI-Key: ")
    assert simulator.last == before


def test_a_plan_login_is_no_key_of_the_gateway(keyed, simulator):
    before = simulator.last
    assert post(keyed, ask("claude-pk"), bearer(PLAN)).status == 401
    assert simulator.last == before


def test_an_empty_header_of_its_own_is_none(keyed, simulator):
    before = simulator.last
    assert post(keyed, ask("claude-pk"), ("x-vai-key", ""), bearer(KEY)).status == 200
    assert left_with(simulator, before) == ("x-api-key", digest(lent_key("anthropic")))


@pytest.mark.parametrize(("key", "name"), [(KEY, "alice"), (BEYOND_KEY, "bob")], ids=["a", "b"])
@pytest.mark.parametrize("mode", MODES)
def test_the_caller_is_known_by_its_own_header(request, mode, key, name):
    gateway = request.getfixturevalue(mode)
    identity = f"pk-{mode}-{name}"
    own = [("x-vai-key", key), ("x-request-id", identity)]
    assert post(gateway, ask("claude-pk"), *own, bearer(PLAN)).status == 200
    lines = gateway.logged(identity).splitlines()
    (line,) = [orjson.loads(line) for line in lines if identity in line]
    assert line["user_id"] == name


def test_a_browser_may_send_the_header(paying):
    asked = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
    ]
    answer = paying.ask("OPTIONS", "/v1/messages", asked)
    assert "x-vai-key" in (answer.header("access-control-allow-headers") or "")


def test_lists_of_models_take_the_header(keyed):
    assert keyed.ask("GET", "/v1/models", [("x-vai-key", KEY), bearer(PLAN)]).status == 200
    assert keyed.ask("GET", "/v1/models", [("x-vai-key", "no"), bearer(KEY)]).status == 401


@pytest.mark.parametrize("value", ["a\tb", "é", "x" * 5000])
def test_a_value_that_is_no_key_is_named_and_not_quoted(paying, simulator, value):
    before = simulator.last
    body = orjson.dumps(ask("claude-pk"))
    raw = b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer %b"
    raw += b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    answer = paying.send(raw % (value.encode("latin-1"), len(body), body))
    assert b"HTTP/1.1 400 " in answer[:20]
    assert value[:20].encode("latin-1") not in answer
    assert simulator.last == before


@pytest.mark.parametrize("name", ["x-vai-key", "x-goog-api-key", "x-api-key", "authorization"])
@pytest.mark.parametrize("mode", MODES)
def test_no_key_comes_twice(request, simulator, mode, name):
    before = simulator.last
    gateway = request.getfixturevalue(mode)
    value = f"Bearer {KEY}" if name == "authorization" else KEY
    answer = post(gateway, ask("claude-pk"), (name, value), (name, value))
    assert (answer.status, answer.error["code"]) == (400, "header_repeated")
    assert simulator.last == before

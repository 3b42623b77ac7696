"""Who may call, whose key pays, and that no key is seen where it does not belong."""

from __future__ import annotations

import orjson
import pytest

from tests.canary import KEY, PROVIDER_KEY
from tests.e2e.conftest import BEYOND_KEY, lent_key
from tests.e2e.rig import FACES, Gateway, Simulated, ask, at_once, body_of, digest

pytestmark = pytest.mark.e2e

OWN = PROVIDER_KEY + "-brought"
OTHER = PROVIDER_KEY + "-other"
HEADERS = {"anthropic": "x-api-key", "openai": "authorization", "gemini": "x-goog-api-key"}


def post(gateway: Gateway, said: dict | bytes, *headers: tuple[str, str]):
    """A request with these headers alone."""
    raw = said if isinstance(said, bytes) else orjson.dumps(said)
    return gateway.ask(
        "POST", "/v1/messages", [("content-type", "application/json"), *headers], raw
    )


def paid_by(simulator: Simulated, model: str) -> tuple[str, str]:
    """Header and digest of the only credential that came with the only request for `model`."""
    (credential,) = simulator.one(model)["credentials"]
    return credential["header"], credential["sha256"]


def refused(answer, message: str) -> None:
    assert answer.status == 401
    assert answer.error["type"] == "authentication_error"
    assert answer.error["message"].startswith(message)
    assert answer.header("www-authenticate") == "Bearer"


# --- who calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", f"Bearer {KEY}")],
        [("Authorization", f"bearer  {KEY}")],
        [("x-api-key", KEY)],
        [("X-API-Key", f" {KEY} ")],
        [("authorization", f"Bearer {KEY}"), ("x-api-key", "no-such")],
        [("authorization", "Basic bm86bm8="), ("x-api-key", KEY)],
        [("x-api-key", BEYOND_KEY)],
    ],
)
def test_a_known_key_in_either_header(gateway, headers):
    assert post(gateway, ask("claude-known"), *headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [[], [("authorization", "Bearer ")], [("x-api-key", "")], [("authorization", f"Basic {KEY}")]],
)
def test_no_key(gateway, headers):
    refused(post(gateway, ask("claude-unpaid"), *headers), "Missing API key")


@pytest.mark.parametrize(
    "key",
    [KEY[:-1], KEY + "x", KEY.upper(), KEY[:20], "'; drop table keys; --", "x" * 3000],
)
@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_an_unknown_key(gateway, name, key):
    value = f"Bearer {key}" if name == "authorization" else key
    refused(post(gateway, ask("claude-unpaid"), (name, value)), "Invalid API key")


def test_a_key_is_asked_for_before_anything_is_read(gateway, simulator):
    refused(post(gateway, b"{"), "Missing API key")
    answer = gateway.ask("POST", f"/v1/messages?api_key={KEY}", [], orjson.dumps(ask("claude-x")))
    refused(answer, "Missing API key")
    assert simulator.journal("claude-unpaid") == []


def test_keys_that_begin_alike_are_different_callers(gateway):
    for key, name in ((KEY, "alice"), (BEYOND_KEY, "bob")):
        identity = f"who-{name}"
        post(gateway, ask("claude-who"), ("x-api-key", key), ("x-request-id", identity))
        lines = gateway.logged(identity).splitlines()
        (line,) = [orjson.loads(line) for line in lines if identity in line]
        assert line["user_id"] == name


def test_everybody_may_call_where_nobody_is_asked(open_gateway):
    assert post(open_gateway, ask("claude-x")).status == 200
    assert post(open_gateway, ask("claude-x"), ("x-api-key", "whatever")).status == 200


def test_passthrough_asks_for_no_key_but_refuses_a_wrong_one(passthrough):
    own = ("x-provider-key-anthropic", OWN)
    assert post(passthrough, ask("claude-x"), own).status == 200
    assert post(passthrough, ask("claude-x"), own, ("x-api-key", KEY)).status == 200
    wrong = post(passthrough, ask("claude-x"), own, ("x-api-key", "no-such"))
    refused(wrong, "Invalid API key")


# --- whose key pays ----------------------------------------------------------------------------


@pytest.mark.parametrize("provider", FACES)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_lent_key(gateway, simulator, provider, stream):
    model = f"sim-lent-{provider}-{stream}"
    assert (
        post(gateway, ask(f"{provider}/{model}", stream=stream), ("x-api-key", KEY)).status == 200
    )
    header = HEADERS.get(provider, "authorization")
    assert paid_by(simulator, model) == (header, digest(lent_key(provider)))


@pytest.mark.parametrize("mode", ["gateway", "passthrough", "single"])
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_header_goes_before_the_body_and_both_before_the_settings(
    request, simulator, provider, mode
):
    gateway = request.getfixturevalue(mode)
    mine = [("x-api-key", KEY)] if mode == "gateway" else []
    spelled = provider.replace("openai", "OpenAI").replace("anthropic", "ANTHROPIC")
    header = (f"X-Provider-Key-{spelled}", OWN)
    body = {"provider_keys": {provider: OTHER}}
    for number, (headers, more, expected) in enumerate(
        [([header], {}, OWN), ([header], body, OWN), ([], body, OTHER)]
    ):
        model = f"sim-byok-{mode}-{provider}-{number}"
        answer = post(gateway, ask(f"{provider}/{model}", **more), *mine, *headers)
        assert answer.status == 200, answer
        assert paid_by(simulator, model) == (HEADERS[provider], digest(expected))


@pytest.mark.parametrize("name", ["x-provider-key-openai", "x-provider-key-gemini"])
def test_a_key_for_another_provider_is_not_used(gateway, simulator, name):
    model = f"sim-other-{name[-6:]}"
    assert post(gateway, ask(f"groq/{model}"), ("x-api-key", KEY), (name, OWN)).status == 200
    assert paid_by(simulator, model) == ("authorization", digest(lent_key("groq")))


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("provider", FACES)
def test_passthrough_never_pays(passthrough, simulator, provider, stream):
    """Keys in the settings and in the environment are there, and stay there."""
    model = f"sim-unpaid-{provider}-{stream}"
    other = "groq" if provider != "groq" else "openai"
    for headers in (
        [],
        [("x-api-key", KEY)],
        [(f"x-provider-key-{other}", OWN)],
        [(f"x-provider-key-{provider}", "  ")],
    ):
        answer = post(passthrough, ask(f"{provider}/{model}", stream=stream), *headers)
        assert answer.status == 401
        assert answer.error["code"] == "provider_key_missing"
        assert answer.error["param"].lower() == f"x-provider-key-{provider}"
    assert simulator.journal(model) == []


def test_a_provider_without_any_key(single, simulator):
    answer = post(single, ask("groq/sim-nokey"))
    assert answer.status == 401
    assert answer.error["type"] == "authentication_error"
    assert answer.error["code"] == "provider_key_missing"
    assert answer.error["param"] == "X-Provider-Key-Groq"
    assert simulator.journal("sim-nokey") == []


def test_nobody_is_served_with_anothers_key(gateway, simulator):
    """Many callers at once, over the same few upstream connections."""

    def call(number: int) -> int:
        mode = ("claude-", "openai/", "anthropic/")[number % 3]
        provider = "openai" if mode == "openai/" else "anthropic"
        said = ask(f"{mode}mixed-{number}", stream=number % 2 == 0)
        own = (f"x-provider-key-{provider}", f"{OWN}-{number}")
        return post(gateway, said, ("x-api-key", KEY), own).status

    assert set(at_once(call, range(60))) == {200}
    for number in range(60):
        model = ("claude-", "", "")[number % 3] + f"mixed-{number}"
        assert paid_by(simulator, model)[1] == digest(f"{OWN}-{number}")


def test_a_key_that_the_provider_refuses(gateway):
    for mode, provider in (("claude-x", "anthropic"), ("openai/x", "openai"), ("groq/x", "groq")):
        own = (f"x-provider-key-{provider}", OWN + "-invalid")
        answer = post(gateway, ask(mode), ("x-api-key", KEY), own)
        assert answer.status == 401
        assert answer.error["type"] == "authentication_error"
        assert OWN.encode() not in answer.body


# --- keys stay where they belong ---------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        b'{"provider_keys":{"anthropic":"@"},"model":"claude-cut-%d","max_tokens":9,"messages":[]}',
        b'{"model":"claude-cut-%d", "provider_keys" : {"anthropic":"@"} ,"max_tokens":9}',
        b'{ "model":"claude-cut-%d",\n"max_tokens":9,\n"provider_keys":{"anthropic":"@"}\n}',
        b'{"model":"claude-cut-%d","provider\\u005fkeys":{"anthropic":"@"},"max_tokens":9}',
    ],
)
def test_keys_are_cut_out_of_a_body_that_is_forwarded(gateway, simulator, written):
    number = abs(hash(written))
    raw = (written % number).replace(b"@", OWN.encode())
    post(gateway, raw, ("x-api-key", KEY))
    arrived = body_of(simulator.one(f"claude-cut-{number}"))
    assert b"keys" not in arrived
    assert OWN.encode() not in arrived
    expected = orjson.loads(raw)
    del expected["provider_keys"]
    assert orjson.loads(arrived) == expected


def test_keys_are_not_translated(gateway, simulator):
    said = ask("openai/sim-cut", provider_keys={"openai": OWN, "anthropic": OTHER})
    assert post(gateway, said, ("x-api-key", KEY)).status == 200
    assert b"CANARY-prov" not in body_of(simulator.one("sim-cut"))


INJECTED = [b"\r", b"\n", b"\0", b"\x7f", b"\x1b[0m", b"\xc3\xa9", b"\xff", b"a\tb", b"x" * 5000]


@pytest.mark.parametrize("stream", [b"false", b"true"])
@pytest.mark.parametrize("injected", INJECTED)
def test_a_header_value_that_is_no_key(open_gateway, simulator, injected, stream):
    before = simulator.last
    body = b'{"model":"claude-inject","max_tokens":9,"messages":[],"stream":%b}' % stream
    answer = open_gateway.send(
        b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        b"X-Provider-Key-Anthropic: sk-%bX-Evil: 1\r\nContent-Length: %d\r\n\r\n%b"
        % (injected, len(body), body)
    )
    head, _, said = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"X-Evil" not in answer
    error = orjson.loads(said)["error"]
    if injected in (b"a\tb", b"x" * 5000):
        assert error["param"].lower() == "x-provider-key-anthropic"
    else:  # no HTTP: refused before anybody knows what the header is for
        assert error["code"] in ("bad_header_value", "bad_header_line", "bad_line_end"), error
    assert simulator.last == before


def test_a_header_of_sixty_four_kilobytes(open_gateway, simulator):
    before = simulator.last
    answer = open_gateway.send(
        b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nX-Provider-Key-Anthropic: "
        + b"k" * 65536
        + b"\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert not answer or answer.split()[1] in (b"400", b"431")
    assert simulator.last == before


@pytest.mark.parametrize(
    "key",
    ["a\r\nX-Evil: 1", "a\nb", "a\0b", "é", "\ufeffk", " a b", "", "k" * 65536, 7, None, ["k"]],
)
def test_a_body_value_that_is_no_key(gateway, simulator, key):
    before = simulator.last
    for model in ("claude-inject", "openai/inject"):
        said = ask(model, provider_keys={"anthropic": key, "openai": key})
        answer = post(gateway, said, ("x-api-key", KEY))
        assert answer.status == 400
        assert answer.error["param"].startswith("provider_keys")
        assert b"X-Evil" not in answer.body
    assert simulator.last == before

"""``GET /v1/models`` as the official clients and plain HTTP see it, and costs in answers."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import quote

import anthropic
import openai
import pytest

from tests.canary import KEY
from tests.e2e.rig import Gateway, Simulated, ask, events
from vai.io.catalogue import installed_catalogue

pytestmark = pytest.mark.e2e

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def chat(gateway: Gateway) -> Iterator[openai.OpenAI]:
    url = f"{gateway.url}/v1"
    with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        yield client


# --- the list ----------------------------------------------------------------------------------


def test_anthropics_client_lists_page_by_page(claude):
    models = list(claude.models.list(limit=7))
    ids = [model.id for model in models]
    assert "claude-opus-5-5" in ids
    assert "openai/gpt-6-sol" in ids
    assert len(set(ids)) == len(ids) > 40
    opus = next(model for model in models if model.id == "claude-opus-5-5")
    assert (opus.type, opus.display_name, opus.line) == ("model", "Claude Opus 5.5", "opus")
    assert (opus.max_input_tokens, opus.max_tokens) == (1_000_000, 128_000)
    assert next(model for model in models if model.id == "smart").display_name


def test_a_page_before_another(claude):
    ids = [model.id for model in claude.models.list(limit=1000).data]
    page = claude.models.list(limit=3, before_id=ids[10])
    assert [model.id for model in page.data] == ids[7:10]
    assert page.has_more
    assert not claude.models.list(limit=3, before_id=ids[2]).has_more


@pytest.mark.parametrize("name", ["claude-haiku-5-5", "groq/openai/gpt-oss-20b", "smart"])
def test_each_client_finds_one_model(claude, chat, name):
    found = claude.models.retrieve(name)
    assert (found.id, found.type) == (name, "model")
    listed = chat.models.retrieve(name)
    assert (listed.id, listed.object) == (name, "model")


def test_openais_client_lists(chat):
    ids = [model.id for model in chat.models.list()]
    assert {"openai/gpt-6-sol", "anthropic/claude-opus-5-5", "fast"} <= set(ids)
    assert chat.models.retrieve("openai/gpt-5").shutdown_date == "2026-12-11"


def test_a_model_that_is_not_listed(claude, chat):
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.models.retrieve("claude-of-tomorrow")
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(openai.NotFoundError):
        chat.models.retrieve("nobody/x")


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_vais_own_form(gateway, path):
    answer = gateway.ask("GET", path, gateway.auth())
    assert answer.status == 200
    assert (answer.header("cache-control") or "").startswith("private")
    page = answer.json
    assert set(page) == {"object", "data", "providers", "aliases", "voice"}
    providers = {provider["id"]: provider for provider in page["providers"]}
    assert providers["groq"]["status"] == "configured"
    sonnet = next(m for m in providers["anthropic"]["models"] if m["id"] == "claude-sonnet-5-5")
    assert sonnet["full_id"] == "anthropic/claude-sonnet-5-5"
    assert sonnet["capabilities"]["vision"] is True
    assert sonnet["pricing"]["input_per_mtok"] == 2.0
    assert page["aliases"] == {
        "fast": "groq/openai/gpt-oss-20b",
        "smart": "anthropic/claude-alias-1",
    }


def test_what_is_simulated_says_so(open_gateway):
    page = open_gateway.ask("GET", "/v1/models").json
    states = {provider["id"]: provider["status"] for provider in page["providers"]}
    assert states["openai"] == "configured"
    assert states["anthropic"] == "simulated"


def test_a_passthrough_gateway_lends_nothing(passthrough):
    headers = {"x-provider-key-openai": "sk-own"}
    page = passthrough.ask("GET", "/v1/models", headers).json
    assert {provider["status"] for provider in page["providers"]} == {"byok"}


@pytest.mark.parametrize("path", ["/v1/models", "/models/fast"])
def test_a_probe_without_a_body(gateway, path):
    answer = gateway.ask("HEAD", path, gateway.auth())
    assert (answer.status, answer.body) == (200, b"")


def models_of(gateway: Gateway, query: str) -> dict[str, list[str]]:
    answer = gateway.ask("GET", f"/v1/models?{query}", gateway.auth())
    assert answer.status == 200, answer.body
    return {row["id"]: [model["id"] for model in row["models"]] for row in answer.json["providers"]}


def test_filters(gateway):
    everything = models_of(gateway, "")
    assert models_of(gateway, "provider=groq") == {"groq": everything["groq"]}
    seeing = models_of(gateway, "capability=vision")
    assert seeing["groq"] == ["qwen/qwen3.8-27b"]
    assert models_of(gateway, "capability=vision&provider=groq") == {"groq": seeing["groq"]}
    assert models_of(gateway, "capability=audio_output&provider=groq") == {}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("capability=telepathy", "capability"),
        ("provider=nobody", "provider"),
        ("Provider=groq", "provider"),
        ("providers=groq", "provider"),
        ("capabilty=vision", "capability"),
        ("provider=groq&provider=openai", "provider"),
        ("provider=nobody&format=openai", "provider"),
        ("format=xml", "format"),
        ("format=anthropic&limit=0", "limit"),
        ("format=anthropic&limit=1001", "limit"),
        ("format=anthropic&limit=many", "limit"),
        ("format=anthropic&after_id=nobody", "after_id"),
        ("format=anthropic&before_id=nobody", "before_id"),
    ],
)
def test_a_query_that_cannot_be(gateway, query, param):
    answer = gateway.ask("GET", f"/v1/models?{query}", gateway.auth())
    assert answer.status == 400
    assert answer.error["param"] == param


def test_the_form_is_the_querys_then_the_headers(gateway):
    def shape(query: str, headers: dict[str, str]) -> set[str]:
        return set(gateway.ask("GET", f"/v1/models{query}", gateway.auth() | headers).json)

    assert shape("", VERSION) == {"data", "has_more", "first_id", "last_id"}
    assert shape("?format=openai", VERSION) == {"object", "data"}
    assert "providers" in shape("?format=vai", VERSION)
    assert "has_more" in shape("?format=anthropic", {})


@pytest.mark.parametrize("form", ["openai", "anthropic"])
def test_filters_hold_in_every_form(gateway, form):
    def ids(query: str) -> list[str]:
        path = f"/v1/models?limit=1000&format={form}{query}"
        return [model["id"] for model in gateway.ask("GET", path, gateway.auth()).json["data"]]

    of_groq = [name for name in ids("") if name.startswith("groq/") or name == "fast"]
    assert ids("&provider=groq") == of_groq
    assert ids("&provider=groq&capability=vision") == ["groq/qwen/qwen3.8-27b"]
    assert ids("&beta=true") == ids("")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/claude-opus-5"])
def test_a_key_is_wanted(gateway, path):
    answer = gateway.ask("GET", path)
    assert answer.status == 401
    assert answer.error["type"] == "authentication_error"


def test_a_name_with_slashes_escaped_or_not(gateway):
    name = "groq/openai/gpt-oss-120b"
    for path in (name, quote(name, safe="")):
        answer = gateway.ask("GET", f"/v1/models/{path}", gateway.auth())
        assert answer.json["id"] == name
        assert answer.json["context_window"] == 131_072


# --- bare names --------------------------------------------------------------------------------


def test_a_bare_name_of_the_catalogue_finds_its_provider(gateway):
    answer = gateway.post(ask("gpt-6-sol"))
    assert answer.status == 200
    assert answer.json["model"].startswith("openai/")
    unknown = gateway.post(ask("gpt-of-tomorrow"))
    assert unknown.status == 400


# --- costs -------------------------------------------------------------------------------------


def dollars(model: str, usage: dict[str, int]) -> Decimal:
    """The cost by hand, of models whose price has no steps in reach."""
    card = installed_catalogue().find_card(*model.split("/", 1))
    assert card is not None
    price = card.prices[0]
    pairs = [
        (usage["input_tokens"], price.input),
        (usage["output_tokens"], price.output),
        (usage.get("cache_read_input_tokens", 0), price.cache_read),
        (usage.get("cache_creation_input_tokens", 0), price.cache_write),
    ]
    return sum((n * Decimal(p or "NaN") for n, p in pairs if n), Decimal(0)) / 1_000_000


PRICED = ["anthropic/claude-haiku-4-5", "openai/gpt-6-luna", "groq/openai/gpt-oss-20b"]


@pytest.mark.parametrize("model", PRICED)
def test_the_cost_of_a_json_answer(gateway, model):
    answer = gateway.post(ask(model, "What does this cost?"))
    usage = answer.json["usage"]
    expected = dollars(model, usage)
    assert expected > 0
    assert abs(Decimal(usage["cost_usd"]) - expected) < Decimal("1e-12")
    assert abs(Decimal(answer.header("x-cost-usd") or "") - expected) < Decimal("1e-12")


@pytest.mark.parametrize("model", PRICED)
def test_the_cost_of_a_stream_is_in_its_last_usage(gateway, model):
    said = events(gateway.post(ask(model, "And this, streamed?", stream=True)).body)
    usage = next(event for event in said if event["type"] == "message_delta")["usage"]
    opened = next(event for event in said if event["type"] == "message_start")["message"]["usage"]
    assert "cost_usd" not in opened
    expected = dollars(model, opened | usage)
    assert expected > 0
    assert abs(Decimal(usage["cost_usd"]) - expected) < Decimal("1e-12")


def test_an_unknown_cost_is_no_cost_of_zero(gateway):
    answer = gateway.post(ask("openai/model-of-tomorrow"))
    assert answer.status == 200
    assert "cost_usd" not in answer.json["usage"]
    assert answer.header("x-cost-usd") is None


def test_a_bare_name_keeps_the_upstreams_bytes(gateway):
    answer = gateway.post(ask("claude-haiku-4-5"))
    assert "cost_usd" not in answer.json["usage"]
    assert Decimal(answer.header("x-cost-usd") or "0") > 0


def test_the_log_line_has_the_cost(gateway):
    answer = gateway.post(ask(PRICED[0]), {"x-request-id": "cost-in-the-log"})
    line = next(
        line
        for line in gateway.logged('"cost-in-the-log"').splitlines()
        if '"cost-in-the-log"' in line
    )
    assert f'"cost_usd":{answer.json["usage"]["cost_usd"]}' in line


# --- limits of a model -------------------------------------------------------------------------


def test_more_tokens_than_a_model_gives_are_cut_and_told(gateway: Gateway, simulator: Simulated):
    before = simulator.last
    answer = gateway.post(ask("groq/qwen/qwen3.8-27b", max_tokens=999_999))
    assert answer.status == 200
    assert "max_tokens" in (answer.header("x-vai-dropped") or "")
    entry = simulator.journal("qwen/qwen3.8-27b", before)[-1]
    assert '"max_completion_tokens":16384' in entry["body"].replace(" ", "")

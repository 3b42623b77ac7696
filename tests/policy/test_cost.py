"""What an exchange costs: exact to the last digit of a decimal sum, or not known."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai.io.catalogue import installed_catalogue
from vai.policy import cost
from vai.policy.catalogue import Catalogue
from vai.policy.cost import (
    UNKNOWN,
    ModelTerms,
    Pricing,
    compute_cost,
    format_cost,
    price_on,
    rates_on,
)
from vai.types.catalogue import Charges, MaxOutput, ModelCard, Price
from vai.types.message import Usage

DAY = date(2026, 11, 22)
CLOSE = Decimal("1e-12")


def usd(provider: str, model: str, usage: Usage, day: date = DAY) -> float | None:
    return (
        Pricing(installed_catalogue())
        .find_terms(provider, model, streamed=False, day=day)
        .cost(usage)
    )


def used(fresh: int | None, made: int | None, read: int = 0, written: int = 0, **extra: Any):
    return Usage(
        input_tokens=fresh,
        output_tokens=made,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        extra=extra,
    )


@pytest.mark.parametrize(
    ("provider", "model", "usage", "expected"),
    [
        ("anthropic", "claude-opus-5-5", used(1_000_000, 0), "4"),
        ("anthropic", "claude-opus-5-5", used(100, 10, 1000, 2000), "0.0108"),
        ("anthropic", "claude-opus-5-5-20261101", used(1_000_000, 0), "4"),
        ("anthropic", "claude-haiku-4-5-20251001", used(0, 1_000_000), "5"),
        ("openai", "gpt-6-sol", used(1000, 1000, 1000, 1000), "0.0147"),
        ("oai-resp", "gpt-6-sol", used(1000, 1000, 1000, 1000), "0.0147"),
        ("groq", "openai/gpt-oss-20b", used(1, 1, 1), "0.0000004125"),
        ("gemini-oauth", "gemini-2.5-pro", used(500, 500), "0"),
    ],
)
def test_prices(provider, model, usage, expected):
    found = usd(provider, model, usage)
    assert found is not None
    assert abs(Decimal(found) - Decimal(expected)) < CLOSE


@pytest.mark.parametrize(
    ("provider", "model", "at", "below", "above"),
    [
        # A prompt beyond the step pays the higher price for each of its tokens.
        ("anthropic", "claude-haiku-5-5", 100_000, "0.01", "0.0500005"),
        ("openai", "gpt-6-sol", 272_000, "0.544", "1.088004"),
        ("gemini", "gemini-2.5-pro", 200_000, "0.25", "0.5000025"),
    ],
)
def test_steps(provider, model, at, below, above):
    assert usd(provider, model, used(at, 0)) == pytest.approx(float(below), abs=1e-12)
    assert usd(provider, model, used(at + 1, 0)) == pytest.approx(float(above), abs=1e-12)


def test_the_whole_prompt_decides_and_the_answer_pays_too():
    small, large = used(1, 1000, 99_999), used(1, 1000, 100_000)
    low, high = (usd("anthropic", "claude-haiku-5-5", usage) for usage in (small, large))
    assert low == pytest.approx(1e-7 + 5e-4 + 99_999 * 1e-8, abs=1e-12)
    assert high == pytest.approx(5e-7 + 25e-4 + 100_000 * 5e-8, abs=1e-12)


def test_a_price_changes_with_the_day():
    usage = used(1_000_000, 1_000_000)
    assert usd("gemini", "gemini-4-argon", usage, date(2026, 11, 30)) == 12.0
    assert usd("gemini", "gemini-4-argon", usage, date(2026, 12, 1)) == 24.0
    pricing = Pricing(installed_catalogue())
    days = [date(2026, 11, 30), date(2026, 12, 1), date(2026, 11, 30)]
    found = [
        pricing.find_terms("gemini", "gemini-4-argon", streamed=False, day=day).cost(usage)
        for day in days
    ]
    assert found == [12.0, 24.0, 12.0]


def test_cache_writes_by_lifetime():
    parts = {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}
    found = usd("anthropic", "claude-opus-5-5", used(0, 0, 0, 1000, cache_creation=parts))
    assert found == pytest.approx((400 * 5 + 600 * 8) / 1e6, abs=1e-12)


@pytest.mark.parametrize(
    ("extra", "factor"),
    [
        ({"service_tier": "standard", "inference_geo": "global", "speed": "standard"}, 1),
        ({"service_tier": None}, 1),
        ({"service_tier": "batch"}, 0.5),
        ({"inference_geo": "us"}, 1.1),
        ({"service_tier": "batch", "inference_geo": "us"}, 0.55),
        ({"speed": "fast"}, 2),
    ],
)
def test_factors(extra, factor):
    found = usd("anthropic", "claude-opus-5-5", used(1000, 1000, **extra))
    assert found == pytest.approx(0.024 * factor, abs=1e-12)


REGIONAL = {"openai": "regional", "oai-resp": "regional", "mine": "regional"}


def regional_usd(provider: str, model: str, usage: Usage) -> float | None:
    pricing = Pricing(installed_catalogue(), REGIONAL)
    return pricing.find_terms(provider, model, streamed=False, day=DAY).cost(usage)


@pytest.mark.parametrize(
    ("model", "factor"),
    [("gpt-6-sol", 1.1), ("gpt-5.4", 1.1), ("gpt-6.2-sol", 1.1), ("gpt-5.2", 1), ("gpt-4o", 1)],
)
def test_hosts_of_one_region_cost_more_for_models_since_march(model, factor):
    """The uplift holds for what OpenAI has released since 2026-03-05."""
    usage = used(1000, 1000, 1000)
    plain = usd("openai", model, usage)
    assert plain
    for provider in ("openai", "oai-resp"):
        assert regional_usd(provider, model, usage) == pytest.approx(plain * factor, abs=1e-12)


def test_the_region_goes_with_tiers_and_leaves_tools_alone():
    usage = used(1000, 1000, service_tier="flex", server_tool_use={"web_search_requests": 2})
    assert regional_usd("openai", "gpt-6-sol", usage) == pytest.approx(
        0.012 * 1.1 * 0.5 + 0.02, abs=1e-12
    )


def test_a_region_without_a_factor_makes_the_cost_unknown():
    card = ModelCard(provider="mine", id="m", prices=(Price(input="1", output="1"),))
    pricing = Pricing(Catalogue([card]), REGIONAL)
    assert pricing.find_terms("mine", "m", streamed=False, day=DAY).cost(used(1, 1)) is None
    assert rates_on(card, DAY) is not None


def test_the_same_model_has_a_price_in_and_out_of_a_region():
    """Two providers may have one card, as with `price_as`."""
    known = Catalogue(
        installed_catalogue().cards, {"far": installed_catalogue().find_card("openai", "gpt-6-sol")}
    )
    pricing = Pricing(known, {"far": "regional"})
    usage = used(1_000_000, 0)
    assert pricing.find_terms("openai", "gpt-6-sol", streamed=False, day=DAY).cost(usage) == 4.0
    assert pricing.find_terms("far", "any", streamed=False, day=DAY).cost(usage) == 4.4


@pytest.mark.parametrize(
    ("provider", "model", "day", "usage", "expected"),
    [
        ("gemini", "gemini-4-argon", date(2026, 12, 1), used(0, 0, 1_000_000), 0.2),
        ("gemini", "gemini-4-carbon", date(2026, 11, 30), used(1_000_000, 0), 2.0),
        ("gemini", "gemini-4-carbon", date(2026, 12, 1), used(1_000_000, 0), 4.0),
        ("gemini", "gemini-3.8-flash", date(2027, 1, 1), used(1_000_000, 0), 1.5),
        ("openai", "gpt-6-sol", DAY, used(0, 0, 0, 300_000), 1.5),
        ("openai", "gpt-5.6-luna", DAY, used(0, 0, 0, 300_000), 0.15),
        ("openai", "gpt-6.2-sol", DAY, used(1_000_000, 0), 4.0),
        ("openai", "gpt-6.2-astra", DAY, used(100_000, 0), 0.8),
        ("openai", "gpt-5", DAY, used(1_000_000, 0), 1.25),
        ("openai", "o3", DAY, used(0, 1_000_000), 8.0),
        ("openai", "gpt-5.6", DAY, used(100_000, 0), 0.4),
        ("oai-resp", "gpt-5.5-pro", DAY, used(100_000, 0), 3.0),
        ("anthropic", "claude-fable-5-2", DAY, used(1_000_000, 0, speed="fast"), 16.0),
        ("openai", "gpt-4o", DAY, used(1_000_000, 0, service_tier="priority"), 4.25),
        ("openai", "gpt-5.5", DAY, used(100_000, 0, service_tier="fast"), 1.25),
    ],
)
def test_prices_that_were_missing(provider, model, day, usage, expected):
    found = usd(provider, model, usage, day)
    assert found is not None
    assert found == pytest.approx(expected, abs=1e-9)


def test_server_tools_are_paid_by_use_and_without_factors():
    tools = {"web_search_requests": 3, "web_fetch_requests": 0}
    extra = {"server_tool_use": tools, "service_tier": "batch"}
    found = usd("anthropic", "claude-opus-5-5", used(1000, 0, **extra))
    assert found == pytest.approx(0.002 + 0.03, abs=1e-12)


@pytest.mark.parametrize(
    "tools",
    [
        {"web_fetch_requests": 1},
        {"tool_of_tomorrow": 7, "web_search_requests": 0},
        {"web_search_requests": 2**60},
        {"web_search_requests": -1},
        {"web_search_requests": "many"},
        ["web_search"],
    ],
)
def test_tools_without_a_price_do_not_hide_what_the_tokens_cost(tools):
    """Where a tool has no price, and where its counter is none."""
    plain = usd("openai", "gpt-6-sol", used(1000, 1000))
    assert plain
    assert usd("openai", "gpt-6-sol", used(1000, 1000, server_tool_use=tools)) == plain


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("model-of-tomorrow", used(1, 1)),
        ("gpt-6.2-astra-law", used(1, 1)),  # listed, and without a price
        ("gpt-6-sol", used(None, 1)),
        ("gpt-6-sol", used(1, None)),
        ("gpt-6-sol", used(-1, 1)),
        ("gpt-6-sol", used(1, 2**60)),
        ("gpt-5.4", used(1, 1, 0, 1)),  # a cache write whose price nobody has stated
        ("gpt-5.5", used(300_000, 1, 0, 1)),  # the same beyond the step
        ("gpt-6-sol", used(1, 1, service_tier="ultrafast")),
        ("gpt-6-sol", used(1, 1, service_tier=["flex"])),
        ("gpt-audio-1.5", used(1, 1, audio_tokens=1)),
    ],
)
def test_what_is_not_known_is_none(model, usage):
    assert usd("openai", model, usage) is None


def test_counters_that_are_not_there_are_part_of_the_input():
    assert usd("openai", "gpt-6-sol", Usage(input_tokens=1000, output_tokens=0)) == 0.002


def test_nothing_used_costs_nothing():
    assert usd("openai", "gpt-6-sol", used(0, 0)) == 0.0


money = st.decimals(0, 999_999, places=6, allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10_000_000)


@given(st.tuples(money, money, money, money), st.tuples(counts, counts, counts, counts))
def test_sums_are_those_of_decimals(prices, tokens):
    texts = [format(price, "f") for price in prices]
    price = Price(input=texts[0], output=texts[1], cache_read=texts[2], cache_write=texts[3])
    rates = rates_on(ModelCard(provider="p", id="m", prices=(price,)), DAY)
    found = compute_cost(rates, used(*tokens))
    exact = sum((a * b for a, b in zip(prices, tokens, strict=True)), Decimal(0)) / 1_000_000
    # A float has 53 bits: beyond about 4500 USD its own grain is coarser than 1e-12.
    assert found == float(exact)
    if exact < 1000:
        assert abs(Decimal(found) - exact) < CLOSE


def test_factors_of_odd_size_stay_exact():
    card = ModelCard(
        provider="p",
        id="m",
        prices=(Price(input="0.000001", output="0.1"),),
        charges=Charges(factors={"odd": "1.001"}),
    )
    found = compute_cost(rates_on(card, DAY), used(3, 7, service_tier="odd"))
    exact = (Decimal(3) * Decimal("0.000001") + Decimal("0.7")) * Decimal("1.001") / 1_000_000
    assert found == float(exact)


def test_the_rates_of_a_day_are_worked_out_once():
    pricing = Pricing(Catalogue([ModelCard(provider="p", id="m", prices=(Price(input="1"),))]))
    first = pricing.find_terms("p", "m", streamed=False, day=DAY).cost
    again = pricing.find_terms("p", "m", streamed=False, day=DAY).cost
    assert first._rates is again._rates
    for number in range(50):
        pricing.find_terms("p", f"unknown-{number}", streamed=False, day=DAY)
    assert len(pricing._rates) == 1


def test_a_day_without_a_price():
    card = ModelCard(provider="p", id="m", prices=(Price(since=date(2027, 1, 1), input="1"),))
    assert price_on(card, DAY) is None
    assert rates_on(card, DAY) is None


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0.0, "0.0"), (4e-07, "0.0000004"), (1.5, "1.5"), (12.0, "12.0"), (1e-12, "0.000000000001")],
)
def test_a_header_has_plain_digits(usd, text):
    assert format_cost(usd) == text


def test_limits():
    terms = ModelTerms(max_output=100)
    assert [terms.max_output_cap(n) for n in (None, 100, 101)] == [None, None, 100]
    assert UNKNOWN.max_output_cap(10**9) is None
    argon = MaxOutput(stream=65_536, unstreamed=32_768)
    assert (argon.limit_for(streamed=True), argon.limit_for(streamed=False)) == (65_536, 32_768)
    assert MaxOutput(stream=1, unstreamed=1, continued=9).limit_for(streamed=False) == 9


def test_the_cost_of_one_usage_is_computed_once(monkeypatch):
    computed = []

    def count(rates, usage):
        computed.append(usage)
        return compute_cost(rates, usage)

    monkeypatch.setattr(cost, "compute_cost", count)
    terms = Pricing(installed_catalogue()).find_terms(
        "gemini", "gemini-4-argon", streamed=False, day=DAY
    )
    first, second = used(100, 10), used(100, 20)
    assert terms.cost(first) == terms.cost(first) == terms.cost(used(100, 10))
    assert len(computed) == 1
    assert terms.cost(second) != terms.cost(first)
    assert computed == [first, second, first]

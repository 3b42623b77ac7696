"""What an exchange costs, from its usage and the provider's list prices.

Invariants: unknown is None and never 0. A missing counter, a price without a source for tokens
that were used, a service tier or a region without a factor: each makes the whole cost unknown. Of
the tools that a provider ran, the cost includes those with a price; those without one do not make
it unknown. Prices are decimals, so VAI adds whole numbers of 1e-12 USD and converts the sum to a
float once, at the end.

The module has list prices only: it leaves out free allowances and discounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from vai.policy.catalogue import Catalogue
from vai.types.catalogue import CostFunction, Modality, ModelCard, Price
from vai.types.message import Usage
from vai.types.provider import ProviderSpec

__all__ = [
    "UNKNOWN",
    "ExchangeCost",
    "ModelTerms",
    "Pricing",
    "Rates",
    "compute_cost",
    "format_cost",
    "price_on",
    "rates_on",
    "regions_of_hosts",
]

_PICO: Final = 10**12
_RATE: Final = 10**6
"""USD per million tokens -> 1e-12 USD per token."""
_MOST: Final = 2**53
"""VAI treats larger counters from an upstream as invalid."""

_ONE: Final = 1000
"""A factor of 1, in thousandths."""

# What providers call the price that is on the list.
_LISTED: Final = frozenset({"standard", "default", "auto", "on_demand", "standard_only"})
_ANYWHERE: Final = frozenset({"global", "not_available"})


class _Step(msgspec.Struct, frozen=True, gc=False):
    """Rates in 1e-12 USD per token, for prompts longer than `over`."""

    over: int
    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None


class Rates(msgspec.Struct, frozen=True):
    """A model's prices of one day. `steps` are the highest threshold first.

    `factors` are thousandths; `tools` are 1e-12 USD per use. `regional` is the factor, in
    thousandths, that every request pays for the region of the provider's host.
    """

    steps: tuple[_Step, ...]
    factors: Mapping[str, int]
    tools: Mapping[str, int]
    regional: int = _ONE


def price_on(card: ModelCard, day: date) -> Price | None:
    """The price of ordinary prompts on that day, None where it is not known."""
    return next((p for p in card.prices if not p.over_input_tokens and p.applies_on(day)), None)


def rates_on(card: ModelCard, day: date, region: str | None = None) -> Rates | None:
    """The rates of that day, None where there is no price, or no factor for `region`."""
    if price_on(card, day) is None:
        return None
    factors = {name: int(Decimal(text) * _ONE) for name, text in card.charges.factors.items()}
    regional = _ONE if region is None else factors.get(region)
    if regional is None:
        return None
    held = [price for price in card.prices if price.applies_on(day)]
    held.sort(key=lambda price: -price.over_input_tokens)
    return Rates(
        tuple(
            _Step(
                price.over_input_tokens,
                _parse_rate(price.input),
                _parse_rate(price.output),
                _parse_rate(price.cache_read),
                _parse_rate(price.cache_write),
                _parse_rate(price.cache_write_1h),
            )
            for price in held
        ),
        factors,
        {
            # USD per thousand uses
            name: int(Decimal(text) * _PICO / 1000)
            for name, text in card.charges.server_tools.items()
        },
        regional,
    )


def _parse_rate(text: str | None) -> int | None:
    return None if text is None else int(Decimal(text) * _RATE)


def compute_cost(rates: Rates | None, usage: Usage) -> float | None:
    """USD of `usage`, None where a part of it is unknown.

    The counters of `usage` are disjoint. A cache counter that is None is no gap: `input_tokens`
    then includes its tokens.
    """
    fresh, made = usage.input_tokens, usage.output_tokens
    if rates is None or fresh is None or made is None:
        return None
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    prompt = fresh + read + written
    if min(fresh, made, read, written) < 0 or prompt + made > _MOST:
        return None
    step = rates.steps[-1]  # that of a prompt of any length
    for dearer in rates.steps:
        if prompt > dearer.over:
            step = dearer
            break
    extra = usage.extra
    long_lived = _long_lived(extra, written) if written else 0
    total = 0
    for tokens, rate in (
        (fresh, step.input),
        (made, step.output),
        (read, step.cache_read),
        (written - long_lived, step.cache_write),
        (long_lived, step.cache_write_1h),
    ):
        if tokens:
            if rate is None:
                return None
            total += tokens * rate
    if rates.regional != _ONE:
        total *= rates.regional
        return (
            _apply_factors(rates, extra, total, _PICO * _ONE) if extra else total / (_PICO * _ONE)
        )
    return _apply_factors(rates, extra, total, _PICO) if extra else total / _PICO


def _long_lived(extra: Mapping[str, Any], written: int) -> int:
    """How many of the tokens that were `written` to the cache stay there for an hour."""
    parts = extra.get("cache_creation")
    tokens = parts.get("ephemeral_1h_input_tokens") if isinstance(parts, dict) else None
    return min(max(tokens, 0), written) if type(tokens) is int else 0


def _apply_factors(rates: Rates, extra: Mapping[str, Any], total: int, scale: int) -> float | None:
    """`total` with the factors of the request, and its server tools; in USD.

    Args:
        scale: how many of the units of `total` are one dollar.
    """
    if extra.get("audio_tokens"):
        return None  # they have a price of their own, and the catalogue has only that of text
    for name, listed in (
        ("service_tier", _LISTED),
        ("speed", _LISTED),
        ("inference_geo", _ANYWHERE),
    ):
        factor_name = extra.get(name)
        if factor_name is None:
            continue
        if not isinstance(factor_name, str):
            return None
        if factor_name in listed:
            continue
        factor = rates.factors.get(factor_name)
        if factor is None:
            return None
        total *= factor
        scale *= _ONE
    used = extra.get("server_tool_use")
    if isinstance(used, dict):
        for name, count in used.items():
            if type(count) is not int or count == 0:
                continue
            price = rates.tools.get(name.removesuffix("_requests"))
            if price is not None and 0 < count < _MOST:
                total += count * price * (scale // _PICO)
    return total / scale


def format_cost(usd: float) -> str:
    """A cost as plain decimal digits, for a header."""
    text = f"{usd:.12f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


class ExchangeCost:
    """The USD of one exchange's usage; see `compute_cost`.

    The body, the header and the log line of a response name the same cost, so this object
    remembers the last one.
    """

    __slots__ = ("_rates", "_usage", "_usd")

    def __init__(self, rates: Rates | None) -> None:
        self._rates = rates
        self._usage: Usage | None = None
        self._usd: float | None = None

    def __call__(self, usage: Usage) -> float | None:
        if usage is not self._usage and usage != self._usage:
            self._usage, self._usd = usage, compute_cost(self._rates, usage)
        return self._usd


class ModelTerms(msgspec.Struct, frozen=True):
    """The catalogue's facts of the model that an exchange goes to.

    `max_output` is in tokens, None where it is not known; `cost` returns USD; `input` is what the
    model accepts as input, None where it is not known.
    """

    max_output: int | None = None
    cost: CostFunction = partial(compute_cost, None)
    input: tuple[Modality, ...] | None = None

    def max_output_cap(self, max_tokens: int | None) -> int | None:
        """The limit of a response, if the request wants more."""
        most = self.max_output
        return most if max_tokens is not None and most is not None and max_tokens > most else None


UNKNOWN: Final = ModelTerms()
"""The terms of a model that is not in the catalogue."""


_REGIONAL: Final[Mapping[str, str]] = MappingProxyType({".api.openai.com": "regional"})
"""End of a host's name -> the factor of the catalogue that its requests pay.

OpenAI: https://developers.openai.com/api/docs/guides/data-residency (2026-11-28), 10 % more at
`eu.api.openai.com` and its like for the models released since 2026-03-05.
"""


def regions_of_hosts(specs: Iterable[ProviderSpec]) -> dict[str, str]:
    """Return provider -> the factor that its host implies, for those whose host implies one.

    A provider may charge more for requests that it processes in one region. Where the request
    names the region (`inference_geo`), the response's usage states it; where the host of the base
    URL implies it, only the settings show it.
    """
    factors: dict[str, str] = {}
    for spec in specs:
        host = (urlsplit(spec.base_url).hostname or "").rstrip(".")
        for end, factor in _REGIONAL.items():
            if host.endswith(end):
                factors[spec.id] = factor
    return factors


class Pricing:
    """The rates of a catalogue's models, computed once a day and model.

    Args:
        regions: provider -> the factor that its host implies; see `regions_of_hosts`.
    """

    def __init__(
        self, catalogue: Catalogue, regions: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._catalogue = catalogue
        self._regions = regions
        self._day = date.min
        self._rates: dict[tuple[str, str, str | None], Rates | None] = {}

    def find_terms(self, provider: str, model: str, *, streamed: bool, day: date) -> ModelTerms:
        """The terms of a request to `model` on `day`."""
        card = self._catalogue.find_card(provider, model)
        if card is None:
            return UNKNOWN
        rates = self._rates_of(card, day, self._regions.get(provider))
        return ModelTerms(
            card.max_output.limit_for(streamed=streamed), ExchangeCost(rates), card.input
        )

    def _rates_of(self, card: ModelCard, day: date, region: str | None) -> Rates | None:
        if day != self._day:
            self._day, self._rates = day, {}
        # Keyed by card, whose number is fixed; clients choose the names.
        key = (card.provider, card.id, region)
        if key not in self._rates:
            self._rates[key] = rates_on(card, day, region)
        return self._rates[key]

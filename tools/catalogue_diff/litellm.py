"""Reads the list of `litellm`: a JSON table, prices in USD per token, undated."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgspec

from tools.catalogue_diff.listed import SNAPSHOT, Listed, PriceList, Steps, number
from tools.catalogue_diff.wheels import Wheel

__all__ = ["PACKAGE", "read"]

PACKAGE: Final = "litellm"
_FILE: Final = "litellm/model_prices_and_context_window_backup.json"
_PROVIDERS: Final = ("anthropic", "openai", "gemini", "groq", "cerebras")
_MODES: Final = ("chat", "responses")
_NAMES: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
}
_STEP: Final = re.compile(r"_above_(\d+)k_tokens\Z")
_TIERS: Final = ("flex", "priority", "fast", "ultrafast")
_EFFORTS: Final = ("none", "minimal", "low", "xhigh", "max")
_REGION: Final = "regional_processing_uplift_multiplier_eu"


def read(wheel: Wheel, today: date) -> PriceList:
    """The list of a wheel.

    Raises:
        KeyError, msgspec.DecodeError: the wheel has no such list.
    """
    data = wheel.read(_FILE)
    rows: dict[str, dict[str, Any]] = msgspec.json.decode(data)
    dated = wheel.dated(data, today)
    models: dict[str, Listed] = {}
    for key, row in rows.items():
        provider = row.get("litellm_provider")
        if provider in _PROVIDERS and row.get("mode") in _MODES:
            model = key.removeprefix(f"{provider}/") if provider != "openai" else key
            if not SNAPSHOT.search(model):
                models[f"{provider}/{model}"] = _listed(provider, model, row, today, dated)
    return PriceList(
        package=PACKAGE, version=wheel.version, dated=dated, schedules=False, models=models
    )


def _listed(provider: str, model: str, row: dict[str, Any], today: date, dated: str) -> Listed:
    facts: dict[str, str] = {}
    for name, key in (("window", "max_input_tokens"), ("max_output", "max_output_tokens")):
        if isinstance(row.get(key), int | float):
            facts[name] = number(int(row[key]))
    retires = row.get("deprecation_date")
    if isinstance(retires, str):
        facts["retires_at"] = retires
    base = row.get("input_cost_per_token")
    for tier in _TIERS:
        of_tier = row.get(f"input_cost_per_token_{tier}")
        if base and of_tier:
            facts[f"factor {tier}"] = _ratio(of_tier, base)
    if _REGION in row:
        facts["factor regional"] = number(row[_REGION])
    for name, factor in (row.get("provider_specific_entry") or {}).items():
        if name in ("us", "fast"):
            facts[f"factor {name}"] = number(factor)
    for word in _EFFORTS:
        known = row.get(f"supports_{word}_reasoning_effort")
        if isinstance(known, bool):
            facts[f"effort {word}"] = "yes" if known else "no"
    searches = (row.get("search_context_cost_per_query") or {}).get("search_context_size_medium")
    if searches:
        facts["web_search"] = number(Decimal(str(searches)) * 1000)
    return Listed(
        provider=provider,
        model=model,
        spans={date.min: _steps(row)},
        facts={name: (value,) for name, value in facts.items()},
        gone=isinstance(retires, str) and retires <= str(today),
        dated=dated,
    )


def _ratio(part: float, whole: float) -> str:
    return number(round(Decimal(str(part)) / Decimal(str(whole)), 3))


def _steps(row: dict[str, Any]) -> Steps:
    steps: Steps = {}
    for key, value in row.items():
        found = _STEP.search(key)
        name = _NAMES.get(key[: found.start()] if found else key)
        if name is not None and isinstance(value, int | float):
            over = int(found[1]) * 1000 if found else 0
            steps.setdefault(over, {})[name] = number(Decimal(str(value)) * 1_000_000)
    return steps

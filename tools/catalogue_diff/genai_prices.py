"""Reads the list of `genai-prices`: Python that builds a table, prices in USD per million tokens.

The module is parsed and never run: its calls become dictionaries with the call's name in ``_``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from tools.catalogue_diff.listed import SNAPSHOT, Listed, PriceList, Steps, number
from tools.catalogue_diff.wheels import Wheel

__all__ = ["PACKAGE", "read"]

PACKAGE: Final = "genai-prices"
_FILE: Final = "genai_prices/data.py"
_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "gemini",
    "groq": "groq",
    "cerebras": "cerebras",
}
_NAMES: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
}


def read(wheel: Wheel, today: date, known: Iterable[str]) -> PriceList:
    """The list of a wheel.

    Args:
        known: ``provider/model`` of the catalogue, which the list's patterns are matched with.

    Raises:
        KeyError, SyntaxError: the wheel has no such list.
    """
    data = wheel.read(_FILE)
    dated = wheel.dated(data, today)
    models: dict[str, Listed] = {}
    matches: dict[str, Listed] = {}
    names = sorted(known)
    for vendor in _table(ast.parse(data)):
        provider = _PROVIDERS.get(vendor["id"])
        for entry in vendor["models"] if provider else ():
            listed = _listed(str(provider), entry, today, dated)
            ours = [
                name
                for name in names
                if name.startswith(f"{provider}/") and _matched(entry["match"], name)
            ]
            for name in ours:
                matches.setdefault(name, listed)
            if listed.name in names or not (ours or SNAPSHOT.search(listed.model)):
                models[listed.name] = listed
    return PriceList(
        package=PACKAGE,
        version=wheel.version,
        dated=dated,
        schedules=True,
        models=models,
        matches=matches,
    )


def _table(tree: ast.Module) -> list[dict[str, Any]]:
    for statement in tree.body:
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.target.id == "providers"
            and statement.value is not None
        ):
            found: list[dict[str, Any]] = _value(statement.value)
            return found
    raise KeyError("providers")


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [_value(item) for item in node.elts]
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_value(key): _value(item) for key, item in pairs if key is not None}
        case ast.Call(func=ast.Name(id="Decimal")):
            return Decimal(str(_value(node.args[0])))
        case ast.Call(func=ast.Name(id="date") | ast.Attribute(attr="date")):
            return date(*(_value(argument) for argument in node.args))
        case ast.Call(func=ast.Name(id=name)):
            return {"_": name} | {word.arg: _value(word.value) for word in node.keywords}
    return None


def _matched(clause: dict[str, Any], name: str) -> bool:
    """Whether a clause of the list means a model of the catalogue."""
    model = name.partition("/")[2]
    match clause["_"]:
        case "ClauseOr":
            return any(_matched(part, name) for part in clause["or_"])
        case "ClauseAnd":
            return all(_matched(part, name) for part in clause["and_"])
        case "ClauseEquals":
            return bool(model == clause["equals"])
        case "ClauseStartsWith":
            return model.startswith(clause["starts_with"])
        case "ClauseEndsWith":
            return model.endswith(clause["ends_with"])
        case "ClauseContains":
            return clause["contains"] in model
        case "ClauseRegex":
            return re.search(clause["regex"], model) is not None
    return False


def _listed(provider: str, entry: dict[str, Any], today: date, dated: str) -> Listed:
    prices = entry.get("prices") or {}
    parts = prices if isinstance(prices, list) else [{"prices": prices}]
    spans: dict[date, Steps] = {}
    searches: Decimal | None = None
    for part in parts:
        since = (part.get("constraint") or {}).get("start_date", date.min)
        spans[since] = _steps(part["prices"])
        if since <= today:
            searches = part["prices"].get("web_searches_kcount", searches)
    facts: dict[str, str] = {}
    if entry.get("context_window"):
        facts["window"] = number(entry["context_window"])
    if searches is not None:
        facts["web_search"] = number(searches)
    listed = Listed(provider=provider, model=entry["id"], spans=spans)
    base = listed.prices(today).get(0, {}).get("input")
    for variant in entry.get("price_variants") or ():
        since = (variant.get("constraint") or {}).get("start_date", date.min)
        of_tier = _base(variant["prices"].get("input_mtok"))
        tier = _tier(variant["when"])
        if tier and base and of_tier is not None and since <= today:
            facts.setdefault(f"factor {tier}", number(round(of_tier / Decimal(base), 3)))
    return Listed(
        provider=provider,
        model=entry["id"],
        spans=spans,
        facts={name: (value,) for name, value in facts.items()},
        gone=bool(entry.get("deprecated")),
        dated=dated,
    )


def _tier(when: dict[str, str]) -> str:
    tier = when.get("service_tier") or when.get("speed") or ""
    return tier if tier in ("flex", "priority", "fast") else ""


def _base(price: Any) -> Decimal | None:
    base: Decimal | None = price["base"] if isinstance(price, dict) else price
    return base


def _steps(prices: dict[str, Any]) -> Steps:
    steps: Steps = {}
    for key, name in _NAMES.items():
        price = prices.get(key)
        if price is None:
            continue
        steps.setdefault(0, {})[name] = number(_base(price))
        for tier in price["tiers"] if isinstance(price, dict) else ():
            steps.setdefault(tier["start"], {})[name] = number(tier["price"])
    return steps

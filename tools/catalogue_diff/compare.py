"""Finds where a price list and the catalogue differ.

Only what a list states is compared. A model of a list is missing here when it is a current chat
model: priced, retired by no list, no snapshot or fine-tuned model, and none of a kind that VAI does
not serve.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final, Literal

import msgspec

from tools.catalogue_diff.listed import Listed, PriceList

__all__ = ["GROUPS", "Difference", "Group", "differences"]

Group = Literal[
    "price differs", "window differs", "output limit differs", "other fact differs",
    "missing here", "gone there",
]  # fmt: skip
GROUPS: Final[tuple[Group, ...]] = (
    "price differs", "window differs", "output limit differs", "other fact differs",
    "missing here", "gone there",
)  # fmt: skip

_ELSEWHERE: Final = re.compile(
    r"\Aft:|/|embedding|audio|realtime|\blive\b|transcribe|whisper|tts|image|banana|video|imagen|veo"
    r"|moderation|search|deep-research|computer-use|robotics|omni|lyria|learnlm|\bexp\b|gemma"
    r"|guard|orpheus|instruct\Z"
)
"""Names of models that are fine-tuned, or that answer otherwise than a chat model does."""
_CHAT_OF_OTHERS: Final = re.compile(r"\A(openai|qwen|moonshotai|meta-llama|groq)/")
"""Owners whose chat models Groq names with their owner."""


class Difference(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """One fact of one model that a list tells otherwise. `here` is "" where it is unknown."""

    name: str
    field: str
    package: str
    here: str
    there: str
    here_dated: str
    there_dated: str
    group: Group


def differences(
    ours: Mapping[str, Listed], lists: Sequence[PriceList], today: date
) -> Iterator[Difference]:
    """The differences between the catalogue and each list."""
    gone = {name for theirs in lists for name, model in theirs.models.items() if model.gone}
    for theirs in lists:
        yield from _known(ours, theirs, today)
        for name, other in theirs.models.items():
            if name in ours or name in gone or not _is_current(other, today):
                continue
            yield _different(other, theirs, "listed", "", _price_text(other, today), "missing here")


def _known(ours: Mapping[str, Listed], theirs: PriceList, today: date) -> Iterator[Difference]:
    for name, model in ours.items():
        if name != model.name:
            continue  # another name of a model that is compared
        other = theirs.find(name)
        if other is None or other.gone:
            if not _retired(model, today):
                said = "not listed" if other is None else "no longer served"
                yield _different(model, theirs, "listed", "yes", said, "gone there")
            continue
        yield from _prices(model, other, theirs, today)
        yield from _facts(model, other, theirs)


def _is_current(model: Listed, today: date) -> bool:
    """Whether a model is one of those that may be missing here."""
    if model.provider == "gemini" and not model.model.startswith("gemini"):
        return False  # another maker's model that Google sells elsewhere
    chats = not _ELSEWHERE.search(_CHAT_OF_OTHERS.sub("", model.model))
    return chats and bool(model.prices(today).get(0, {}).get("input"))


def _retired(model: Listed, today: date) -> bool:
    return any(day <= str(today) for day in model.facts["retires_at"])


def _prices(model: Listed, other: Listed, theirs: PriceList, today: date) -> Iterator[Difference]:
    days = {today}
    if theirs.schedules:
        days |= {day for spans in (model.spans, other.spans) for day in spans if day > today}
    told: dict[str, tuple[str, str]] = {}
    for day in sorted(days):
        here, there = model.prices(day), other.prices(day)
        for over, prices in there.items():
            for field, price in prices.items():
                own = here.get(over, {}).get(field, "")
                key = field + (f" over {over}" if over else "")
                if own == price or told.get(key) == (own, price):
                    continue
                told[key] = (own, price)
                since = "" if day == today else f" from {day}"
                yield _different(model, theirs, key + since, own, price, "price differs")


def _facts(model: Listed, other: Listed, theirs: PriceList) -> Iterator[Difference]:
    groups: dict[str, Group] = {"window": "window differs", "max_output": "output limit differs"}
    for field, (there,) in other.facts.items():
        here = model.facts.get(field, ())
        if there not in here:
            group = groups.get(field, "other fact differs")
            yield _different(model, theirs, field, " or ".join(here), there, group)


def _price_text(model: Listed, today: date) -> str:
    prices = model.prices(today).get(0, {})
    return f"{prices.get('input', '?')} in, {prices.get('output', '?')} out"


def _different(
    model: Listed, theirs: PriceList, field: str, here: str, there: str, group: Group
) -> Difference:
    return Difference(
        name=model.name,
        field=field,
        package=theirs.package,
        here=here,
        there=there,
        here_dated="" if group == "missing here" else model.dated,
        there_dated=theirs.dated,
        group=group,
    )

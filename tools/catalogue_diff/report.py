"""The differences as text: grouped, sorted, the explained ones apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.catalogue_diff.compare import GROUPS, Difference
from tools.catalogue_diff.explained import Explanation
from tools.catalogue_diff.listed import PriceList

__all__ = ["report"]

_ABOUT = """\
Compared: prices of today and of days to come, windows, output limits, retirement, efforts, factors
of tiers and regions, searches; each only where the list states it. The window of a list is held
against context_window and max_input, for it means either. Left out: batches, snapshots, fine-tuned
models, and models that do not chat (speech, pictures, search, research, robots, guards).
Prices are USD per million tokens, searches USD per thousand."""


def report(
    lists: Sequence[PriceList], found: Iterable[Difference], explained: Sequence[Explanation]
) -> str:
    """The whole text."""
    open_ones: list[Difference] = []
    told: dict[int, list[Difference]] = {number: [] for number in range(len(explained))}
    for difference in sorted(found):
        reason = next((n for n, entry in enumerate(explained) if entry.explains(difference)), None)
        (open_ones if reason is None else told[reason]).append(difference)
    names = " and ".join(f"{one.package} {one.version} ({one.dated or 'undated'})" for one in lists)
    lines = [f"The catalogue against {names}", "", _ABOUT, ""]
    for group in GROUPS:
        lines += _section(group, [_line(one) for one in open_ones if one.group == group])
    reasons = [
        line
        for entry, ones in zip(explained, told.values(), strict=True)
        if ones
        for line in (f"{entry.reason} ({entry.date})", *(f"  {_line(one)}" for one in ones))
    ]
    count = sum(len(ones) for ones in told.values())
    lines += [f"explained ({count})", *(f"  {line}" for line in reasons), ""]
    stale = [
        f"{', '.join(entry.models)}: {', '.join(entry.fields)} ({entry.date})"
        for entry, ones in zip(explained, told.values(), strict=True)
        if not ones
    ]
    lines += _section("explains no difference any more", stale)
    lines.append(f"{len(open_ones)} open, {count} explained, {len(stale)} stale")
    return "\n".join(lines) + "\n"


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"{title} ({len(lines)})", *(f"  {line}" for line in lines), ""]


def _line(one: Difference) -> str:
    here = one.here or "unknown"
    dated = f" ({one.here_dated})" if one.here_dated else ""
    there = f"{one.there} {one.package} ({one.there_dated or 'undated'})"
    if one.group == "missing here":
        return f"{one.name}: {there}"
    return f"{one.name} {one.field}: {here}{dated}, {there}"

"""What a Claude model accepts, told from its name. Unknown names get everything."""

from __future__ import annotations

import re

import msgspec

__all__ = ["Traits", "traits"]


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """One model's ways.

    Attributes:
        samples: whether temperature, top_p and top_k are accepted.
        budgets: whether thinking can be given a budget in tokens.
        adapts: whether thinking can be adaptive.
        efforts: whether an effort can be named.
        can_rest: whether thinking can be disabled.
        forced_tool: whether a tool can be forced.
        system_turns: whether system messages may stand among the others.
        prefill: whether the last message may be the assistant's.
        tools: the generation of Anthropic's own tools it takes, 0 being what all take.
    """

    samples: bool = True
    budgets: bool = True
    adapts: bool = True
    efforts: bool = True
    can_rest: bool = True
    forced_tool: bool = True
    system_turns: bool = True
    prefill: bool = True
    tools: int = 0


_NAME = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_OLD_NAME = re.compile(r"claude-(\d)(?:[-.](\d))?-")


def traits(model: str) -> Traits:
    """The traits of `model`."""
    found = _NAME.match(model)
    if found is None:
        return _OLD if _OLD_NAME.match(model) else Traits()
    family, version = found[1], (int(found[2]), int(found[3] or 0))
    newest = (family, version) == ("opus", (5, 5))
    restless = newest or (family in ("fable", "mythos") and version < (5, 2))
    return Traits(
        samples=version < (4, 7),
        budgets=version < (4, 7),
        adapts=version >= (4, 6),
        efforts=version >= (4, 6) or (family, version) == ("opus", (4, 5)),
        can_rest=not restless,
        forced_tool=version < (5, 1) or family == "haiku",
        system_turns=version >= (5, 0),
        prefill=version < (4, 6),
        tools=sum(version >= since for since in ((4, 6), (5, 0), (5, 1))),
    )


_OLD = Traits(adapts=False, efforts=False, system_turns=False)

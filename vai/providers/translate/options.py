"""Options of a request: its effort of reasoning, forms of output, caching and stop sequences.

Invariants:

* VAI never turns little reasoning into no reasoning: only ``none`` becomes ``none``.
* A response in another form than requested is useless, so VAI refuses a request for a form that
  the provider does not have. Speech with a `voice.output` is the exception: VAI then requests
  none from the provider.
* VAI checks stop sequences itself where a server accepts none or fewer. It searches each piece
  of a response for each sequence, and holds back a possible beginning of one, so both their
  number and their length cost time for every piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

import msgspec

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.base import to_wire
from vai.types.blocks import Block
from vai.types.request import MessageRequest, Tool

__all__ = [
    "EFFORTS",
    "cache_key",
    "check_output",
    "check_stop_sequences",
    "clamp_effort",
    "effort_for_budget",
    "requested_effort",
    "requested_modalities",
    "shows_reasoning",
]

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts, in ascending order.
Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def requested_effort(request: MessageRequest) -> tuple[str | None, str]:
    """The effort that the request names, and the path of the member that names it."""
    config = request.output_config
    thinking = request.thinking
    if thinking is not None and thinking.type in ("disabled", "between_tools"):
        return "none", "thinking"
    if config is not None and config.effort:
        return config.effort, "output_config.effort"
    if thinking is not None and thinking.type == "enabled" and thinking.budget_tokens:
        return effort_for_budget(thinking.budget_tokens), "thinking.budget_tokens"
    return None, "thinking"


def shows_reasoning(request: MessageRequest, diagnostics: Diagnostics) -> bool:
    """Whether the client wants to read the reasoning.

    Other providers show all of it or nothing. VAI names another form, such as ``updates`` of the
    Messages API, as dropped: the client then receives all of it.
    https://platform.claude.com/docs/en/build-with-claude/thinking (2026-11-28)
    """
    thinking = request.thinking
    if thinking is None or thinking.type not in ("enabled", "adaptive"):
        return False
    if thinking.display not in (None, "summarized", "omitted"):
        diagnostics.note_dropped("thinking.display")
    return thinking.display != "omitted"


def effort_for_budget(budget: int) -> str:
    """The effort that corresponds to a thinking budget in tokens."""
    for limit, effort in ((2048, "low"), (8192, "medium"), (24576, "high"), (65536, "xhigh")):
        if budget < limit:
            return effort
    return "max"


def clamp_effort(effort: str, efforts: tuple[str, ...]) -> str | None:
    """The nearest of `efforts`, preferably a lower one; None if `effort` is no effort.

    It never turns little reasoning into no reasoning: only ``none`` becomes ``none``.
    """
    if effort in efforts:
        return effort
    if effort not in EFFORTS or not efforts:
        return None
    reasoning_efforts = [name for name in efforts if name != "none"]
    rank = EFFORTS.index(effort)
    below = [name for name in reasoning_efforts if name in EFFORTS[:rank]]
    return below[-1] if below else next(iter(reasoning_efforts), None)


def requested_modalities(request: MessageRequest) -> list[str]:
    """The forms named in `output.modalities` that the provider itself must produce."""
    named = (request.output or {}).get("modalities")
    if not isinstance(named, list):
        return []
    spoken = bool((request.voice or {}).get("output"))
    return [str(item) for item in named if not (item == "audio" and spoken)]


def check_output(
    request: MessageRequest, diagnostics: Diagnostics, supported: Collection[str]
) -> None:
    """Refuse or drop what the provider lacks of `output`; it has text and `supported`."""
    missing = [item for item in requested_modalities(request) if item not in ("text", *supported)]
    if missing:
        diagnostics.note_refused(
            "output.modalities",
            f"{diagnostics.target} answers with {' or '.join(['text', *sorted(supported)])} only",
            "unsupported_output_modality",
        )
    for name in request.output or {}:
        if name != "modalities" and name not in supported:
            diagnostics.note_dropped(f"output.{name}")


_KEY_LENGTH: Final = 32
"""Characters of a cache key."""


def cache_key(request: MessageRequest) -> str | None:
    """A name for the beginning of `request`: its user, instructions and tools.

    None if the request has no cache mark: a key concentrates requests on
    few servers, which is a disadvantage where requests share nothing.
    """
    if not _requests_caching(request):
        return None
    user = (request.metadata or {}).get("user_id")
    beginning = [user, to_wire(request.system), to_wire(request.tools)]
    return hashlib.sha256(msgspec.json.encode(beginning)).hexdigest()[:_KEY_LENGTH]


def _requests_caching(request: MessageRequest) -> bool:
    if request.cache_control:
        return True
    marked: list[Block | Tool] = [*(request.tools or ())]
    if isinstance(request.system, list):
        marked += request.system
    for turn in request.messages:
        if not isinstance(turn.content, str):
            marked += turn.content
    return bool(marked) and any(getattr(item, "cache_control", None) for item in marked)


_MAX_SEQUENCES: Final = 64
_MAX_LENGTH: Final = 256


def check_stop_sequences(sequences: list[str], diagnostics: Diagnostics) -> None:
    """Refuse sequences that are too many or too long for VAI to check."""
    if len(sequences) > _MAX_SEQUENCES or any(len(one) > _MAX_LENGTH for one in sequences):
        what = f"expected at most {_MAX_SEQUENCES} sequences of {_MAX_LENGTH} characters"
        diagnostics.note_refused("stop_sequences", f"{what} for {diagnostics.target}")

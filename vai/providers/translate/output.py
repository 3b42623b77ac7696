"""What form of answer was asked for beside text.

Invariants: an answer in a form that was not asked for is no answer, so a
form that cannot be had refuses the request. Speech is the exception where a voice is
configured: then VAI speaks the text itself.
"""

from __future__ import annotations

from collections.abc import Collection

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.request import MessageRequest

__all__ = ["check_output", "modalities"]


def modalities(request: MessageRequest) -> list[str]:
    """The forms named in `output.modalities` that the provider itself must give."""
    named = (request.output or {}).get("modalities")
    if not isinstance(named, list):
        return []
    spoken = bool((request.voice or {}).get("output"))
    return [str(item) for item in named if not (item == "audio" and spoken)]


def check_output(request: MessageRequest, findings: Diagnostics, can: Collection[str]) -> None:
    """Note what of `output` cannot be had; `can` is what there is beside text."""
    missing = [item for item in modalities(request) if item not in ("text", *can)]
    if missing:
        findings.refuse(
            "output.modalities",
            f"{findings.target} answers with {' or '.join(['text', *sorted(can)])} only",
            "unsupported_output_modality",
        )
    for name in request.output or {}:
        if name != "modalities" and name not in can:
            findings.drop(f"output.{name}")

"""What a model can do, under the names of ``GET /v1/models``.

Invariants: the response leaves out a capability that no source states, and no filter finds
it; only a capability with a source counts as present.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from vai.types.catalogue import Modality, ModelCard

__all__ = ["CAPABILITIES", "known_capabilities", "with_capabilities"]

_INPUTS: Final[Mapping[str, Modality]] = MappingProxyType(
    {"vision": "image", "documents": "document", "audio_input": "audio", "video": "video"}
)
_OUTPUTS: Final[Mapping[str, Modality]] = MappingProxyType(
    {"text": "text", "image_output": "image", "audio_output": "audio"}
)

CAPABILITIES: Final = (
    *_OUTPUTS,
    *_INPUTS,
    "tools",
    "tool_streaming",
    "thinking",
    "structured_output",
)
"""Every capability, by which a client can filter the models."""


def known_capabilities(card: ModelCard) -> dict[str, bool]:
    """The capabilities whose presence or absence is known."""
    capabilities: dict[str, bool] = {}
    for table, there in ((_OUTPUTS, card.output), (_INPUTS, card.input)):
        if there is not None:
            capabilities |= {name: kind in there for name, kind in table.items()}
    features = card.features
    if features.tools is not None:
        # All of VAI's adapters stream the arguments of calls.
        capabilities["tools"] = capabilities["tool_streaming"] = features.tools
    if features.thinking.types is not None:
        capabilities["thinking"] = bool(features.thinking.types)
    if features.json_schema is not None:
        capabilities["structured_output"] = features.json_schema
    return capabilities


def with_capabilities(card: ModelCard, names: Collection[str]) -> ModelCard:
    """`card` with exactly these capabilities."""
    features = card.features
    thinks = features.thinking.types or ("adaptive", "enabled", "disabled")
    thinking = msgspec.structs.replace(
        features.thinking, types=thinks if "thinking" in names else ()
    )
    inputs: tuple[Modality, ...] = ("text",)
    return msgspec.structs.replace(
        card,
        input=inputs + tuple(kind for name, kind in _INPUTS.items() if name in names),
        output=tuple(kind for name, kind in _OUTPUTS.items() if name in names),
        features=msgspec.structs.replace(
            features,
            tools="tools" in names or "tool_streaming" in names,
            json_schema="structured_output" in names,
            thinking=thinking,
        ),
    )

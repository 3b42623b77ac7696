"""What a translation into generateContent is aimed at: the service, the model, the notes."""

from __future__ import annotations

from vai.providers.gemini.models import GeminiTraits, traits
from vai.providers.translate.diagnostics import Diagnostics
from vai.types.provider import ProviderSpec

__all__ = ["GeminiTarget"]


class GeminiTarget:
    """One service and model, and what was found while translating for it."""

    def __init__(self, spec: ProviderSpec, model: str) -> None:
        self.spec = spec
        self.model = model.removeprefix("models/")
        self.traits: GeminiTraits = traits(self.model)
        self.diagnostics = Diagnostics(spec.name)

    @property
    def assists(self) -> bool:
        """Whether it is Code Assist, which knows fewer members and a few of Vertex's."""
        return self.spec.kind == "code-assist"

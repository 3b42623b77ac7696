"""What a translation into generateContent is aimed at: the service, the model, the notes."""

from __future__ import annotations

from vai.providers.gemini.models import Traits, traits
from vai.providers.translate.diagnostics import Findings
from vai.types.provider import ProviderRow

__all__ = ["Target"]


class Target:
    """One service and model, and what was found while translating for it."""

    def __init__(self, row: ProviderRow, model: str) -> None:
        self.row = row
        self.model = model.removeprefix("models/")
        self.traits: Traits = traits(self.model)
        self.findings = Findings(row.name)

    @property
    def assists(self) -> bool:
        """Whether it is Code Assist, which knows fewer members and a few of Vertex's."""
        return self.row.kind == "code-assist"

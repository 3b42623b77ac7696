"""Whether a server's list of models has a model under the name that it is asked for by.

Invariants: pure. A name that a server takes is never said to be missing because the list spells it
otherwise; a name that is missing may be overlooked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from vai.policy.catalogue import without_snapshot

__all__ = ["ModelList", "lists_deployments"]

_DEFAULT_TAG: Final = ":latest"
"""Ollama lists `llama3.2:latest` and takes `llama3.2`
(https://docs.ollama.com/api/introduction, 2026-11-28)."""
_AZURE: Final = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
"""Azure lists the models there are and takes the names of deployments
(https://learn.microsoft.com/en-us/azure/ai-foundry/openai/latest, 2026-11-28)."""


class ModelList:
    """The models that a server lists."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._others = {without_snapshot(name) for name in names}
        self._others.update(name.removesuffix(_DEFAULT_TAG) for name in names)
        # LiteLLM lists its patterns: openai/*.
        self._prefixes = tuple(name.partition("*")[0] for name in names if "*" in name)

    def has_model(self, model: str) -> bool:
        """Whether the server takes `model`, as far as its list tells."""
        if model in self._names or model in self._others:
            return True
        # A variant, or the host that runs it, of a router: model:online, model:groq.
        return model.rpartition(":")[0] in self._names or model.startswith(self._prefixes)


def lists_deployments(host: str) -> bool:
    """Whether the list of a server has the names that requests are made with."""
    return not host.endswith(_AZURE)

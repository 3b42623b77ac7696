"""The target of a translation into a format of OpenAI: server, model and diagnostics."""

from __future__ import annotations

import re
from typing import Final

from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.openai_models import OpenaiTraits, traits_of_model
from vai.providers.translate.schema import InliningBudget
from vai.types.provider import Capabilities, ProviderSpec

__all__ = ["QUIRKS", "OpenaiTarget", "is_custom_server"]

QUIRKS: Final = frozenset(
    {
        "fast_tier",  # there is a service tier called fast
        "max_tokens",  # the limit is called max_tokens, not max_completion_tokens
        "no_nulls",  # null members of assistant messages are refused
        "on_demand_tier",  # service tiers are called on_demand and performance
        "plain_system",  # instructions are one string
        "reasoning_text",  # reasoning is readable, and is sent back in `reasoning`
        "schema_unstreamed",  # a JSON Schema and streaming exclude each other
        "user",  # the end user is named in `user`, not in `safety_identifier`
    }
)
"""All quirks that the provider spec of a Chat Completions server may name.
Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17); types of groq 1.7.0,
https://github.com/groq/groq-python (2026-08-25); types of cerebras-cloud-sdk 1.91.0,
https://github.com/Cerebras/cerebras-cloud-sdk-python (2026-07-08)."""
_MISTRAL: Final = re.compile(r"mi[sx]tral|ministral|codestral|devstral|magistral|pixtral|voxtral")


def is_custom_server(spec: ProviderSpec) -> bool:
    """Whether only the settings describe the server: it is no built-in provider."""
    return spec.id not in PROVIDER_SPECS


class OpenaiTarget:
    """One server and model, and the diagnostics of the translation for it."""

    def __init__(self, spec: ProviderSpec, model: str) -> None:
        self.spec = spec
        self.model = model
        self.traits: OpenaiTraits = traits_of_model(*spec.find_catalogue_key(model))
        self.diagnostics = Diagnostics(spec.name)
        self.inlining = InliningBudget()

    @property
    def needs_short_ids(self) -> bool:
        """Whether ids of calls must be nine letters and digits.

        Mistral's API and servers that run its models with its tokenizer refuse others (seen
        2026-11).
        """
        return is_custom_server(self.spec) and bool(
            _MISTRAL.search(f"{self.spec.base_url} {self.model}".lower())
        )

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the server."""
        return self.spec.capabilities

    def has_quirk(self, quirk: str) -> bool:
        """Whether the server has this quirk."""
        return quirk in self.spec.quirks

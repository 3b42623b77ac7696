"""The facts of a model: its limits, its abilities, its prices.

Invariants: a fact without a source is None, never a guess. Prices are US dollars per million
tokens as decimal text, because binary floats cannot represent them exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, Literal

import msgspec

from vai.types.message import Usage

__all__ = [
    "Cache",
    "CatalogueFile",
    "Charges",
    "CostFunction",
    "Effort",
    "Features",
    "MaxOutput",
    "Modality",
    "ModelCard",
    "Price",
    "Provenance",
    "Reasoning",
]

CostFunction = Callable[[Usage], float | None]
"""USD of a usage, None where the price is unknown."""

Modality = Literal["text", "image", "document", "audio", "video"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

# Six decimals make every rate a whole number of billionths of a thousandth of a dollar (1e-12)
# per token, so that sums are exact; see vai.policy.cost.
Money = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$")]
Factor = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3})?$")]
Tokens = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Fact(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A table of facts; loading refuses a misspelt name."""


class MaxOutput(_Fact, frozen=True, kw_only=True, rename={"unstreamed": "whole"}):
    """Tokens of one response at most: streamed, as one JSON body, and with all continuations.

    `unstreamed` (in JSON `whole`) and `continued` are None unless they differ from `stream`.
    """

    stream: Tokens | None = None
    unstreamed: Tokens | None = None
    continued: Tokens | None = None

    def limit_for(self, *, streamed: bool) -> int | None:
        """The limit of one request, None where it is not known."""
        if self.continued is not None:
            return self.continued
        return self.stream if streamed or self.unstreamed is None else self.unstreamed


class Reasoning(_Fact, frozen=True, kw_only=True):
    """How the model thinks. Without `types` it does not.

    `types` are those of the `thinking` field that the model accepts unchanged, `efforts` the
    values it accepts, `default` what it does when the request states none
    (an effort, ``on`` or ``off``).
    """

    types: tuple[Literal["adaptive", "enabled", "disabled", "level"], ...] | None = None
    efforts: tuple[Effort, ...] | None = None
    default: Literal["on", "off", "low", "medium", "high"] | None = None
    always_on: bool | None = None


class Cache(_Fact, frozen=True, kw_only=True):
    """The provider's prompt cache: the shortest prefix, breakpoints, lifetimes."""

    min_tokens: Tokens | None = None
    explicit: bool | None = None
    ttls: tuple[str, ...] | None = None


class Features(_Fact, frozen=True, kw_only=True, rename={"server_tools": "native_tools"}):
    """The abilities of a model.

    `sampling`: the model accepts temperature and top_p while it thinks. `forced_tool`: a request
    can require a tool. `prefill`: the last message may be the assistant's.
    """

    tools: bool | None = None
    parallel_tools: bool | None = None
    strict: bool | None = None
    json_schema: bool | None = None
    forced_tool: bool | None = None
    prefill: bool | None = None
    sampling: bool | None = None
    stop: bool | None = None
    citations: bool | None = None
    thinking: Reasoning = Reasoning()
    cache: Cache = Cache()
    server_tools: tuple[str, ...] | None = None


class Price(_Fact, frozen=True, kw_only=True, rename={"since": "from"}):
    """USD per million tokens from one day to another (UTC, both included).

    With `over_input_tokens` it is the price of every token of a request whose prompt, cached
    parts included, is longer than that. `cache_write` is for the provider's shortest
    lifetime (Anthropic: 5 minutes).
    """

    since: date | None = None
    until: date | None = None
    over_input_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    input: Money | None = None
    output: Money | None = None
    cache_read: Money | None = None
    cache_write: Money | None = None
    cache_write_1h: Money | None = None

    def applies_on(self, day: date) -> bool:
        """Whether this is a price of that day."""
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )


class Charges(_Fact, frozen=True, kw_only=True):
    """Factors of the prices, and charges beside tokens.

    `factors`: service tier, speed or region -> the factor of all token prices; `regional` is
    that of hosts which process in one region (see `vai.policy.cost`). `server_tools`: USD per
    thousand uses. `free`: the provider charges nothing, a quota limits the use.
    """

    factors: dict[str, Factor] = {}
    server_tools: dict[str, Money] = {}
    free: bool = False


class Provenance(_Fact, frozen=True, kw_only=True):
    """The source of facts. `about` lists them; None: all facts without another source."""

    source: Name
    retrieved: date
    url: str | None = None
    about: tuple[str, ...] | None = None


class ModelCard(_Fact, frozen=True, kw_only=True):
    """One model at one provider. `also`: providers that serve it under the same facts.

    `context_window` is tokens of prompt and response together, `max_input` those of the prompt
    alone where the provider limits it separately. `charges` add to those of the provider.
    """

    provider: Name
    id: Name
    name: Name | None = None
    also: tuple[Name, ...] = ()
    aliases: tuple[Name, ...] = ()
    family: str | None = None
    context_window: Tokens | None = None
    max_input: Tokens | None = None
    max_output: MaxOutput = MaxOutput()
    input: tuple[Modality, ...] | None = None
    output: tuple[Modality, ...] | None = None
    features: Features = Features()
    prices: tuple[Price, ...] = ()
    charges: Charges = Charges()
    released: date | None = None
    deprecated_at: date | None = None
    retires_at: date | None = None
    provenance: tuple[Provenance, ...] = ()

    @property
    def full_id(self) -> str:
        """``provider/id``, the name a request is made with."""
        return f"{self.provider}/{self.id}"

    @property
    def longest_prompt(self) -> int | None:
        """Tokens of the longest prompt that can be answered, None where no limit is known."""
        limits = [limit for limit in (self.max_input, self.context_window) if limit is not None]
        return min(limits, default=None)


class CatalogueFile(_Fact, frozen=True, kw_only=True, rename={"schema_": "$schema"}):
    """The data file: `charges` by provider, and the models."""

    schema_: str | None = None
    charges: dict[str, Charges] = {}
    models: tuple[ModelCard, ...]

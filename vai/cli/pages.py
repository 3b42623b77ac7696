"""Generated pages: the feature matrix, the catalogue's JSON Schema, README's providers.

Invariants: each cell comes from the registry or the catalogue, in their order; no cell is written
by hand or depends on the day.

    python -m vai.cli.pages docs/FEATURE_MATRIX.md vai/catalogue/models.schema.json README.md
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from vai.io.catalogue import installed_catalogue
from vai.policy.capabilities import CAPABILITIES, known_capabilities
from vai.providers.registry import PROVIDER_SPECS
from vai.types.catalogue import CatalogueFile, ModelCard
from vai.types.provider import Capabilities, ProviderSpec

__all__ = ["catalogue_schema", "feature_matrix", "with_providers"]

_MARKS: Final = {True: "yes", False: "no", None: ""}

_PROVIDERS: Final = re.compile(r"(<!-- providers[^>]*-->\n)[\s\S]*?(?=<!-- end -->)")
"""The lines of README that name the built-in providers."""

_HEAD: Final = """\
# Feature matrix

Made from the code by `make docs`: what VAI carries to each provider, and what the catalogue
knows of each model. An empty cell is not known; `vai models` and `GET /v1/models` show prices.

## Providers

What the wire format can carry, translated by VAI. A model may be able to do less.

"""

_MODELS: Final = """
## Models

`context` (prompt and answer together), `prompt` and `answer` are tokens. `thinking`: the efforts
the model knows, or how it thinks.
`always` is a model that cannot stop thinking. `sampling`: temperature and top_p are accepted
while it thinks.
"""


def feature_matrix() -> str:
    """The whole page as Markdown."""
    lines = [_HEAD + "\n".join(_providers_table(list(PROVIDER_SPECS.values()))), _MODELS]
    for spec in PROVIDER_SPECS.values():
        cards = [card for card in installed_catalogue().cards if card.provider == spec.id]
        if cards:
            lines += [f"### {spec.name}", "", *_models_table(cards), ""]
    return "\n".join(lines).rstrip() + "\n"


def catalogue_schema() -> bytes:
    """The JSON Schema of the data file."""
    wire: dict[str, Any] = msgspec.json.schema(CatalogueFile)
    wire["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return orjson.dumps(wire, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def with_providers(readme: str) -> str:
    """README with the names of the built-in providers where its comments enclose them."""
    *names, last = [spec.name for spec in PROVIDER_SPECS.values()]
    text = textwrap.fill(f"Built in: {', '.join(names)} and {last}.", 100)
    return _PROVIDERS.sub(lambda match: f"{match[1]}{text}\n", readme)


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _providers_table(specs: list[ProviderSpec]) -> list[str]:
    names = [field.name for field in msgspec.structs.fields(Capabilities)]
    return _markdown_table(
        ["", *(spec.id for spec in specs)],
        [
            ["wire format", *(spec.kind for spec in specs)],
            *(
                [
                    name.replace("_", " "),
                    *(_format_value(getattr(spec.capabilities, name)) for spec in specs),
                ]
                for name in names
            ),
        ],
    )


def _format_value(value: Any) -> str:
    if isinstance(value, bool | None):
        return _MARKS[value]
    return ", ".join(sorted(str(item) for item in value)) or "no"


_FEATURES: Final = ("sampling", "stop", "forced_tool", "prefill")


def _models_table(cards: list[ModelCard]) -> list[str]:
    shown = [name for name in CAPABILITIES if name not in ("text", "tool_streaming", "thinking")]
    head = ["model", "context", "prompt", "answer", *(name.replace("_", " ") for name in shown)]
    head += ["thinking", *(name.replace("_", " ") for name in _FEATURES), "retires"]
    return _markdown_table(head, [_model_cells(card, shown) for card in cards])


def _model_cells(card: ModelCard, shown: list[str]) -> list[str]:
    listed = known_capabilities(card)
    cells = [f"`{card.id}`", _format_number(card.context_window)]
    cells += [
        _format_number(card.longest_prompt),
        _format_number(card.max_output.limit_for(streamed=True)),
    ]
    cells += [_MARKS[listed.get(name)] for name in shown]
    cells.append(_format_thinking(card))
    cells += [_MARKS[getattr(card.features, name)] for name in _FEATURES]
    return [*cells, str(card.retires_at or "")]


def _format_thinking(card: ModelCard) -> str:
    thinking = card.features.thinking
    if thinking.types is None and thinking.efforts is None:
        return ""
    words = ", ".join(thinking.efforts or thinking.types or ()) or "no"
    return f"{words} (always)" if thinking.always_on else words


def _format_number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(feature_matrix(), "utf-8")
    Path(sys.argv[2]).write_bytes(catalogue_schema())
    for name in sys.argv[3:]:
        Path(name).write_text(with_providers(Path(name).read_text("utf-8")), "utf-8")

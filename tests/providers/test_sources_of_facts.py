"""Each fact about a provider names where it comes from, and the day on which it was read there.

Invariants: it looks for a link (or the word that it was observed) and a date beside
each trait of a model, each row and each table of the modules that hold facts; what the words say
is for readers to judge.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vai.providers
from vai.providers.anthropic import models as claudes
from vai.providers.gemini import models as googles
from vai.providers.translate import openai_models as models

FOLDER = Path(vai.providers.__file__).parent
SOURCE = re.compile(r"(?:https://\S+|\b[Oo]bserved\b|\b[Rr]ecorded\b)[\s\S]*?\(?20\d\d-\d\d-\d\d")
MODULES = (
    "registry",
    *(f"translate/{name}" for name in ("options", "openai_models", "names", "content_parts")),
    "translate/target",
    *(f"anthropic/{name}" for name in ("count", "models", "request", "schema", "tools")),
    *(
        f"gemini/{name}"
        for name in ("faults", "models", "parts", "request", "server_tools", "tools")
    ),
    *(f"openai/{name}" for name in ("request", "tools")),
    *(f"responses/{name}" for name in ("adapter", "conversation", "extensions")),
    *(f"responses/{name}" for name in ("request", "tools")),
)
OWN = {
    # VAI's own choices and ways of work: no provider has said them.
    "anthropic/count": {"_members"},
    "anthropic/models": {"_OLD", "_NAME", "_OLD_NAME", "_ALWAYS_THINKING"},
    "anthropic/request": {"DEFAULT_MAX_TOKENS", "_BUDGETS", "_MAX_BETAS", "_MAX_BETA",
                          "_VAI_MEMBERS"},
    "anthropic/schema": {"Schema", "_MAX_DEPTH", "_SILENT", "_AS_IT_IS"},
    "anthropic/tools": {"_UNSUPPORTED"},
    "gemini/faults": {"_MAX_WAIT", "_MINUTE", "_PROJECT", "_DELAY"},
    "gemini/server_tools": {"Wire", "_KINDS"},
    "gemini/tools": {"Wire", "_READ_MEMBERS", "_LEGAL"},
    "gemini/parts": {"Part", "_FILE_ID", "_ARTICLES", "FILES", "_FILES_HOST", "_GOOGLE_FILE",
                     "_DATA_URL", "_MIME", "_PRIVATE", "_MAX_URL"},
    "gemini/models": {"_NAME", "_NEWEST"},
    "gemini/request": {"_BUDGETS", "_decode_members", "_decode_wrapped"},
    "translate/openai_models": {"_GPT", "_O", "_LOW_TO_HIGH"},
    "translate/options": {"_KEY_LENGTH", "_MAX_SEQUENCES", "_MAX_LENGTH"},
    "translate/names": {"_LEGAL", "_ILLEGAL", "_DIGITS"},
    "openai/tools": {"Wire", "_LOCATION_MEMBERS"},
    "translate/content_parts": {"Part"},
    "registry": {"_IDS", "_OPENAI_HOST", "_SPECS", "PROVIDER_SPECS", "SHARED_KEYS"},
    "responses/adapter": {"_CHAT_ALONE", "_SERVER_TOOLS"},
    "responses/conversation": {"CACHED", "Wire", "_CALL_TYPES", "_FORM", "_PICTURE"},
    "responses/tools": {"Wire", "_CHOSEN", "_FUNCTION_MEMBERS", "_LOCATION_MEMBERS"},
    "responses/extensions": {"_NAMES"},
    "responses/request": {"PATH", "_decode_members"},
    "translate/target": {"_MISTRAL"},
}  # fmt: skip


def constants(module: str) -> Iterator[tuple[str, str]]:
    """The names that a module assigns at its top, each with the words that belong to it."""
    text = (FOLDER / f"{module}.py").read_text()
    lines = text.splitlines()
    body = ast.parse(text).body
    for at, node in enumerate(body):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        assert isinstance(target, ast.Name)
        words = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        after = body[at + 1] if at + 1 < len(body) else None
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words += f"\n{after.value.value}"
        if target.id != "__all__":
            yield target.id, words


TABLES = [
    pytest.param(words, id=f"{module}.{name}")
    for module in MODULES
    for name, words in constants(module)
    if name not in OWN.get(module, set())
]


@pytest.mark.parametrize("words", TABLES)
def test_a_table_of_facts_has_a_source_and_a_date(words):
    assert SOURCE.search(words)


def test_what_is_excepted_exists():
    for module, names in OWN.items():
        assert names <= {name for name, _ in constants(module)}, module
    assert len(TABLES) > 30


@pytest.mark.parametrize(
    "traits",
    [models.OpenaiTraits, claudes.ClaudeTraits, googles.GeminiTraits],
    ids=["models", "claudes", "googles"],
)
def test_each_trait_of_a_model_has_a_source_and_a_date(traits):
    told = dict(re.findall(r"^ {8}(\w+): ((?:.+\n(?: {12}.*\n|\n)*)+?)(?= {8}\w+:|\s*\Z)",
                           f"{traits.__doc__}\n", re.MULTILINE))  # fmt: skip
    assert set(told) == set(traits.__struct_fields__)
    assert [name for name, words in told.items() if not SOURCE.search(words)] == []

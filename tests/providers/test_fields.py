"""Nothing that is asked for is lost in silence, and no provider claims what it cannot do."""

from __future__ import annotations

import pytest

from tests.providers.cases import CASES, MODELS, SPECIALISTS, outcome
from vai.providers.registry import PROVIDER_SPECS

ALL = [(row, model) for row in PROVIDER_SPECS for model in MODELS[row]]
NOTHING_TO_SAY = {
    # The model reasons as it sees fit in any case, and shows nothing of it.
    ("openai", "gpt-6-luna", "adaptive"),
}
FLAGS = {
    "images": "image",
    "image_urls": "image url",
    "audio": "audio",
    "video": "video",
    "documents": "pdf",
    "tools": "tools",
    "parallel_tools": "one call",
    "forced_tool": "one tool",
    "structured_output": "json_schema",
    "structured_output_with_tools": "json_schema and tools",
    "cache_control": "cached block",
    "top_k": "top_k",
    "thinking": "thinking",
    "prefill": "prefill",
    "audio_output": "audio answer",
    "image_output": "image answer",
}
HOSTED = {
    "web_search": "web_search",
    "web_fetch": "web_fetch",
    "code_execution": "code_execution",
    "computer": "computer_use",
    "file_search": "file_search",
    "image_generation": "image_generation",
}


@pytest.mark.parametrize(("provider", "model"), ALL)
def test_everything_asked_for_is_sent_named_or_refused(provider, model):
    wrong = {}
    for name, case in CASES.items():
        found, words = outcome(provider, model, case)
        if (provider, model, name) in NOTHING_TO_SAY:
            assert found == "lost"
            continue
        told = found == "refused" or (found == "named" and not case.critical)
        if found != "sent" and not (told and case.path in words):
            wrong[name] = (found, words)
    assert wrong == {}


def outcomes(row, name):
    models = (*MODELS[row], *SPECIALISTS.get(row, ()))
    return {outcome(row, model, CASES[name])[0] for model in models}


@pytest.mark.parametrize("row", PROVIDER_SPECS)
@pytest.mark.parametrize("flag", FLAGS)
def test_a_capability_is_what_the_adapter_does(row, flag):
    found = outcomes(row, FLAGS[flag])
    can = "sent" in found or (flag == "thinking" and "named" in found)
    assert getattr(PROVIDER_SPECS[row].capabilities, flag) is can, found


@pytest.mark.parametrize("row", PROVIDER_SPECS)
def test_a_provider_has_the_tools_that_it_says_it_has(row):
    found = {tool for tool, name in HOSTED.items() if outcomes(row, name) & {"sent", "named"}}
    assert found == PROVIDER_SPECS[row].capabilities.server_tools & set(HOSTED)


@pytest.mark.parametrize("row", PROVIDER_SPECS)
@pytest.mark.parametrize("name", ["bash", "text_editor", "memory"])
def test_a_tool_the_caller_runs_exists_everywhere(row, name):
    assert outcomes(row, name) == {"sent"}

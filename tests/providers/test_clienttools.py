"""Tools the caller runs have one name and one schema everywhere."""

from __future__ import annotations

import pytest

from vai.providers.translate.tools import to_client_tool, tool_family
from vai.types.request import Tool


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bash_20250124", "bash"),
        ("web_search", "web_search"),
        ("web_search_20260318", "web_search"),
        ("web_search_preview", "web_search"),
        ("computer_use", "computer"),
        ("computer_toolset_20260801", "computer"),
        ("code_interpreter", "code_execution"),
        ("tool_search_tool_bm25_20251119", "tool_search_tool_bm25"),
        (None, ""),
    ],
)
def test_a_version_does_not_change_what_a_tool_is(kind, expected):
    assert tool_family(kind) == expected


@pytest.mark.parametrize("kind", ["bash", "bash_20250124", "text_editor_20250728", "memory"])
def test_a_tool_the_caller_runs_is_a_described_function(kind):
    found = to_client_tool(Tool(type=kind))
    assert found is not None
    assert found.name
    assert found.description
    assert found.schema["type"] == "object"
    assert set(found.schema["required"]) <= set(found.schema["properties"])


def test_the_callers_name_for_a_tool_wins():
    found = to_client_tool(Tool(type="bash_20250124", name="shell"))
    assert found is not None
    assert found.name == "shell"


def test_the_older_editor_keeps_its_own_name_and_commands():
    found = to_client_tool(Tool(type="text_editor_20250124"))
    assert found is not None
    assert found.name == "str_replace_editor"
    assert "undo_edit" in found.schema["properties"]["command"]["enum"]


@pytest.mark.parametrize("kind", [None, "custom", "web_search", "computer_use", "nonsense"])
def test_other_tools_are_no_such_function(kind):
    assert to_client_tool(Tool(type=kind, name="x")) is None

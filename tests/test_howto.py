"""The pages on adding a setting, an endpoint and a field of the log, followed by their edits."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from tests.gateway.group import until
from tests.gateway.served import OPEN, Served, ask
from tests.howto import ROOT, edit_copy, list_edits, make_docs, run_python

pytestmark = pytest.mark.e2e


def test_a_setting_takes_two_edits_and_the_page(tmp_path: Path) -> None:
    edit_copy(tmp_path, "setting.md")
    assert {file for file, *_ in list_edits("setting.md")} == {
        "settings.toml",
        "vai/config/schema.py",
    }
    make_docs(tmp_path)
    row = re.search(r"\| `greeting` \|.*", (tmp_path / "docs/configuration.md").read_text())
    assert row is not None
    assert "at most 80 characters" in row[0]
    check = ("-m", "vai.cli", "check")
    run_python(tmp_path, *check, VAI_GREETING="hi", **OPEN)
    (tmp_path / "mine.toml").write_text(f'greeting = "{"x" * 81}"\n')
    refused = run_python(tmp_path, *check, code=2, VAI_CONFIG="mine.toml", **OPEN)
    assert "mine.toml, line 1" in refused


@pytest.mark.parametrize("page", ["endpoint.md", "log-field.md"])
def test_an_endpoint_and_a_field_of_the_log_serve(tmp_path: Path, page: str) -> None:
    edit_copy(tmp_path, page)
    running = Served(tmp_path, "--single-process", root=tmp_path, **OPEN)
    try:
        running.healthy()
        with closing(running.connection()) as connection:
            if page == "endpoint.md":
                status, _, body = ask(connection, "GET", "/version")
                assert (status, list(orjson.loads(body))) == (200, ["version"])
            else:
                ask(connection, "POST", "/v1/messages", {"model": "openai/x", "messages": []})
                until(lambda: '"path_length":12' in running.log(), 5)
    finally:
        running.end()


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text()
    for page in (ROOT / "docs/howto").iterdir():
        assert f"(howto/{page.name})" in index

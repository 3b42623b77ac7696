"""The settings of a provider that is logged in to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.canary import PROVIDER_KEY
from tests.io.google.fake import login
from vai.config import ConfigError, Settings, load
from vai.config.load import load_provider, load_with_warnings
from vai.config.login import TERMS
from vai.config.states import provider_states
from vai.io.google.login import write_login

PREFIX = "VAI_PROVIDERS__GEMINI_OAUTH__"
OPEN = {"VAI_AUTH__MODE": "none"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def problem_of(**variables: str) -> str:
    with pytest.raises(ConfigError) as failed:
        load(OPEN | variables)
    assert PROVIDER_KEY not in str(failed.value)
    (problem,) = failed.value.problems
    return str(problem)


def test_it_is_served_once_there_is_a_login(tmp_path: Path) -> None:
    enabled = {PREFIX + "ENABLED": "true"}
    assert "run: vai login gemini" in problem_of(**enabled)
    file = tmp_path / "vai" / "gemini-oauth.json"
    write_login(file, login())
    settings, warnings = load_with_warnings(date(2026, 11, 28), OPEN | enabled)
    assert provider_states(settings)["gemini-oauth"] == "real, with your login"
    assert TERMS in {warning.text for warning in warnings}
    assert provider_states(Settings())["gemini-oauth"] == "off"
    assert load_with_warnings(date(2026, 11, 28), OPEN)[1] == []
    file.write_text("{}")
    assert "holds no login" in problem_of(**enabled)
    other = tmp_path / "other.json"
    write_login(other, login())
    assert load(OPEN | enabled | {PREFIX + "CREDENTIALS_FILE": str(other)}).providers


def test_the_operators_login_is_not_for_callers_who_bring_their_own_keys(tmp_path: Path) -> None:
    write_login(tmp_path / "vai" / "gemini-oauth.json", login())
    problem = problem_of(VAI_AUTH__MODE="passthrough", **{PREFIX + "ENABLED": "true"})
    assert "never used" in problem


def test_it_has_no_key_and_others_have_no_login() -> None:
    assert "has no keys" in problem_of(**{PREFIX + "API_KEY": PROVIDER_KEY})
    for name, value in (
        ("ENABLED", "true"),
        ("CLIENT_ID", "x"),
        ("CLIENT_SECRET", PROVIDER_KEY),
        ("CREDENTIALS_FILE", "x"),
    ):
        problem = problem_of(**{f"VAI_PROVIDERS__OPENAI__{name}": value})
        assert "only gemini-oauth is logged in to" in problem


def test_a_login_is_made_with_settings_that_cannot_be_served_with(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("port = 'many'\n[providers.gemini-oauth]\nenabled = true\nclient_id = 'x'\n")
    with pytest.raises(ConfigError):
        load({"VAI_CONFIG": str(file)})
    assert load_provider("gemini-oauth", {}, config=file).client_id == "x"
    file.write_text("[providers.gemini-oauth]\nclient_id = 7\nno_such = 1\n")
    with pytest.raises(ConfigError) as failed:
        load_provider("gemini-oauth", {"VAI_CONFIG": str(file)})
    assert {problem.key for problem in failed.value.problems} == {
        "providers.gemini-oauth.client_id",
        "providers.gemini-oauth.no_such",
    }

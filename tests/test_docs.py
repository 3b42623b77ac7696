"""The documents say what the code does: settings, decisions, the commands they show."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vai.cli.commands import app
from vai.cli.pages import catalogue_schema, feature_matrix, with_providers
from vai.config import load
from vai.config.reference import settings_page
from vai.io.catalogue import installed_catalogue
from vai.policy.cost import price_on
from vai.providers.factory import make_adapter
from vai.providers.openai.request import allowed_extensions
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

ROOT = Path(__file__).parents[1]
API = (ROOT / "docs/api.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_settings_page_is_made_from_the_settings_file():
    expected = settings_page((ROOT / "settings.toml").read_text())
    assert (ROOT / "docs/configuration.md").read_text() == expected, "run make docs"


def test_the_settings_page_keeps_what_the_file_says_of_a_section():
    text = (ROOT / "settings.toml").read_text()
    above = re.findall(r"((?:^#.*\n)+)^\[([\w.]+)\]$", text, re.MULTILINE)
    shown = (ROOT / "docs/configuration.md").read_text()
    lost = []
    for comment, table in above:
        words = " ".join(line.removeprefix("#").strip() for line in comment.splitlines())
        heading = f"### {table}" if "." in table else f"## {table}"
        if not re.search(rf"^{re.escape(heading)}\n\n{re.escape(words)}\n", shown, re.MULTILINE):
            lost.append(table)
    assert lost == []
    assert {"providers", "breaker", "limits.per_user", "observability.tracing"} <= {
        table for _, table in above
    }


def test_each_page_is_in_the_index_once():
    index = (ROOT / "docs/index.md").read_text()
    listed = re.findall(r"^- \[[^]]*\]\(([^)#]+)\)", index, re.MULTILINE)
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert sorted(listed) == sorted(pages | {"decisions/"})
    named = re.findall(r"^- \[[^]]*\]\(([^)#]+)\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(named) == len(set(named)) > 3


def test_the_feature_matrix_is_made_from_the_code():
    assert (ROOT / "docs/FEATURE_MATRIX.md").read_text() == feature_matrix(), "run make docs"


def test_the_readme_names_the_built_in_providers():
    text = (ROOT / "README.md").read_text()
    assert text == with_providers(text), "run make docs"
    words = " ".join(text.split())
    assert all(spec.name in words for spec in PROVIDER_SPECS.values())


def test_the_catalogues_schema_is_made_from_its_types():
    assert (ROOT / "vai/catalogue/models.schema.json").read_bytes() == catalogue_schema(), (
        "run make docs"
    )


def anchors(target: Path, itself: Path) -> set[str]:
    """The places of a page that a link can name."""
    page = itself if target.is_dir() else target
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (file.parent / link).exists()] == []
    places = re.findall(r"\]\(([^):#]*)#([^)]+)\)", file.read_text())
    assert [
        place for place in places if place[1] not in anchors(file.parent / place[0], file)
    ] == []


def test_make_targets_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert shown
    assert shown <= targets


def test_the_readme_has_the_blocks_that_are_run():
    text = (ROOT / "README.md").read_text()
    blocks = dict(re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", text, re.DOTALL))
    assert list(blocks) == ["json", "sse", "python"]
    assert len(blocks["python"].splitlines()) <= 10
    compile(blocks["python"], "README.md", "exec")


def test_commands_named_in_the_documents_exist():
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    shown = set()
    for file in PAGES:
        shown |= set(re.findall(r"`(?:[^`\n]*/)?vai ([a-z]+)[^`]*`", file.read_text()))
    assert shown
    assert shown <= known


NAMED_IN = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (
        *(page for page in PAGES if page.name != "FEATURE_MATRIX.md"),
        *(ROOT / name for name in ("settings.toml", "config.example.toml", "demo.toml")),
    )
} | {
    "vai/providers/registry.py": " ".join(
        f'"{name}/{spec.example_model}"' for name, spec in PROVIDER_SPECS.items()
    )
}
"""Where models are named for a reader to use. The feature matrix is the catalogue itself."""
NAMED = sorted(
    {
        (place, provider, model.rstrip("."))
        for place, text in NAMED_IN.items()
        for provider, model in re.findall(
            rf"(?<![\w./-])({'|'.join(PROVIDER_SPECS)})/((?:[\w-]+/)?[\w.-]*\d[\w.-]*)", text
        )
        if model != "v1"
    }
)


def test_every_page_is_searched_for_models():
    assert {("README.md", "anthropic"), ("settings.toml", "groq"), ("docs/api.md", "gemini")} <= {
        (place, provider) for place, provider, _ in NAMED
    }
    assert {provider for place, provider, _ in NAMED if place.endswith(".py")} == set(
        PROVIDER_SPECS
    )


@pytest.mark.parametrize(("place", "provider", "model"), NAMED)
def test_a_model_that_is_named_is_served_and_priced(place, provider, model):
    card = installed_catalogue().find_card(provider, model)
    assert card is not None, "not in the catalogue"
    assert card.retires_at is None, "its provider has said when it retires"
    price = price_on(card, datetime.now(UTC).date())
    assert price is not None
    assert None not in (price.input, price.output)


def test_decisions_are_numbered_once():
    numbers = [file.name[:3] for file in (ROOT / "docs/decisions").glob("*.md")]
    assert len(set(numbers)) == len(numbers)
    assert all(number.isdecimal() for number in numbers)


@pytest.mark.parametrize("name", ["config.example.toml", "demo.toml"])
def test_the_sample_files_are_valid(name):
    text = (ROOT / name).read_text()
    variables = {variable: variable for variable in re.findall(r"\$\{(\w+)\}", text)}
    settings = load({**variables, "VAI_CONFIG": str(ROOT / name)})
    assert settings.auth.mode == tomllib.loads(text)["auth"]["mode"]


MODELS = {"anthropic": "claude-opus-4-6", "openai": "gpt-audio-1.5"}
FORMS = {
    "prompt_cache_options": {"mode": "implicit"},
    "reasoning": {"effort": "low"},
    "text": {"verbosity": "low"},
    "thinking": {"level": "low"},
}
"""Members whose value must be an object of theirs."""


def documented(provider: str) -> set[str]:
    """The members that the page on the API lists for `extensions.<provider>`."""
    row = re.search(rf"^\| `{provider}`[^|]*\| (.*) \|$", API, re.MULTILINE)
    return set(re.findall(r"`([A-Za-z_]+)`", row[1].replace("`gemini`", "").replace("()", "")))


@pytest.mark.parametrize(
    "provider", ["anthropic", "openai", "oai-resp", "groq", "cerebras", "gemini"]
)
def test_documented_extensions_are_passed_on(provider):
    named = documented(provider) - ({"labels"} if provider == "gemini" else set())
    given = {name: FORMS.get(name, ["x"] if name in ("betas", "include") else 1) for name in named}
    body = {
        "model": MODELS.get(provider, "m"),
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}],
        "extensions": {provider: given},
    }
    if "audio" in given:
        body["output"] = {"modalities": ["audio"]}
    ask = parse.parse_request(body)
    adapter = make_adapter(PROVIDER_SPECS[provider], "x", request=ask)
    adapter.build_request(ask)
    assert [path for path in adapter.dropped if path.startswith("extensions.")] == []
    assert len(given) > 5


@pytest.mark.parametrize("provider", ["openai", "groq", "cerebras"])
def test_all_extensions_are_documented(provider):
    assert allowed_extensions(provider) <= documented(provider)


COMPLETE = ("keys", "limits", "models", "providers", "resilience")
"""Pages whose blocks of settings can be served with as they are."""
TOML = [
    pytest.param(block, id=f"{name}-{number}")
    for name in COMPLETE
    for number, block in enumerate(
        re.findall(r"```toml\n(.*?)```", (ROOT / f"docs/{name}.md").read_text(), re.DOTALL)
    )
]


@pytest.mark.parametrize("block", TOML)
def test_settings_shown_are_settings(block, tmp_path):
    shown = tmp_path / "shown.toml"
    open_to_all = "" if "[auth" in block else '[auth]\nmode = "none"\n'
    shown.write_text(block + "\n" + open_to_all)
    variables = {variable: variable for variable in re.findall(r"\$\{(\w+)\}", block)}
    load({**variables, "VAI_CONFIG": str(shown)})

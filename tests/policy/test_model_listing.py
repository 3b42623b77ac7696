"""The three forms of the list, on days of our choice."""

from __future__ import annotations

from datetime import date

import pytest

from vai.errors import NotFound
from vai.policy.catalogue import Catalogue
from vai.policy.model_listing import Listing
from vai.providers.registry import PROVIDER_SPECS
from vai.types.catalogue import Features, MaxOutput, ModelCard, Price, Reasoning

DAY = date(2026, 11, 22)
ROWS_USED = {name: PROVIDER_SPECS[name] for name in ("anthropic", "groq")}

CARDS = [
    ModelCard(
        provider="anthropic",
        id="claude-old",
        retires_at=date(2026, 11, 30),
        max_output=MaxOutput(stream=10),
        input=("text", "image"),
    ),
    ModelCard(
        provider="groq",
        id="org/m",
        released=date(2026, 1, 2),
        features=Features(tools=True, thinking=Reasoning(types=())),
        prices=(
            Price(until=date(2026, 11, 30), input="1", output="2"),
            Price(since=date(2026, 12, 1), input="3", cache_read="0.5"),
        ),
    ),
    ModelCard(provider="cerebras", id="elsewhere"),
]
ALIASES = {"quick": "groq/org/m", "mystery": "groq/not-listed"}


@pytest.fixture
def listing() -> Listing:
    return Listing(Catalogue(CARDS), ROWS_USED, {"groq": "configured"}, ALIASES)


def models(page: dict) -> dict[str, dict]:
    return {model["full_id"]: model for row in page["providers"] for model in row["models"]}


def test_only_what_is_served_is_listed_and_only_what_is_known_is_said(listing):
    found = models(listing.list_vai(DAY))
    assert set(found) == {"anthropic/claude-old", "groq/org/m"}
    old, other = found["anthropic/claude-old"], found["groq/org/m"]
    assert old["status"] == "byok"
    assert old["max_output_tokens"] == 10
    assert "pricing" not in old
    assert "context_window" not in old
    assert old["capabilities"] == {
        "vision": True,
        "documents": False,
        "audio_input": False,
        "video": False,
    }
    assert other["status"] == "configured"
    assert other["capabilities"] == {"tools": True, "tool_streaming": True, "thinking": False}


@pytest.mark.parametrize(
    ("window", "most", "longest"),
    [(400, 272, 272), (400, None, 400), (None, 272, 272), (100, 272, 100), (None, None, None)],
)
def test_the_longest_prompt_is_told_beside_the_window(window, most, longest):
    """In VAI's form, in Anthropic's, and with neither limit known."""
    card = ModelCard(provider="groq", id="m", context_window=window, max_input=most)
    listing = Listing(Catalogue([card]), ROWS_USED, {}, {})
    wire = listing.describe_model("groq/m", "vai", DAY)
    assert (wire.get("context_window"), wire.get("max_input_tokens")) == (window, longest)
    assert listing.describe_model("groq/m", "anthropic", DAY)["max_input_tokens"] == longest


def test_prices_are_those_of_the_day(listing):
    def pricing(day: date) -> dict[str, float]:
        return models(listing.list_vai(day))["groq/org/m"]["pricing"]

    assert pricing(date(2026, 11, 30)) == {"input_per_mtok": 1.0, "output_per_mtok": 2.0}
    assert pricing(date(2026, 12, 1)) == {"input_per_mtok": 3.0, "cache_read_per_mtok": 0.5}


def test_aliases_follow_the_filters(listing):
    assert listing.list_vai(DAY)["aliases"] == ALIASES
    assert listing.list_vai(DAY, capability="tools")["aliases"] == {"quick": "groq/org/m"}
    assert listing.list_vai(DAY, provider="anthropic")["aliases"] == {}
    ids = [item["id"] for item in listing.list_openai()["data"]]
    assert ids == ["anthropic/claude-old", "groq/org/m", "quick", "mystery"]


def test_the_life_of_a_model(listing):
    def life(day: date) -> str:
        return str(listing.describe_model("claude-old", "anthropic", day)["lifecycle"])

    assert life(date(2026, 11, 30)) == "deprecated"
    assert life(date(2026, 12, 1)) == "retired"
    assert listing.describe_model("quick", "anthropic", DAY)["lifecycle"] == "active"


def test_one_model_by_any_of_its_names(listing):
    for name in ("groq/org/m", "quick"):
        wire = listing.describe_model(name, "vai", DAY)
        assert (wire["id"], wire["full_id"], wire["created"]) == (name, "groq/org/m", 1767312000)
    assert listing.describe_model("mystery", "vai", DAY)["full_id"] == "groq/not-listed"
    for name in ("groq/not-listed", "cerebras/elsewhere", "org/m", "", "/", "x" * 1024):
        with pytest.raises(NotFound):
            listing.describe_model(name, "vai", DAY)


def test_a_list_without_an_end_is_turned_page_by_page(listing):
    ids = []
    page = listing.list_anthropic(DAY, limit=1)
    while page["data"]:
        ids.append(page["first_id"])
        assert page["first_id"] == page["last_id"]
        assert page["has_more"] is (len(ids) < 4)
        page = listing.list_anthropic(DAY, limit=1, after_id=page["last_id"])
    assert ids == ["claude-old", "groq/org/m", "quick", "mystery"]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (None, None, False)
    between = listing.list_anthropic(DAY, after_id="claude-old", before_id="mystery")
    assert [item["id"] for item in between["data"]] == ["groq/org/m", "quick"]

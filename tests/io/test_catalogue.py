"""The data file, what settings make of it, and that the adapters agree with it."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import msgspec
import pytest

from vai.config import ConfigError, Settings, load
from vai.io.catalogue import FILE, catalogue_from_settings, installed_catalogue
from vai.policy.capabilities import CAPABILITIES, known_capabilities
from vai.policy.cost import price_on, rates_on
from vai.providers.anthropic import models as claude_models
from vai.providers.gemini import models as gemini_models
from vai.providers.translate import openai_models as chat_models
from vai.types.catalogue import CatalogueFile, ModelCard

DAY = date(2026, 11, 22)
FILED = msgspec.json.decode(FILE.read_bytes(), type=CatalogueFile).models


def cards(*providers: str) -> list[ModelCard]:
    return [card for card in installed_catalogue().cards if card.provider in providers]


def by_name(card: ModelCard) -> str:
    return card.full_id


# --- the file ----------------------------------------------------------------------------------


def test_each_model_is_listed_once():
    names = [
        (card.provider, name)
        for card in installed_catalogue().cards
        for name in (card.id, *card.aliases)
    ]
    assert len(set(names)) == len(names)
    filed = sum(1 + len(card.also) for card in FILED)
    assert len(installed_catalogue().cards) == filed > 80


@pytest.mark.parametrize("card", FILED, ids=by_name)
def test_rows_say_where_they_come_from_and_make_sense(card):
    assert card.provenance
    assert all("/work" not in str(said) for said in card.provenance)
    assert all((said.url or "https://").startswith("https://") for said in card.provenance)
    if card.context_window is not None:
        # The window is that of prompt and answer together.
        for part in (card.max_output.stream, card.max_output.continued, card.max_input):
            assert part is None or part <= card.context_window
    efforts = card.features.thinking.efforts
    if efforts:
        assert card.features.thinking.types
        if card.features.thinking.always_on is not None:
            assert card.features.thinking.always_on is ("none" not in efforts) or (
                card.provider == "anthropic"
            )


@pytest.mark.parametrize("card", FILED, ids=by_name)
def test_prices_of_a_day_are_one_and_rise_with_the_prompt(card):
    for day in (DAY, date(2026, 12, 1)):
        held = [price for price in card.prices if price.applies_on(day)]
        steps = [price.over_input_tokens for price in held]
        assert len(set(steps)) == len(steps)
        if not held:
            continue
        rates = rates_on(card, day)
        assert rates is not None
        inputs = [step.input for step in rates.steps]
        assert inputs == sorted(inputs, reverse=True)
        for step in rates.steps:
            assert step.input is not None
            assert step.output is not None
            assert step.output >= step.input
            assert step.cache_read is None or step.cache_read < step.input


def test_the_price_steps_that_are_known():
    def inputs(name: str, day: date = DAY) -> dict[int, str | None]:
        card = installed_catalogue().find_card(*name.split("/", 1))
        assert card is not None
        return {p.over_input_tokens: p.input for p in card.prices if p.applies_on(day)}

    assert inputs("gemini/gemini-4-argon") == {0: "2"}
    assert inputs("gemini/gemini-4-argon", date(2026, 12, 1)) == {0: "4"}
    assert inputs("anthropic/claude-haiku-5-5") == {0: "0.1", 100_000: "0.5"}
    assert inputs("oai-resp/gpt-6-astra") == {0: "10", 272_000: "20"}
    assert inputs("gemini/gemini-2.5-pro") == {0: "1.25", 200_000: "2.5"}


@pytest.mark.parametrize(
    ("name", "window", "prompt"),
    [
        ("openai/gpt-6-sol", 1_050_000, 922_000),
        ("openai/gpt-5", 400_000, 272_000),
        ("openai/gpt-4o", 128_000, 128_000),
        ("anthropic/claude-opus-5-5", 1_000_000, 1_000_000),
        ("gemini/gemini-4-argon", 1_048_576, 1_048_576),
        ("gemini/gemini-3.8-flash", None, 1_048_576),  # Google limits prompt and answer apart
        ("groq/qwen/qwen3.8-27b", 131_072, 131_072),
    ],
)
def test_the_window_is_of_prompt_and_answer_together(name, window, prompt):
    card = installed_catalogue().find_card(*name.split("/", 1))
    assert (card.context_window, card.longest_prompt) == (window, prompt)


def test_what_is_gone_and_what_retires():
    known = installed_catalogue()
    for name in ("gemma-4-31b", "zai-glm-4.7"):
        assert known.find_card("cerebras", name) is None
    for name in ("gemini-2.5-pro", "gemini-2.5-flash"):
        assert known.find_card("gemini", name).retires_at == date(2026, 12, 1)
        # Google states nothing about the service behind a login.
        assert known.find_card("gemini-oauth", name).retires_at is None


def test_a_login_costs_nothing_whichever_model_it_is():
    for card in cards("gemini-oauth"):
        assert price_on(card, DAY).input == "0", card.id


def test_snapshots_and_aliases_are_their_model():
    known = installed_catalogue()
    haiku = known.find_card("anthropic", "claude-haiku-4-5")
    assert haiku is not None
    for name in (
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5-latest",
        "claude-haiku-4-5-20301231",
    ):
        assert known.find_card("anthropic", name) is haiku
    assert known.find_card("openai", "gpt-4o-2024-08-06") is known.find_card("openai", "gpt-4o")
    for name in ("claude-haiku-4-5-2025", "claude-haiku-4", "claude-haiku-4-5-x-20251001", ""):
        assert known.find_card("anthropic", name) is None
    assert known.find_card("groq", "claude-haiku-4-5") is None


def test_the_data_is_beside_the_code_that_is_shipped():
    package = Path(__import__("vai").__file__).parent
    assert FILE.is_relative_to(package)
    assert (FILE.parent / "models.schema.json").is_file()


# --- the adapters ------------------------------------------------------------------------------


def agree(said: bool | None, told: bool) -> bool:
    """What the catalogue does not know contradicts nobody."""
    return said is None or said is told


@pytest.mark.parametrize("card", cards("anthropic"), ids=by_name)
def test_claudes_adapter_agrees(card):
    traits, features = claude_models.find_traits(card.id), card.features
    assert agree(features.sampling, traits.accepts_sampling)
    assert agree(features.forced_tool, traits.forced_tool)
    assert agree(features.prefill, traits.prefill)
    assert agree(features.thinking.always_on, not traits.thinking_can_be_disabled)
    if features.thinking.types is not None:
        assert ("adaptive" in features.thinking.types) is traits.accepts_adaptive_thinking
        assert ("enabled" in features.thinking.types) is traits.accepts_thinking_budget
    if features.thinking.efforts is not None:
        assert traits.efforts


@pytest.mark.parametrize("card", cards("openai", "oai-resp", "groq", "cerebras"), ids=by_name)
def test_the_chat_adapters_agree(card):
    traits, features = chat_models.traits_of_model(card.provider, card.id), card.features
    assert agree(features.sampling, traits.accepts_sampling)
    assert agree(features.stop, traits.accepts_stop)
    if features.thinking.efforts is not None:
        assert features.thinking.efforts == traits.efforts
    if features.thinking.default == "off":
        assert traits.reasoning_off_by_default
    assert agree(features.cache.explicit, traits.cache_breakpoints)


@pytest.mark.parametrize("card", cards("gemini", "gemini-oauth"), ids=by_name)
def test_geminis_adapter_agrees(card):
    traits, features = gemini_models.traits_of_model(card.id), card.features
    assert agree(features.sampling, traits.accepts_sampling)
    assert agree(features.thinking.always_on, not traits.thinking_can_be_disabled)
    if features.thinking.efforts is not None:
        assert features.thinking.efforts == traits.levels
    if card.output is not None:
        assert ("image" in card.output) is traits.outputs_images


# --- settings ----------------------------------------------------------------------------------


@pytest.fixture
def configure(tmp_path: Path):
    def configure(text: str) -> Settings:
        file = tmp_path / "own.toml"
        file.write_text(f"auth.mode = 'none'\n{text}")
        return load({"VAI_CONFIG": str(file)})

    return configure


def test_without_settings_it_is_the_installed_one(configure):
    assert catalogue_from_settings(configure("")) is installed_catalogue()


def test_settings_change_a_card_field_by_field(configure):
    known = catalogue_from_settings(
        configure(
            """
            [models."openai/gpt-6.1-sol"]
            name = "House Sol"
            max_output = 1000
            [models."openai/gpt-6.1-sol".price]
            input = 0.1
            output = 3
            """
        )
    )
    before, card = (
        installed_catalogue().find_card("openai", "gpt-6.1-sol"),
        known.find_card("openai", "gpt-6.1-sol"),
    )
    assert before is not None
    assert card is not None
    assert (card.name, card.max_output.stream) == ("House Sol", 1000)
    price = price_on(card, DAY)
    assert price is not None
    assert (price.input, price.output, price.cache_read) == ("0.1", "3.0", None)
    assert len(card.prices) == 1
    assert card.context_window == before.context_window
    assert card.features == before.features
    assert known.find_card("openai", "gpt-6-sol") == installed_catalogue().find_card(
        "openai", "gpt-6-sol"
    )


def test_settings_add_a_model(configure):
    known = catalogue_from_settings(
        configure(
            """
            [providers.mine]
            kind = "openai"
            base_url = "http://127.0.0.1:1/v1"
            [models."mine/org/llama-70b"]
            context_window = 131072
            capabilities = ["text", "tools", "vision"]
            """
        )
    )
    card = known.find_card("mine", "org/llama-70b")
    assert card is not None
    assert card.context_window == 131_072
    assert card.max_output.stream is None
    assert rates_on(card, DAY) is None
    there = {name for name, known in known_capabilities(card).items() if known}
    assert there == {"text", "tools", "tool_streaming", "vision"}
    assert set(known_capabilities(card)) == set(CAPABILITIES)
    assert known.providers_of_name("org/llama-70b") == ("mine",)


def test_settings_limit_the_prompt_apart(configure):
    text = '[models."openai/gpt-4o"]\nmax_input = 100000\n[models."openai/gpt-6-sol"]\n'
    known = catalogue_from_settings(configure(text + "context_window = 200000"))
    assert known.find_card("openai", "gpt-4o").longest_prompt == 100_000
    assert known.find_card("openai", "gpt-4o").context_window == 128_000
    assert known.find_card("openai", "gpt-6-sol").longest_prompt == 200_000


def test_a_price_of_the_settings_is_the_one_at_the_host_of_the_settings(configure):
    known = catalogue_from_settings(
        configure('[models."openai/mine"]\nprice = {input = 1, output = 1}')
    )
    assert rates_on(known.find_card("openai", "mine"), DAY, "regional").regional == 1000


def test_a_snapshot_can_be_spoken_of_alone(configure):
    known = catalogue_from_settings(
        configure('[models."openai/gpt-4o-2024-08-06"]\nmax_output = 5')
    )
    assert known.find_card("openai", "gpt-4o-2024-08-06").max_output.stream == 5
    assert known.find_card("openai", "gpt-4o").max_output.stream == 16_384


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ('[models.gpt]\nname = "x"', "models.gpt", "provider/model"),
        ('[models."nobody/x"]\nname = "x"', "models.nobody/x", "no such provider"),
        ('[models."openai/x"]\ncontext_window = 0', "models.openai/x.context_window", "whole"),
        ('[models."openai/x"]\ncapabilities = ["esp"]', "models.openai/x.capabilities", "vision"),
        ('[models."openai/x"]\nprice.input = -1', "models.openai/x.price.input", "number"),
        ('[models."openai/x"]\nprice.input = 1e-9', "models.openai/x.price.input", "decimals"),
        ('[models."openai/x"]\nprice.inputs = 1', "models.openai/x.price.inputs", "no such"),
    ],
)
def test_a_mistake_is_told_with_its_key(configure, text, key, word):
    with pytest.raises(ConfigError) as caught:
        configure(text)
    said = str(caught.value)
    assert key in said
    assert re.search(word, said)

"""The catalogue against price lists: small wheels of our own, read as the real ones are."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tools.catalogue_diff import __main__ as command
from tools.catalogue_diff import wheels
from tools.catalogue_diff.compare import Difference, differences
from tools.catalogue_diff.explained import Explanation, explanations
from tools.catalogue_diff.listed import number
from tools.catalogue_diff.ours import listed
from tools.catalogue_diff.report import report
from vai.types.catalogue import (
    Charges,
    Features,
    MaxOutput,
    ModelCard,
    Price,
    Provenance,
    Reasoning,
)

TODAY = date(2026, 11, 28)
LITELLM = "litellm/model_prices_and_context_window_backup.json"
SOURCE = (Provenance(source="a page", retrieved=date(2026, 11, 20)),)


def card(model: str, provider: str = "openai", **facts: Any) -> ModelCard:
    return ModelCard(provider=provider, id=model, provenance=SOURCE, **facts)


CARD = card(
    "gpt-9",
    aliases=("gpt-9-best",),
    context_window=400,
    max_input=272,
    max_output=MaxOutput(stream=128, unstreamed=64),
    prices=(
        Price(until=date(2026, 11, 30), input="1.0", output="4", cache_read="0.10"),
        Price(since=date(2026, 12, 1), input="2", output="8"),
        Price(over_input_tokens=272_000, input="2", output="6"),
    ),
    charges=Charges(factors={"flex": "0.5"}),
    features=Features(thinking=Reasoning(types=("level",), efforts=("none", "low"))),
)

AGREEING = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": 1e-06,
    "output_cost_per_token": 4e-06,
    "cache_read_input_token_cost": 1e-07,
    "input_cost_per_token_above_272k_tokens": 2e-06,
    "input_cost_per_token_flex": 5e-07,
    "max_input_tokens": 272.0,
    "max_output_tokens": 64,
    "supports_none_reasoning_effort": True,
    "supports_max_reasoning_effort": False,
}


def write_wheel(folder: Path, package: str, files: dict[str, str], version: str = "1.2") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return path


def litellm(folder: Path, **models: dict[str, Any]) -> None:
    sbom = json.dumps({"metadata": {"timestamp": "2026-11-20T03:38:35Z"}})
    files = {
        LITELLM: json.dumps(models),
        "litellm-1.2.dist-info/sboms/bom.json": sbom,
    }
    write_wheel(folder, "litellm", files)


def genai(folder: Path, models: str) -> None:
    text = (
        "import os\nos.abort()  # it is never run\n"
        "providers: list[Provider] = [Provider(id='openai', price_comments='seen 2026-10-14, "
        f"until 2027-01-01', models=[{models}]), Provider(id='other', models=[])]\n"
    )
    write_wheel(folder, "genai_prices", {"genai_prices/data.py": text})


def found(folder: Path, *cards: ModelCard) -> list[Difference]:
    ours = listed(cards)
    lists = command.read_lists(folder, ours, TODAY)
    assert lists
    return sorted(differences(ours, lists, TODAY))


def told(found: list[Difference]) -> list[tuple[str, ...]]:
    return [(one.group, one.name, one.field, one.here, one.there) for one in found]


# --- what differs ------------------------------------------------------------------------------


def test_a_list_that_agrees_is_no_difference(tmp_path):
    """A window may be that of prompt and answer, or of the prompt; limits may be of either form."""
    litellm(
        tmp_path, **{"gpt-9": AGREEING, "gpt-9-2026-01-01": {**AGREEING, "max_input_tokens": 1}}
    )
    assert found(tmp_path, CARD) == []
    litellm(tmp_path, **{"gpt-9": AGREEING | {"max_input_tokens": 400, "max_output_tokens": 128}})
    assert found(tmp_path, CARD) == []


@pytest.mark.parametrize(
    ("row", "group", "field", "here", "there"),
    [
        ({"input_cost_per_token": 2.5e-06, "input_cost_per_token_flex": 1.25e-06},
         "price differs", "input", "1", "2.5"),
        ({"cache_creation_input_token_cost": 1.25e-06},
         "price differs", "cache_write", "", "1.25"),
        ({"input_cost_per_token_above_272k_tokens": 3e-06},
         "price differs", "input over 272000", "2", "3"),
        ({"max_input_tokens": 500}, "window differs", "window", "400 or 272", "500"),
        ({"max_output_tokens": 1}, "output limit differs", "max_output", "128 or 64", "1"),
        ({"deprecation_date": "2027-01-01"},
         "other fact differs", "retires_at", "", "2027-01-01"),
        ({"input_cost_per_token_flex": 6e-07}, "other fact differs", "factor flex", "0.5", "0.6"),
        ({"regional_processing_uplift_multiplier_eu": 1.1},
         "other fact differs", "factor regional", "", "1.1"),
        ({"supports_max_reasoning_effort": True},
         "other fact differs", "effort max", "no", "yes"),
        ({"search_context_cost_per_query": {"search_context_size_medium": 0.01}},
         "other fact differs", "web_search", "", "10"),
    ],
)  # fmt: skip
def test_each_kind_of_difference(tmp_path, row, group, field, here, there):
    litellm(tmp_path, **{"gpt-9": AGREEING | row})
    assert told(found(tmp_path, CARD)) == [(group, "openai/gpt-9", field, here, there)]


def test_both_dates_are_told(tmp_path):
    litellm(tmp_path, **{"gpt-9": AGREEING | {"max_output_tokens": 1}})
    (one,) = found(tmp_path, CARD)
    assert (one.here_dated, one.there_dated) == ("2026-11-20", "2026-11-20")
    other = "ModelInfo(id='embedding-1', match=ClauseEquals(equals='embedding-1'))"
    genai(tmp_path, other)
    assert [one.there_dated for one in found(tmp_path, CARD)] == ["2026-10-14", "2026-11-20"]


GENAI = """
ModelInfo(
    id='gpt-9',
    match=ClauseOr(or_=[ClauseEquals(equals='gpt-9'), ClauseStartsWith(starts_with='gpt-9-')]),
    context_window=400,
    prices=[
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('9'), output_mtok=Decimal('9'))),
        ConditionalPrice(
            constraint=StartDateConstraint(start_date=datetime.date(2026, 7, 30)),
            prices=ModelPrice(
                input_mtok=TieredPrices(
                    base=Decimal('1'), tiers=[Tier(start=272000, price=Decimal('2'))]
                ),
                output_mtok=Decimal('4'),
            ),
        ),
        ConditionalPrice(
            constraint=StartDateConstraint(start_date=datetime.date(2026, 12, 1)),
            prices=ModelPrice(input_mtok=Decimal('2'), cache_read_mtok=Decimal('0.2')),
        ),
    ],
    price_variants=[
        PriceVariant(when={'service_tier': 'flex'}, prices=ModelPrice(input_mtok=Decimal('0.25')))
    ],
)"""


def test_prices_of_days_to_come_are_compared_where_a_list_knows_them(tmp_path):
    genai(tmp_path, GENAI)
    assert told(found(tmp_path, CARD)) == [
        ("price differs", "openai/gpt-9", "cache_read from 2026-12-01", "", "0.2"),
        ("other fact differs", "openai/gpt-9", "factor flex", "0.5", "0.25"),
    ]


def test_a_list_that_knows_no_days_is_held_against_today_alone(tmp_path):
    litellm(tmp_path, **{"gpt-9": AGREEING})
    assert found(tmp_path, CARD) == []  # and not against the price of December


# --- what is missing, what is gone -------------------------------------------------------------


def test_models_that_are_missing_here_and_gone_there(tmp_path):
    chat = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06}
    litellm(
        tmp_path,
        **{
            "gpt-9": AGREEING,
            "gpt-9-best": AGREEING,  # another name of ours
            "gpt-10": chat,
            "gpt-10-2026-10-10": chat,
            "gpt-8": chat | {"deprecation_date": "2026-10-01"},
            "ft:gpt-10": chat,
            "gpt-10-audio": chat,
            "gpt-10-embedding": chat | {"mode": "embedding"},
            "openai/container": {"litellm_provider": "openai", "mode": "chat"},
            "groq/moonshotai/k9": chat | {"litellm_provider": "groq"},
            "mistral/large": chat | {"litellm_provider": "mistral"},
        },
    )
    genai(tmp_path, "ModelInfo(id='gpt-8', match=ClauseEquals(equals='gpt-8'),"
          "prices=ModelPrice(input_mtok=Decimal('1'))), " + GENAI)  # fmt: skip
    ended = card("gpt-7", retires_at=date(2026, 11, 1))
    names = [
        (one.group, one.package, one.name)
        for one in found(tmp_path, CARD, card("gpt-11"), ended)
        if one.group in ("missing here", "gone there")
    ]
    assert names == [
        ("missing here", "litellm", "groq/moonshotai/k9"),
        ("missing here", "litellm", "openai/gpt-10"),
        ("gone there", "genai-prices", "openai/gpt-11"),
        ("gone there", "litellm", "openai/gpt-11"),
    ]


def test_a_provider_that_serves_anothers_model_is_not_compared_twice(tmp_path):
    litellm(tmp_path, **{"gpt-9": AGREEING | {"max_output_tokens": 1}})
    assert len(found(tmp_path, CARD, card("gpt-9", "oai-resp"), card("m", "gemini-oauth"))) == 1


# --- explanations ------------------------------------------------------------------------------


def explanation(**changes: Any) -> Explanation:
    told: dict[str, Any] = {
        "models": ("openai/gpt-*",),
        "fields": ("max_*",),
        "reason": "It is so.",
        "date": TODAY,
    }
    return Explanation(**(told | changes))


def shown(folder: Path, *explained: Explanation) -> str:
    ours = listed([CARD])
    lists = command.read_lists(folder, ours, TODAY)
    return report(lists, differences(ours, lists, TODAY), explained)


def test_what_is_explained_stands_apart_with_its_reason(tmp_path):
    litellm(tmp_path, **{"gpt-9": AGREEING | {"max_output_tokens": 1, "max_input_tokens": 2}})
    text = shown(tmp_path, explanation())
    assert "window differs (1)\n  openai/gpt-9 window: 400 or 272 (2026-11-20), 2 litellm" in text
    assert "output limit differs (0)" in text
    assert "explained (1)\n  It is so. (2026-11-28)\n    openai/gpt-9 max_output" in text
    assert text.endswith("1 open, 1 explained, 0 stale\n")
    assert shown(tmp_path, explanation()) == text


@pytest.mark.parametrize(
    "changes",
    [
        {"theirs": ("2",)},  # the list has changed since
        {"list": "genai-prices"},
        {"models": ("openai/gpt-8",)},
        {"fields": ("window",)},
    ],
)
def test_an_explanation_of_something_else_is_reported(tmp_path, changes):
    litellm(tmp_path, **{"gpt-9": AGREEING | {"max_output_tokens": 1}})
    text = shown(tmp_path, explanation(**changes))
    assert "output limit differs (1)" in text
    assert "explains no difference any more (1)" in text
    assert text.endswith("1 open, 0 explained, 1 stale\n")


def test_the_explanations_that_are_kept_can_be_read():
    kept = explanations(command.EXPLAINED)
    assert kept
    assert all(one.reason.endswith(".") for one in kept)
    assert all(date(2026, 1, 1) < one.date <= date(2100, 1, 1) for one in kept)


# --- wheels ------------------------------------------------------------------------------------


def test_a_wheel_that_cannot_be_read_is_named_and_the_other_list_compared(tmp_path, capsys):
    write_wheel(tmp_path, "genai_prices", {"genai_prices/data.py": "providers = ("})
    litellm(tmp_path, **{"gpt-9": AGREEING})
    assert [one.package for one in command.read_lists(tmp_path, {}, TODAY)] == ["litellm"]
    assert (
        "genai_prices-1.2-py3-none-any.whl cannot be read: SyntaxError" in capsys.readouterr().err
    )
    (tmp_path / "litellm-1.2-py3-none-any.whl").write_bytes(b"no archive")
    assert command.read_lists(tmp_path, {}, TODAY) == []


PRICED = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06}
RESHAPED = {
    "a list": [],
    "no row": {"gpt-9": None},
    "text for a row": {"gpt-9": "x"},
    "text for searches": {"gpt-9": PRICED | {"search_context_cost_per_query": "x"}},
    "a list of factors": {"gpt-9": PRICED | {"provider_specific_entry": [1]}},
    "text for a factor": {"gpt-9": PRICED | {"provider_specific_entry": {"fast": "x"}}},
    "text for a price": {"gpt-9": PRICED | {"input_cost_per_token_flex": "x"}},
    "nothing": {},
}
MODEL = (
    "providers: P = [Provider(id='openai', models=[ModelInfo(id='gpt-9', match={}, prices={})])]"
)
EQUAL = "ClauseEquals(equals='gpt-9')"
REBUILT = {
    "no table": "providers: P = None",
    "a call": "providers: P = load()",
    "texts": "providers: P = ['a']",
    "no price": MODEL.format(EQUAL, "ModelPrice(input_mtok=Decimal('x'))"),
    "a bare price": MODEL.format(EQUAL, "ModelPrice(input_mtok=Decimal())"),
    "no day": MODEL.format(EQUAL, "[C(constraint=S(start_date=date(2026, 13, 45)))]"),
    "no pattern": MODEL.format("ClauseRegex(regex='(')", "ModelPrice()"),
    "too deep": "providers: P = " + "-" * 100_000 + "1",
    "nothing": "providers: P = []",
}


@pytest.mark.parametrize("shape", RESHAPED)
def test_a_list_of_another_shape_is_named_and_left_out(tmp_path, capsys, shape):
    write_wheel(tmp_path, "litellm", {LITELLM: json.dumps(RESHAPED[shape])})
    assert command.read_lists(tmp_path, listed([CARD]), TODAY) == []
    assert "litellm-1.2-py3-none-any.whl cannot be read: " in capsys.readouterr().err


@pytest.mark.parametrize("shape", REBUILT)
def test_a_table_of_another_shape_is_named_and_left_out(tmp_path, capsys, shape):
    write_wheel(tmp_path, "genai_prices", {"genai_prices/data.py": REBUILT[shape]})
    assert command.read_lists(tmp_path, listed([CARD]), TODAY) == []
    assert "genai_prices-1.2-py3-none-any.whl cannot be read: " in capsys.readouterr().err


def test_a_file_that_unpacks_to_too_much_or_is_encrypted_is_not_read(tmp_path, capsys):
    path = tmp_path / "litellm-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(LITELLM, b" " * (65 << 20))
    assert command.read_lists(tmp_path, {}, TODAY) == []
    assert "bytes, more than 67108864" in capsys.readouterr().err
    write_wheel(tmp_path, "litellm", {LITELLM: "{}"})
    whole = bytearray(path.read_bytes())
    whole[6] |= 1  # the flag of encryption, in the file's header and in the directory
    whole[whole.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    assert command.read_lists(tmp_path, {}, TODAY) == []
    assert "is encrypted" in capsys.readouterr().err


def test_explanations_that_cannot_be_read_are_named(tmp_path, monkeypatch, capsys):
    pip(monkeypatch, 0)
    litellm(tmp_path, **{"gpt-9": AGREEING})
    monkeypatch.setattr(command, "EXPLAINED", tmp_path / "explained.toml")
    command.EXPLAINED.write_text("[[explained]]\nmodels = 3\n")
    assert command.main(tmp_path) == 1
    assert "catalogue-diff: explained.toml cannot be read: " in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "build").write_text("")
    said = wheels.download(("litellm",), tmp_path / "build" / "lists", seconds=1)
    assert said.endswith("cannot be made (Not a directory)")


def pip(monkeypatch: pytest.MonkeyPatch, code: int, errors: str = "", seconds: float = 0) -> list:
    asked = []

    def run(line: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(line)
        if seconds > options["timeout"]:
            raise subprocess.TimeoutExpired(line, options["timeout"])
        return subprocess.CompletedProcess(line, code, "", errors)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    return asked


def test_the_newest_is_asked_for_without_dependencies_and_older_ones_go(tmp_path, monkeypatch):
    asked = pip(monkeypatch, 0)
    old = write_wheel(tmp_path, "litellm", {}, "1.9")
    new = write_wheel(tmp_path, "litellm", {}, "1.10")
    os.utime(old, (1, 1))
    assert wheels.download(("litellm",), tmp_path, seconds=5) == ""
    assert "--no-deps" in asked[0]
    assert asked[0][-1] == "litellm"
    assert wheels.newest("litellm", tmp_path) == new
    assert not old.exists()


@pytest.mark.parametrize(
    ("code", "errors", "seconds", "said"),
    [
        (1, "WARNING: x\nERROR: No matching distribution\n", 0, "No matching distribution"),
        (2, "", 0, "pip ended with 2"),
        (0, "", 99, "longer than 40 s"),
    ],
)
def test_without_a_network_it_says_so_and_goes_on_with_what_it_has(
    tmp_path, monkeypatch, capsys, code, errors, seconds, said
):
    pip(monkeypatch, code, errors, seconds)
    assert command.main(tmp_path / "none") == 1
    text = capsys.readouterr()
    assert said in text.err
    assert "no price list to compare with" in text.err
    litellm(tmp_path, **{"gpt-9": AGREEING})
    assert command.main(tmp_path) == 0
    text = capsys.readouterr()
    assert said in text.err
    assert text.out.startswith("The catalogue against litellm 1.2 (2026-11-20)\n")


@pytest.mark.parametrize(
    ("value", "text"), [("0.10", "0.1"), (1e-1, "0.1"), (100, "100"), (0, "0")]
)
def test_numbers_have_one_form(value, text):
    assert number(value) == text

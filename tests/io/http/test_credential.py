"""A key goes to its origin, in its header, and into no text."""

from __future__ import annotations

import copy
import json
import pickle

import msgspec
import orjson
import pytest
import ujson
from hypothesis import given
from hypothesis import strategies as st

from vai.errors import InvalidRequest
from vai.io.http.head import Endpoint, Origin
from vai.io.http.provider_keys import Credential
from vai.secret import SECRET_LIMIT, Secret

HOME = Origin("https", "api.anthropic.com", 443)
KEY = "sk-CANARY-0123456789"


def test_the_two_styles():
    credential = Credential(Secret(KEY), HOME)
    assert credential.to_header(HOME, "x-api-key") == ("x-api-key", KEY)
    assert credential.to_header(HOME, "bearer") == ("Authorization", f"Bearer {KEY}")


@pytest.mark.parametrize("thing", [Secret(KEY), Credential(Secret(KEY), HOME)])
def test_it_is_in_no_text(thing):
    for text in (repr(thing), str(thing), f"{thing}", f"{thing!r:>40}", str([thing])):
        assert "CANARY" not in text
    writers = (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, orjson.dumps,
               msgspec.json.encode, msgspec.to_builtins)  # fmt: skip
    for write in writers:
        with pytest.raises((TypeError, pickle.PicklingError)) as caught:
            write(thing)
        assert "CANARY" not in str(caught.value)
    try:
        assert "CANARY" not in ujson.dumps(thing)
    except (TypeError, OverflowError) as error:
        assert "CANARY" not in str(error)  # noqa: PT017


ELSEWHERE = [
    "http://api.anthropic.com", "https://api.anthropic.com:8443", "https://anthropic.com",
    "https://api.anthropic.com.evil.io", "https://evil.io/api.anthropic.com",
    "https://[::ffff:1.2.3.4]", "https://16909060", "https://api.anthropic.com.",
    "https://xn--api-anthropic-com", "https://api-anthropic.com",
]  # fmt: skip


@pytest.mark.parametrize("base", ELSEWHERE)
def test_it_goes_nowhere_else(base):
    with pytest.raises(ValueError, match="another origin") as caught:
        Credential(Secret(KEY), HOME).to_header(Endpoint.from_base_url(base).origin, "bearer")
    assert "CANARY" not in str(caught.value)


@given(st.text(max_size=30), st.sampled_from(["", "@", "/", "#", "?", "\\@", "%40", ":443@"]))
def test_no_spelling_of_a_base_url_leads_elsewhere(noise, joint):
    for base in (
        f"https://api.anthropic.com{joint}{noise}",
        f"https://{noise}{joint}api.anthropic.com",
    ):
        try:
            origin = Endpoint.from_base_url(base).origin
        except ValueError:
            continue
        if origin.host != "api.anthropic.com":
            with pytest.raises(ValueError, match="another origin"):
                Credential(Secret(KEY), HOME).to_header(origin, "bearer")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " a",
        "a ",
        "a  b",
        "a\r\nb",
        "a\nb",
        "a\x00",
        "a\tb",
        "é",
        "\u200b",
        "a" * (SECRET_LIMIT + 1),
    ],
)
def test_its_alphabet(value):
    with pytest.raises(InvalidRequest) as caught:
        Secret(value, "x-api-key")
    assert caught.value.param == "x-api-key"
    assert len(value) < 2 or value not in str(caught.value)

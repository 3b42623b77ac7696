"""Which provider a key may be shown to, and how."""

from __future__ import annotations

import pytest

from tests.canary import PROVIDER_KEY
from vai.io.http.provider_keys import ProviderKey, choose_presentation, find_key
from vai.policy.headers import with_betas
from vai.providers.registry import PROVIDER_SPECS
from vai.secret import Secret

PLAN, API, PLAIN = f"sk-ant-oat01-{PROVIDER_KEY}", f"sk-ant-api03-{PROVIDER_KEY}", PROVIDER_KEY
BETA = ("oauth-2025-04-20",)


def key(token, field=""):
    return ProviderKey(Secret(token), field)


@pytest.mark.parametrize(
    ("token", "field", "expected"),
    [
        (PLAN, "", ("bearer", BETA)),
        (PLAN, "x-api-key", ("bearer", BETA)),
        (PLAN, "authorization", ("bearer", BETA)),
        (API, "", ("x-api-key", ())),
        (API, "authorization", ("x-api-key", ())),
        (PLAIN, "", ("x-api-key", ())),
        (PLAIN, "x-api-key", ("x-api-key", ())),
        (PLAIN, "authorization", ("bearer", ())),
    ],
)
def test_how_anthropic_is_shown_a_key(token, field, expected):
    shown = choose_presentation(PROVIDER_SPECS["anthropic"], key(token, field))
    assert (shown.style, shown.betas) == expected


@pytest.mark.parametrize("name", [name for name in PROVIDER_SPECS if name != "anthropic"])
def test_others_are_shown_any_key_in_their_own_way(name):
    for token in (PLAN, PLAIN):
        shown = choose_presentation(PROVIDER_SPECS[name], key(token, "authorization"))
        assert (shown.style, shown.betas) == (PROVIDER_SPECS[name].auth, ())


def test_the_first_key_of_a_form_goes_before_one_without():
    keys = [key(PLAIN, "x-api-key"), key(API, "authorization")]
    assert find_key(keys, PROVIDER_SPECS["anthropic"], requested=True) is keys[1]
    assert find_key(keys[:1], PROVIDER_SPECS["anthropic"], requested=True) is keys[0]
    assert find_key(keys[:1], PROVIDER_SPECS["anthropic"], requested=False) is None
    assert find_key(keys[1:], PROVIDER_SPECS["anthropic"], requested=False) is keys[1]


def test_a_login_of_the_operators_is_replaced_by_no_stray_token():
    assert (
        find_key([key(PLAIN, "authorization")], PROVIDER_SPECS["gemini-oauth"], requested=True)
        is None
    )


def test_a_provider_key_shows_nothing():
    assert PROVIDER_KEY not in repr(key(PLAN, "authorization"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "o"),
        ([("anthropic-beta", "a,b")], "a,b,o"),
        ([("anthropic-beta", "a"), ("x", "y"), ("Anthropic-Beta", " b , a,")], "a,b,o"),
        ([("anthropic-beta", "o,a")], "o,a"),
    ],
)
def test_betas_are_one_list(given, expected):
    *others, listed = with_betas(given, ["o"])
    assert listed == ("anthropic-beta", expected)
    assert others == [field for field in given if field[0].lower() != "anthropic-beta"]

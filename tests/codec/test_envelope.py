"""The envelope: read without doubt, edited by one value, silent about keys."""

from __future__ import annotations

import json as stdlib
import pprint
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from tests.codec.test_json import STYLES, TEXT, VALUES
from vai.codec import routing_fields as envelope
from vai.errors import InvalidRequest

OTHERS = st.dictionaries(
    TEXT.filter(
        lambda name: name not in ("model", "stream", "max_tokens", "provider_keys", "\u00fcber")
    ),
    VALUES | st.just({"model": "inner"}) | st.just('"model":"in a string"'),
    max_size=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Sound bodies: any order, any whitespace, any escapes, decoys of every kind."""
    value: dict[str, Any] = dict(draw(OTHERS))
    value["model"] = draw(TEXT.filter(bool))
    if draw(st.booleans()):
        value["provider_keys"] = {"openai": "sk-SECRET", "model": "sk-2"}
    order = draw(st.permutations(sorted(value)))
    text = stdlib.dumps({name: value[name] for name in order}, **draw(STYLES))
    if draw(st.booleans()) and text.count('"model"') == 1:
        text = text.replace('"model"', '"\\u006dode\\u006C"')
    return (
        draw(st.sampled_from(["", " ", "\r\n"])) + text + draw(st.sampled_from(["", "\n"]))
    ).encode()


@given(bodies(), TEXT)
def test_only_the_models_value_changes(body: bytes, model: str) -> None:
    found = envelope.read_routing_fields(body)
    place = found.members["model"]
    edited = envelope.rewrite_body(body, found, model=model)
    assert stdlib.loads(edited) == {**stdlib.loads(body), "model": model}
    assert list(stdlib.loads(edited)) == list(stdlib.loads(body))
    assert edited.startswith(body[: place.value])
    assert edited.endswith(body[place.end :])
    grown = len(edited) - len(body)
    assert stdlib.loads(edited[place.value : place.end + grown]) == model
    assert found.model == stdlib.loads(body)["model"]


@given(bodies(), st.data())
def test_only_the_member_is_cut(body: bytes, data: st.DataObject) -> None:
    found = envelope.read_routing_fields(body)
    names = [name for name in found.members if name != "model"]
    name = data.draw(st.sampled_from([*names, "\u00fcber"]))
    edited = envelope.rewrite_body(body, found, drop=name)
    expected = stdlib.loads(body)
    expected.pop(name, None)
    assert stdlib.loads(edited) == expected
    assert list(stdlib.loads(edited)) == list(expected)
    if name in found.members:
        for other, place in found.members.items():
            if other != name:
                assert body[place.key : place.end] in edited
    else:
        assert edited == body


@given(bodies(), TEXT)
def test_both_edits_at_once_are_both_edits(body: bytes, model: str) -> None:
    found = envelope.read_routing_fields(body)
    both = envelope.rewrite_body(body, found, model=model, drop="provider_keys")
    once = envelope.rewrite_body(body, found, drop="provider_keys")
    assert both == envelope.rewrite_body(once, envelope.read_routing_fields(once), model=model)
    assert b"sk-SECRET" not in both


@pytest.mark.parametrize("blank", ["", " "])
@given(st.permutations(["model", "max_tokens", "messages", "tools", 'a"\u00fc']))
def test_an_edit_does_not_depend_on_the_order_or_on_blanks(blank: str, order: list[str]) -> None:
    value: dict[str, Any] = {name: [{"model": "a"}, '"max_tokens":7'] for name in order}
    value |= {"model": "a", "max_tokens": 7}
    separators = (",", f":{blank}")
    body = stdlib.dumps(value, ensure_ascii=False, separators=separators).encode()
    edited = envelope.rewrite_body(
        body, envelope.read_routing_fields(body), model="b\n", max_tokens=5
    )
    value |= {"model": "b\n", "max_tokens": 5}
    assert edited == stdlib.dumps(value, ensure_ascii=False, separators=separators).encode()


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"provider_keys":{"a":"k"},"model":"m"}', b'{"model":"m"}'),
        (b'{"model":"m","provider_keys":{"a":"k"}}', b'{"model":"m"}'),
        (b'{"model":"m" , "provider_keys" : {"a":"k"} , "x":1 }', b'{"model":"m" , "x":1 }'),
        (b'{ "provider_keys":null ,\n "model":"m"}', b'{ "model":"m"}'),
        (b'{"model":"m","provider_\\u006beys":{"a":"}"}}', b'{"model":"m"}'),
    ],
)
def test_the_cut_takes_one_comma(body: bytes, left: bytes) -> None:
    assert (
        envelope.rewrite_body(body, envelope.read_routing_fields(body), drop="provider_keys")
        == left
    )


def test_what_is_read() -> None:
    found = envelope.read_routing_fields(
        b'{"model":"openai/gpt","stream":true,"max_tokens":7,"voice":{},"extensions":{},'
        b'"provider_keys":{"openai":"sk-1"},"messages":[{"model":"x"}]}'
    )
    assert (found.model, found.stream, found.max_tokens) == ("openai/gpt", True, 7)
    assert found.provider_keys == {"openai": "sk-1"}
    assert found.vai_fields == ("voice", "extensions", "provider_keys")
    assert "provider_keys" not in found.value
    assert found.value["messages"] == [{"model": "x"}]


def test_null_is_absent() -> None:
    found = envelope.read_routing_fields(
        b'{"model":"m","stream":null,"max_tokens":null,"provider_keys":null}'
    )
    assert (found.stream, found.max_tokens, found.provider_keys) == (False, None, None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (b'{"model":null}', "model"),
        (b'{"model":""}', "model"),
        (b'{"model":1}', "model"),
        (b'{"model":["m"]}', "model"),
        (b'{"x":{"model":"m"}}', "model"),
        (b'{"model":"m","stream":"true"}', "stream"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","max_tokens":"1"}', "max_tokens"),
        (b'{"model":"m","max_tokens":true}', "max_tokens"),
        (b'{"model":"m","max_tokens":1.5}', "max_tokens"),
        (b'{"model":"m","max_tokens":-5}', "max_tokens"),
        (b'{"model":"m","provider_keys":"sk"}', "provider_keys"),
        (b'{"model":"m","provider_keys":{"a":1}}', "provider_keys"),
        (b'{"model":"m","provider_keys":{"a":""}}', "provider_keys"),
        (b'{"model":"m","provider_keys":{"a":"sk\\r\\nX: 1"}}', "provider_keys"),
        (b'{"model":"m","provider_keys":{"a":"sk\\n"}}', "provider_keys"),
        ('{"model":"m","provider_keys":{"a":"sk\u00e9"}}'.encode(), "provider_keys"),
    ],
)
def test_refusals_name_the_member(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        envelope.read_routing_fields(body)
    assert caught.value.param == param
    assert "sk" not in caught.value.message


def test_limits_on_provider_keys() -> None:
    many = {f"p{i}": "k" for i in range(envelope.MAX_PROVIDER_KEYS + 1)}
    for keys in (many, {"a": "k" * 4097}):
        with pytest.raises(InvalidRequest):
            envelope.read_routing_fields(
                stdlib.dumps({"model": "m", "provider_keys": keys}).encode()
            )


def test_no_text_form_shows_a_key() -> None:
    found = envelope.read_routing_fields(
        b'{"model":"m","provider_keys":{"openai":"sk-CANARY"},"messages":["hi"]}'
    )
    for text in (repr(found), str(found), f"{found}", pprint.pformat(found), pretty_repr(found)):
        assert "RoutingFields(model='m'" in text
        assert "CANARY" not in text
        assert "hi" not in text.replace("hidden", "")


def test_an_edit_of_another_body_is_refused() -> None:
    found = envelope.read_routing_fields(b'{"model":"m"}')
    with pytest.raises(ValueError, match="another body"):
        envelope.rewrite_body(b'{"model":"mm"}', found, model="x")
    with pytest.raises(ValueError, match="cannot be cut"):
        envelope.rewrite_body(b'{"model":"m"}', found, drop="model")


def test_a_large_body() -> None:
    text = '"model":"decoy" [{' * 600_000
    body = stdlib.dumps({"a": text, "model": "m", "b": [text[:100]]}).encode()
    assert len(body) > 10_000_000
    edited = envelope.rewrite_body(body, envelope.read_routing_fields(body), model="other")
    assert edited == body.replace(b', "model": "m", ', b', "model": "other", ')


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        found = envelope.read_routing_fields(body)
    except InvalidRequest:
        return
    assert found.model == msgspec.json.decode(body)["model"]

"""Reasoning of servers of one's own: it goes back to its origin, under the name it had there."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.providers.upstreams import OWN_ROWS, ask, told

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
USER = {"role": "user", "content": "go"}
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}}
PART = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
FORMS = {
    "reasoning_content": {"reasoning_content": "Hm."},
    "reasoning": {"reasoning": "Hm."},
    "both": {"reasoning": "Hm.", "reasoning_content": "Hm."},
}


def whole(message: dict[str, Any]) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return orjson.dumps({"model": "m", "choices": [choice]})


def pieces(message: dict[str, Any]) -> bytes:
    """The same answer as a stream: each member in a chunk of its own."""
    deltas = [{"role": "assistant"}]
    for name, value in message.items():
        if name == "tool_calls":
            deltas += [{name: [{**call, "index": at}]} for at, call in enumerate(value)]
        elif name == "content" and isinstance(value, list):
            deltas += [{name: [part]} for part in value]
        elif name != "reasoning":
            deltas.append({name: value})
    if "reasoning" in message:
        names = {
            name: message[name] for name in ("reasoning", "reasoning_content") if name in message
        }
        deltas = [delta for delta in deltas if "reasoning_content" not in delta]
        deltas.insert(1, names)
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def answered(provider: str, message: dict[str, Any], *, stream: bool) -> list[dict[str, Any]]:
    adapter, _ = ask(provider, tools=TOOLS, stream=stream)
    content = told(adapter, (pieces if stream else whole)(message), stream=stream)["content"]
    assert isinstance(content, list)
    return content


def turns(content: list[dict[str, Any]], *more: dict[str, Any]) -> list[dict[str, Any]]:
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "r"}
        for block in content
        if block["type"] == "tool_use"
    ]
    said = {"role": "assistant", "content": content}
    return [USER, said, {"role": "user", "content": results or "and?"}, *more]


def assistant_of(provider: str, history: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    adapter, sent = ask(provider, history, tools=TOOLS)
    (found,) = [message for message in sent["messages"] if message["role"] == "assistant"]
    return found, adapter.dropped


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("form", FORMS)
def test_beside_a_call_it_returns_under_the_name_it_came_with(form, stream):
    content = answered("own", {**FORMS[form], "content": "", "tool_calls": [CALL]}, stream=stream)
    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    assert content[0]["thinking"] == "Hm."
    back, dropped = assistant_of("own", turns(content))
    assert {name: back[name] for name in back if name.startswith("reasoning")} == FORMS[form]
    assert back["tool_calls"][0]["id"] == "c1"
    assert not dropped
    # In every later turn too: what was once sent stays as it was.
    later = [
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks."},
    ]
    _, sent = ask("own", turns(content, *later), tools=TOOLS)
    assert sent["messages"][1] == back


@pytest.mark.parametrize("form", FORMS)
def test_beside_text_alone_no_server_needs_it(form):
    """Some refuse it there."""
    content = answered("own", {**FORMS[form], "content": "So."}, stream=False)
    back, dropped = assistant_of("own", turns(content))
    assert back == {"role": "assistant", "content": "So."}
    assert dropped == ["messages[*].content[*].thinking"]


@pytest.mark.parametrize("form", FORMS)
def test_of_a_turn_without_words_it_is_named(form):
    content = answered("own", {**FORMS[form], "content": "So."}, stream=False)
    content[-1]["text"] = ""
    adapter, sent = ask("own", turns(content), tools=TOOLS)
    assert all(message["role"] == "user" for message in sent["messages"])
    assert adapter.dropped == ["messages[*].content[*].thinking"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("other", [name for name in OWN_ROWS if name != "own"])
def test_it_goes_to_no_other_server(other, form):
    content = answered("own", {**FORMS[form], "tool_calls": [CALL]}, stream=False)
    adapter, sent = ask(other, turns(content), tools=TOOLS)
    assert "Hm." not in orjson.dumps(sent).decode()
    assert "messages[*].content[*].thinking" in adapter.dropped


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("calls", [[], [CALL]], ids=["text", "call"])
def test_parts_of_the_content_return_as_parts(calls, stream):
    """Mistral's way; it takes them in every turn."""
    message = {"content": [PART, {"type": "text", "text": "So."}]}
    if calls:
        message["tool_calls"] = [{**CALL, "id": "a1B2c3D4e"}]
    content = answered("own-mistral", message, stream=stream)
    kinds = ["thinking", "text", *("tool_use" for _ in calls)]
    assert [block["type"] for block in content] == kinds
    assert (content[0]["thinking"], content[1]["text"]) == ("Hm.", "So.")
    back, dropped = assistant_of("own-mistral", turns(content))
    assert back["content"] == [PART, {"type": "text", "text": "So."}]
    assert [call["id"] for call in back.get("tool_calls", ())] == ["a1B2c3D4e" for _ in calls]
    assert not dropped


def test_reasoning_of_several_calls_stays_with_its_call():
    first = answered("own", {"reasoning_content": "One.", "tool_calls": [CALL]}, stream=False)
    history = turns(first)
    adapter, _ = ask("own", history, tools=TOOLS)
    body = whole({"reasoning_content": "Two.", "tool_calls": [{**CALL, "id": "c2"}]})
    second = told(adapter, body, stream=False)["content"]
    _, sent = ask("own", [*history, *turns(second)[1:]], tools=TOOLS)
    said = [message for message in sent["messages"] if message["role"] == "assistant"]
    assert [message["reasoning_content"] for message in said] == ["One.", "Two."]


URL = f"data:image/png;base64,{PIXEL}"
IMAGES = {
    "openrouter": {"type": "image_url", "image_url": {"url": URL}},
    "a string": URL,
    "an url": {"type": "image_url", "image_url": URL},
    "a member": {"url": URL},
    "base64": {"b64_json": PIXEL},
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("form", IMAGES)
def test_images_are_images(form, stream):
    check_image({"content": "Here:", "images": [IMAGES[form]]}, stream=stream)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("form", ["openrouter", "an url"])
def test_images_are_images_as_parts_of_the_content(form, stream):
    check_image({"content": [{"type": "text", "text": "Here:"}, IMAGES[form]]}, stream=stream)


def check_image(message: dict[str, Any], *, stream: bool) -> None:
    content = answered("own", message, stream=stream)
    assert [block["type"] for block in content] == ["text", "image"]
    assert content[1]["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
    back, _ = assistant_of("own", turns(content))
    assert back["images"] == [{"type": "image_url", "image_url": {"url": URL}}]
    assert back["content"] == "Here:"


def test_an_image_that_is_only_named_is_passed_by_its_name():
    message = {"images": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}
    (block,) = answered("own", message, stream=False)
    assert block["source"] == {"type": "url", "url": "https://a.example/b.png"}
    assert answered("own", {"content": "x", "images": [{}, None, "data:x", 3]}, stream=False)


TEXT = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "index": 0}
SECRET = {"type": "reasoning.encrypted", "data": "b3BhcXVl", "id": "rs_1", "index": 1}
DETAILS = {
    "texts": ({"reasoning_details": [TEXT]}, ["thinking", "tool_use"]),
    "both": ({"reasoning": "Hm.", "reasoning_details": [TEXT, SECRET]}, ["thinking", "tool_use"]),
    "encrypted": ({"reasoning_details": [SECRET]}, ["redacted_thinking", "tool_use"]),
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("name", DETAILS)
def test_details_return_as_they_came(name, stream):
    said, kinds = DETAILS[name]
    content = answered("own", {**said, "content": "", "tool_calls": [CALL]}, stream=stream)
    assert [block["type"] for block in content] == kinds
    found, dropped = assistant_of("own", turns(content))
    assert found["reasoning_details"] == said["reasoning_details"]
    assert not dropped
    for other in ("openai", "groq"):
        found, dropped = assistant_of(other, turns(content))
        assert "reasoning_details" not in found
        assert dropped == [f"messages[*].content[*].{kinds[0]}"]


def test_pieces_of_details_are_one_entry():
    chunks = [
        {"reasoning_details": [{**TEXT, "text": "H", "signature": None}]},
        {"reasoning_details": [{**TEXT, "text": "m.", "signature": None}]},
        {"reasoning_details": [{**TEXT, "text": None}]},
        {"reasoning_details": [SECRET]},
        {"tool_calls": [{**CALL, "index": 0}]},
    ]
    ended = [{"index": 0, "delta": delta} for delta in chunks]
    ended.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    stream = b"".join(b"data: %b\n\n" % orjson.dumps({"choices": [one]}) for one in ended)
    adapter, _ = ask("own", tools=TOOLS, stream=True)
    content = told(adapter, stream, stream=True)["content"]
    assert content[0]["thinking"] == "Hm."
    found, _ = assistant_of("own", turns(content))
    assert found["reasoning_details"] == [TEXT, SECRET]


def test_details_that_were_changed_are_named_and_left_out():
    said = {"reasoning_details": [TEXT], "content": "", "tool_calls": [CALL]}
    content = answered("own", said, stream=False)
    content[0]["signature"] = content[0]["signature"][:-9] + "!"
    found, dropped = assistant_of("own", turns(content))
    assert "reasoning_details" not in found
    assert dropped == ["messages[*].content[*].thinking"]

"""Pictures and documents for models that cannot take them: refused, or in words in results."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.e2e.rig import ask, body_of

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
}
BLIND = ["groq/openai/gpt-oss-120b", "cerebras/gpt-oss-120b", "openai/gpt-audio-1.5"]


def looked(model: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A session in which a tool has shown `content`."""
    body = ask(model, tools=[{"name": "look", "input_schema": {"type": "object"}}], **more)
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": list(content)}
    body["messages"] += [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    return body


@pytest.mark.parametrize("model", BLIND)
@pytest.mark.parametrize("block", [IMAGE, PDF])
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_cannot_see_is_not_asked(gateway, simulator, model, block, stream):
    before = simulator.last
    body = ask(model, stream=stream)
    body["messages"][0]["content"] = [{"type": "text", "text": "What is this?"}, block]
    answer = gateway.post(body)
    assert answer.status == 400
    assert answer.error["param"] == "messages[0].content[1]"
    assert answer.error["code"] == "unsupported_content_block"
    assert model.partition("/")[2] in answer.error["message"]
    assert PIXEL not in answer.body.decode()
    assert simulator.last == before


@pytest.mark.parametrize("model", BLIND)
@pytest.mark.parametrize("stream", [False, True])
def test_in_a_result_words_take_its_place_and_the_session_goes_on(
    gateway, simulator, model, stream
):
    before = simulator.last
    text = {"type": "text", "text": "a door"}
    answer = gateway.post(looked(model, text, IMAGE, PDF, stream=stream))
    assert answer.status == 200, answer.body
    assert answer.header("x-vai-dropped") == (
        "messages[*].content[*].content[*].image,messages[*].content[*].content[*].document"
    )
    (arrived,) = simulator.journal(after=before)
    told = body_of(arrived).decode()
    assert PIXEL not in told
    for words in ("a door", "[image left out: ", "[document left out: "):
        assert words in told


@pytest.mark.parametrize("model", ["groq/qwen/qwen3.8-27b", "openai/gpt-4.1", "gemini/sim-sees"])
def test_a_model_that_sees_or_is_not_known_is_shown_it(gateway, simulator, model):
    before = simulator.last
    answer = gateway.post(looked(model, IMAGE))
    assert answer.status == 200, answer.body
    assert "image" not in (answer.header("x-vai-dropped") or "")
    (arrived,) = simulator.journal(after=before)
    assert PIXEL in orjson.dumps(orjson.loads(body_of(arrived))).decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "url", "mime"),
    [
        ("image", "https://cdn.example.com/a/door.png?sig=1", "image/png"),
        ("document", "https://cdn.example.com/paper", "application/pdf"),
        ("video", "https://cdn.example.com/film.mp4", "video/mp4"),
    ],
)
def test_gemini_is_told_a_public_url(gateway, simulator, kind, url, mime, stream):
    before = simulator.last
    body = ask("gemini/gemini-3.8-flash", stream=stream)
    block = {"type": kind, "source": {"type": "url", "url": url}}
    body["messages"][0]["content"] = [{"type": "text", "text": "What is this?"}, block]
    answer = gateway.post(body)
    assert answer.status == 200, answer.body
    (arrived,) = simulator.journal(after=before)
    sent = orjson.loads(body_of(arrived))["contents"][0]["parts"][1]
    assert sent == {"fileData": {"mimeType": mime, "fileUri": url}}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("url", ["http://cdn.example.com/a.png", "https://10.0.0.7/a.png"])
def test_a_url_that_google_cannot_reach_is_refused_before_it_is_asked(
    gateway, simulator, path, url
):
    before = simulator.last
    body = ask("gemini/gemini-3.8-flash")
    body["messages"][0]["content"] = [
        {"type": "image", "source": {"type": "url", "url": url}},
    ]
    answer = gateway.post(body, path=path)
    assert answer.status == 400
    assert answer.error["param"] == "messages[0].content[0].source.url"
    assert "expected" in answer.error["message"]
    assert simulator.last == before

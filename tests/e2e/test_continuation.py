"""An answer of Gemini's that goes on over several requests is one answer to the caller."""

from __future__ import annotations

from uuid import uuid4

import orjson
import pytest

from tests.e2e.rig import ask, body_of, events
from tests.providers.validator import check_stream

HOPS, TOKENS = 2, 30
QUESTION = "Tell me of the sea"


def told(answer, stream):
    """Text, stop reason and usage of one whole message."""
    if not stream:
        wire = answer.json
        (block,) = wire["content"]
        return block["text"], wire["stop_reason"], wire["usage"]
    found = events(answer.body)
    check_stream(found)
    text = "".join(
        event["delta"]["text"] for event in found if event["type"] == "content_block_delta"
    )
    (end,) = [event for event in found if event["type"] == "message_delta"]
    return text, end["delta"]["stop_reason"], end["usage"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_pieces_is_one_message_one_usage_and_one_line(gateway, simulator, stream):
    whole = gateway.post(ask(f"gemini/sea;tokens={TOKENS}", QUESTION, stream=stream))
    model = f"sea;tokens={TOKENS};hops={HOPS}"
    before, identity = simulator.last, f"pieces-{uuid4().hex}"
    body = ask(f"gemini/{model}", QUESTION, stream=stream)
    answer = gateway.post(body, {"x-request-id": identity})
    assert (answer.status, whole.status) == (200, 200)
    text, reason, usage = told(answer, stream)
    text_at_once, _, usage_at_once = told(whole, stream)
    assert (text, reason) == (text_at_once, "end_turn")
    assert usage["output_tokens"] == TOKENS
    assert usage["input_tokens"] == (HOPS + 1) * usage_at_once["input_tokens"]

    arrived = simulator.journal(model, after=before)
    tokens = [orjson.loads(body_of(entry)).get("continuationToken") for entry in arrived]
    assert len(arrived) == HOPS + 1
    assert tokens[0] is None
    assert len(set(tokens)) == HOPS + 1

    lines = gateway.logged(identity).splitlines()
    (line,) = [orjson.loads(line) for line in lines if identity in line]
    assert line["outcome"] == "completed"
    assert line["output_tokens"] == TOKENS
    assert line["input_tokens"] == usage["input_tokens"]

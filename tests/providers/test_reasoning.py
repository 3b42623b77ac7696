"""What is left of a request when its reasoning is taken out, and when that is worth a try."""

from __future__ import annotations

import orjson
import pytest

from vai.errors import UpstreamTimeout
from vai.providers.decode.upstream_errors import fault_from_response, is_reasoning_rejection
from vai.providers.translate.reasoning import without_reasoning
from vai.types import parse
from vai.types.base import to_wire

USER = {"role": "user", "content": "go"}
THINKING = {"type": "thinking", "thinking": "t", "signature": "Eq=="}
REDACTED = {"type": "redacted_thinking", "data": "x"}
CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}


def request(*messages):
    return parse.parse_request({"model": "m", "messages": list(messages), "max_tokens": 9})


def assistant(*content):
    return {"role": "assistant", "content": list(content)}


def test_only_the_reasoning_goes():
    found = without_reasoning(request(USER, assistant(THINKING, REDACTED, CALL), USER))
    assert found is not None
    assert to_wire(found)["messages"] == [USER, assistant(CALL), USER]
    assert found.max_tokens == 9


def test_a_message_of_reasoning_alone_goes_as_a_whole():
    found = without_reasoning(request(USER, assistant(THINKING), USER))
    assert found is not None
    assert to_wire(found)["messages"] == [USER, USER]


def test_nothing_to_take_out_is_said():
    assert without_reasoning(request(USER, assistant(CALL), USER)) is None
    assert without_reasoning(request(assistant(THINKING))) is None


def test_a_second_time_there_is_nothing_left():
    found = without_reasoning(request(USER, assistant(THINKING, CALL), USER))
    assert found is not None
    assert without_reasoning(found) is None


def answered(message, status=400, **more):
    error = {"type": "invalid_request_error", "message": message, **more}
    return fault_from_response("p", "P", status, {}, orjson.dumps({"error": error}))


@pytest.mark.parametrize(
    "message",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        "Function call is missing a thought_signature in functionCall parts",
        "Corrupted thought signature.",
        "The encrypted content gAAA could not be verified",
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        "`thinking` or `redacted_thinking` blocks in the latest message cannot be modified",
    ],
)
def test_a_refusal_of_reasoning_is_known(message):
    assert is_reasoning_rejection(answered(message))


def test_a_code_alone_tells_it_too():
    assert is_reasoning_rejection(answered("Bad.", code="invalid_encrypted_content"))


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("max_tokens must be greater than thinking.budget_tokens", 400),
        ("`thinking.type`: disabled is not supported for this model", 400),
        ("The signature of the request is invalid", 401),
        ("messages: at least one message is required", 400),
        ("Invalid `signature` in `thinking` block", 500),
    ],
)
def test_other_refusals_are_not(message, status):
    assert not is_reasoning_rejection(answered(message, status))


def test_a_fault_without_an_answer_is_not():
    assert not is_reasoning_rejection(UpstreamTimeout("thinking signature"))

"""Threads of the simulated Messages API: kept, continued, refused, forgotten."""

from __future__ import annotations

import pytest

from vai.simulator.parsed_request import SimulatedError
from vai.simulator.threads import BETA, ThreadStore

WITH_BETA = {"anthropic-beta": f"other, {BETA}"}
USER = {"role": "user", "content": "a"}
MORE = {"role": "user", "content": "b"}
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]


def created():
    return {"messages": [USER], "system": "s", "tools": TOOLS, "thread": {"type": "create"}}


def continued(message_id, **more):
    thread = {"type": "continue", "previous_message_id": message_id}
    return {"messages": [MORE], "thread": thread, **more}


def test_a_thread_goes_on_with_all_that_was_said():
    threads = ThreadStore()
    first = threads.complete_thread(created(), WITH_BETA)
    threads.keep_thread(first, 10, "m1", [{"type": "text", "text": "A"}])
    second = threads.complete_thread(continued("m1"), WITH_BETA)
    reply = {"role": "assistant", "content": [{"type": "text", "text": "A"}]}
    assert second["messages"] == [USER, reply, MORE]
    assert (second["system"], second["tools"]) == ("s", TOOLS)
    threads.keep_thread(second, 10, "m2", [])
    assert len(threads.complete_thread(continued("m2"), WITH_BETA)["messages"]) == 5
    assert len(threads.complete_thread(continued("m1"), WITH_BETA)["messages"]) == 3, "a fork"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (created(), {}, 400, "thread_unsupported_request"),
        (continued("m1"), {}, 400, "thread_unsupported_request"),
        (continued("unknown"), WITH_BETA, 404, "thread_not_found"),
        (continued("m1", system="again"), WITH_BETA, 400, None),
        (continued("m1", tools=[]), WITH_BETA, 400, None),
        ({"messages": [], "thread": {"type": "other"}}, WITH_BETA, 400, None),
    ],
)
def test_what_is_refused(body, headers, status, code):
    threads = ThreadStore()
    threads.keep_thread(created(), 10, "m1", [])
    with pytest.raises(SimulatedError) as caught:
        threads.complete_thread(body, headers)
    assert (caught.value.status, caught.value.code) == (status, code)


def test_what_is_kept_is_bounded():
    threads = ThreadStore(most=2, max_bytes=100)
    for number in range(3):
        threads.keep_thread(created(), 10, f"m{number}", [])
    threads.complete_thread(continued("m2"), WITH_BETA)
    with pytest.raises(SimulatedError):
        threads.complete_thread(continued("m0"), WITH_BETA)
    threads.keep_thread(created(), 95, "large", [])
    threads.complete_thread(continued("large"), WITH_BETA)
    with pytest.raises(SimulatedError):
        threads.complete_thread(continued("m2"), WITH_BETA)
    threads.keep_thread(created(), 95, "large", [])
    threads.complete_thread(continued("large"), WITH_BETA)

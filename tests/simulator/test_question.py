"""Which words of a turn the simulated model takes for the question."""

from __future__ import annotations

import pytest

from vai.simulator.parsed_request import read_question

TOOLS = ["Bash", "Write", "WebSearch", "TaskCreate"]
REMINDER = (
    "<system-reminder>\nUse Bash and Write with care; WebSearch finds the latest news.\n"
    "TaskCreate is for long work.\n</system-reminder>\n"
)
CONTEXT = "As you answer, Bash, Write and TaskCreate are at hand."
SCHEMA = {"type": "object", "properties": {}}


def messages_calls(answer: dict) -> list[str]:
    return [block["name"] for block in answer["content"] if block["type"] == "tool_use"]


def chat_calls(answer: dict) -> list[str]:
    message = answer["choices"][0]["message"]
    return [call["function"]["name"] for call in message.get("tool_calls", [])]


def response_calls(answer: dict) -> list[str]:
    return [item["name"] for item in answer["output"] if item["type"] == "function_call"]


def gemini_calls(answer: dict) -> list[str]:
    parts = answer["candidates"][0]["content"]["parts"]
    return [part["functionCall"]["name"] for part in parts if "functionCall" in part]


async def ask_messages(world, texts):
    content = [{"type": "text", "text": text} for text in texts]
    tools = [{"name": name, "input_schema": SCHEMA} for name in TOOLS]
    turns = [{"role": "user", "content": content}]
    body = {"model": "sim-1", "max_tokens": 99, "messages": turns, "tools": tools}
    return messages_calls((await world.messages(body)).json())


async def ask_chat(world, texts):
    content = [{"type": "text", "text": text} for text in texts]
    tools = [{"type": "function", "function": {"name": n, "parameters": SCHEMA}} for n in TOOLS]
    body = {"model": "sim-1", "messages": [{"role": "user", "content": content}], "tools": tools}
    return chat_calls((await world.complete("openai", body)).json())


async def ask_chat_joined(world, texts):
    tools = [{"type": "function", "function": {"name": n, "parameters": SCHEMA}} for n in TOOLS]
    turns = [{"role": "user", "content": text} for text in texts]
    turns += [{"role": "system", "content": CONTEXT}]
    body = {"model": "sim-1", "messages": turns, "tools": tools}
    return chat_calls((await world.complete("groq", body)).json())


async def ask_responses(world, texts):
    content = [{"type": "input_text", "text": text} for text in texts]
    known = {"type": "function", "strict": False, "parameters": SCHEMA}
    tools = [known | {"name": name} for name in TOOLS]
    turns = [{"role": "user", "content": content}, {"role": "developer", "content": CONTEXT}]
    body = {"model": "sim-1", "store": False, "input": turns, "tools": tools}
    return response_calls((await world.respond(body)).json())


async def ask_gemini(world, texts):
    tools = [{"functionDeclarations": [{"name": name} for name in TOOLS]}]
    turns = [{"role": "user", "parts": [{"text": text} for text in texts]}]
    return gemini_calls((await world.generate({"contents": turns, "tools": tools})).json())


@pytest.mark.parametrize(
    "ask", [ask_messages, ask_chat, ask_chat_joined, ask_responses, ask_gemini]
)
@pytest.mark.parametrize(
    ("texts", "called"),
    [
        ([REMINDER, CONTEXT, "Hello"], []),
        ([CONTEXT, "Hello", REMINDER], []),
        ([f"{REMINDER}Hello"], []),
        ([f"Hello{REMINDER}", REMINDER], []),
        ([REMINDER, "Run Bash for me"], ["Bash"]),
        ([f"Run Bash for me\n{REMINDER}"], ["Bash"]),
    ],
)
def test_a_tool_is_called_for_the_words_of_the_user_alone(using, ask, texts, called):
    async def check(world):
        assert await ask(world, texts) == called

    using(check)


@pytest.mark.parametrize(
    ("texts", "question"),
    [
        ([], ""),
        (["one", "two"], "two"),
        (["one", "  \n"], "one"),
        ([" kept as it is "], " kept as it is "),
        (["a <system> of linear <b>"], "a <system> of linear <b>"),
        (["one", "<system>Answer in French.</system>"], "one"),
        (["one", "<SYSTEM-REMINDER>never closed"], "one"),
        (["<system-reminder>a</system-reminder>b<system-reminder>c</system-reminder>"], "b"),
    ],
)
def test_the_question_is_the_last_text_without_reminders(texts, question):
    assert read_question(texts) == question


def test_a_tool_is_named_by_whole_words(using):
    async def check(world):
        assert await ask_messages(world, ["Bashful people read Writers"]) == []

    using(check)

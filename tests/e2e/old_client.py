"""What the old generation of the official client makes of a gateway, as one JSON object.

Run by `test_old_sdk` in a process of its own, because two generations of one package do
not fit into one: `python old_client.py <url> <key>`, with the old one first on PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic

PREFIXES = ("anthropic/", "openai/", "groq/", "cerebras/", "claude-")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNQcEgAAAFEAMELjZZCAAAAAElFTkSuQmCC"
)
OWN_KEYS = {
    f"x-provider-key-{name}": "sk-old" for name in ("anthropic", "openai", "groq", "cerebras")
}
"""Of a key that the gateway lends, no 401 is told."""
STATUSES = (400, 401, 403, 404, 413, 429, 500, 502, 503, 529)
TOOLS = [
    {
        "name": name,
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
    for name in ("get_weather", "get_clock")
]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


def create(client: anthropic.Anthropic, prefix: str) -> dict[str, Any]:
    message = client.messages.create(model=f"{prefix}old", **said("Hello there"))
    return {"text": message.content[0].text, "stop": message.stop_reason, "model": message.model}


def stream(client: anthropic.Anthropic, prefix: str) -> dict[str, Any]:
    with client.messages.stream(model=f"{prefix}old", **said("Hello there")) as got:
        text = "".join(got.text_stream)
        final = got.get_final_message()
    raw = client.messages.create(model=f"{prefix}old", stream=True, **said("Hello there"))
    return {
        "text": text,
        "final": final.content[0].text,
        "output_tokens": final.usage.output_tokens,
        "kinds": [event.type for event in raw],
    }


def tools(client: anthropic.Anthropic, prefix: str) -> dict[str, Any]:
    """Two calls at once, in a stream, and their results."""
    question = said("Call get_weather and get_clock", tools=TOOLS)
    with client.messages.stream(model=f"{prefix}old", **question) as got:
        first = got.get_final_message()
    calls = [block for block in first.content if block.type == "tool_use"]
    question["messages"] += [
        {"role": "assistant", "content": [block.model_dump() for block in first.content]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": "fine"} for call in calls
            ],
        },
    ]
    last = client.messages.create(model=f"{prefix}old", **question)
    return {
        "stop": first.stop_reason,
        "names": [call.name for call in calls],
        "inputs": [sorted(call.input) for call in calls],
        "text": last.content[0].text,
    }


def image(client: anthropic.Anthropic, prefix: str) -> str:
    """A picture of one pixel."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    question = {"max_tokens": 200, "messages": [{"role": "user", "content": content}]}
    return client.messages.create(model=f"{prefix}old", **question).content[0].text


def short(client: anthropic.Anthropic, prefix: str) -> str | None:
    question = said("Hello") | {"max_tokens": 5}
    return client.messages.create(model=f"{prefix}old", **question).stop_reason


def errors(client: anthropic.Anthropic, prefix: str) -> dict[str, list[Any]]:
    """Status -> the class raised, the status it names, and the type in its body."""
    found = {}
    for status in STATUSES:
        try:
            client.messages.create(
                model=f"{prefix}old;status={status}", extra_headers=OWN_KEYS, **said("Hello")
            )
        except anthropic.APIStatusError as error:
            kind = error.body["error"]["type"]
            found[str(status)] = [type(error).__name__, error.status_code, kind]
    return found


def broken(client: anthropic.Anthropic, prefix: str) -> dict[str, Any]:
    """A stream that ends with an error event."""
    seen = []
    name = ""
    try:
        for event in client.messages.create(
            model=f"{prefix}old;error_at=3", stream=True, **said("Hello")
        ):
            seen.append(event.type)
    except anthropic.APIError as error:
        name = type(error).__name__
    return {"deltas": seen.count("content_block_delta"), "raised": name}


def main() -> None:
    url, key = sys.argv[1:]
    with anthropic.Anthropic(api_key=key, base_url=url, max_retries=0) as client:
        probes = (create, stream, tools, image, short, errors, broken)
        found: dict[str, Any] = {
            prefix: {probe.__name__: probe(client, prefix) for probe in probes}
            for prefix in PREFIXES
        }
        client.messages.create(model="claude-old-headers", **said("Hello"))
        found["version"] = anthropic.__version__
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

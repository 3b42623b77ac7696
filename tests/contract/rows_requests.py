"""The rows: roles, blocks, tools, reasoning, structured output, sampling, caching, native tools.

Each row is one line of meaning; the providers are its columns. `CHAT` stands for all that speak
Chat Completions.
"""

from __future__ import annotations

from typing import Any

from tests.contract.table import PDF, PNG, USER, Row, drops, has, hides, lacks, on, refuses, says
from vai.providers.registry import PROVIDER_SPECS

CHAT = " ".join(name for name, spec in PROVIDER_SPECS.items() if spec.kind == "openai")
GOOGLE = "gemini gemini-oauth"
FOREIGN = f"{CHAT} oai-resp {GOOGLE}"
ALL = f"anthropic {FOREIGN}"

CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": 1}}
SECOND_CALL = {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOL = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
LINKED_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://a.example/i.png"}}
DOCUMENT = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
}
NOTE = {
    "type": "document",
    "title": "note",
    "source": {"type": "text", "media_type": "text/plain", "data": "the note"},
}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def result(content: Any = "found", id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def history(*answer: dict[str, Any]) -> dict[str, Any]:
    """A question, one call, and the turn that answers it."""
    return {"messages": [USER, assistant(CALL), user(*answer)], "tools": [TOOL]}


ROLES = [
    Row(
        "system string",
        {"system": "rule"},
        on("anthropic", has("system", "rule"))
        | on(CHAT, has("messages.0", {"role": "system", "content": "rule"}))
        | on("oai-resp", has("instructions", "rule"))
        | on(GOOGLE, has("systemInstruction.parts.0.text", "rule")),
    ),
    Row(
        "system string to a model with developer messages",
        {"system": "rule"},
        on("openai", has("messages.0", {"role": "developer", "content": "rule"})),
        {"openai": "gpt-5.2"},
    ),
    Row(
        "system blocks",
        {"system": [text("one"), text("two")]},
        on("anthropic", has("system.1.text", "two"))
        | on("openai", has("messages.0.content.1.text", "two"))
        | on("groq cerebras", has("messages.0.content", "one\n\ntwo"))
        | on("oai-resp", has("instructions", "one\n\ntwo"))
        | on(GOOGLE, has("systemInstruction.parts.1.text", "two")),
    ),
    Row(
        "system message in the middle",
        {
            "messages": [
                USER,
                assistant(text("yes")),
                USER,
                {"role": "system", "content": "now shout"},
                USER,
            ]
        },
        on(CHAT, has("messages.3.role", "system"), has("messages.3.content", "now shout"))
        | on("oai-resp", has("input.3.role", "developer"))
        | on(f"anthropic {GOOGLE}", says("now shout")),
    ),
    Row(
        "neighbours of one role",
        {"messages": [USER, USER]},
        on("anthropic openai groq cerebras", has("messages.1.role", "user"))
        | on("oai-resp", has("input.1.role", "user"))
        | on(GOOGLE, has("contents.0.parts.1.text", "go"), lacks("contents.1")),
    ),
    Row(
        "the assistant speaks first",
        {"messages": [assistant(text("hello")), USER]},
        on(CHAT, has("messages.0.role", "assistant"))
        | on("oai-resp", has("input.0.role", "assistant"))
        | on(GOOGLE, has("contents.0.role", "user"), has("contents.1.role", "model")),
    ),
    Row(
        "empty text",
        {"messages": [user(text(""), text("go"))]},
        on("anthropic", lacks("messages.0.content.1"))
        | on(CHAT, has("messages.0.content", "go"))
        | on("oai-resp", says("go"))
        | on(GOOGLE, lacks("contents.0.parts.1")),
    ),
    Row(
        "a prefilled answer",
        {"messages": [USER, assistant(text("It is"))]},
        on("anthropic", has("messages.1.content.0.text", "It is"))
        | on(FOREIGN, refuses("messages[1]")),
    ),
]

BLOCKS = [
    Row(
        "image, base64",
        {"messages": [user(text("see"), IMAGE)]},
        on("anthropic", has("messages.0.content.1.source.data", PNG))
        | on(
            CHAT,
            has("messages.0.content.1.image_url.url", f"data:image/png;base64,{PNG}"),
        )
        | on("oai-resp", has("input.0.content.1.image_url", f"data:image/png;base64,{PNG}"))
        | on(
            GOOGLE,
            has("contents.0.parts.1.inlineData", {"mimeType": "image/png", "data": PNG}),
        ),
        {"groq": "qwen/qwen3.8-27b", "cerebras": "gemma-4-31b"},
    ),
    Row(
        "image, url",
        {"messages": [user(LINKED_IMAGE)]},
        on("anthropic", has("messages.0.content.0.source.url", "https://a.example/i.png"))
        | on("openai groq", has("messages.0.content.0.image_url.url", "https://a.example/i.png"))
        | on("oai-resp", has("input.0.content.0.image_url", "https://a.example/i.png"))
        | on(
            "gemini",
            has(
                "contents.0.parts.0.fileData",
                {"mimeType": "image/png", "fileUri": "https://a.example/i.png"},
            ),
        )
        | on("cerebras gemini-oauth", refuses("messages[0].content[0]")),
        {"groq": "qwen/qwen3.8-27b", "cerebras": "gemma-4-31b"},
    ),
    Row(
        "sound",
        {
            "messages": [
                user(
                    {
                        "type": "audio",
                        "source": {"type": "base64", "media_type": "audio/wav", "data": "UklGRg=="},
                    }
                )
            ]
        },
        on("openai", has("messages.0.content.0.input_audio.format", "wav"))
        | on(GOOGLE, has("contents.0.parts.0.inlineData.mimeType", "audio/wav"))
        | on("anthropic oai-resp groq cerebras", refuses("messages[0].content[0]")),
        {"openai": "gpt-audio-1.5"},
    ),
    Row(
        "film",
        {
            "messages": [
                user(
                    {
                        "type": "video",
                        "source": {"type": "base64", "media_type": "video/mp4", "data": "AAAA"},
                    }
                )
            ]
        },
        on(GOOGLE, has("contents.0.parts.0.inlineData.mimeType", "video/mp4"))
        | on("anthropic openai oai-resp groq cerebras", refuses("messages[0].content[0]")),
    ),
    Row(
        "document, pdf",
        {"messages": [user(DOCUMENT)]},
        on("anthropic", has("messages.0.content.0.source.data", PDF))
        | on("openai", says(f"data:application/pdf;base64,{PDF}"))
        | on("oai-resp", says(f"data:application/pdf;base64,{PDF}"))
        | on(GOOGLE, has("contents.0.parts.0.inlineData.mimeType", "application/pdf"))
        | on("groq cerebras", refuses("messages[0].content[0]")),
    ),
    Row("document, text", {"messages": [user(NOTE)]}, on(ALL, says("the note"))),
    Row(
        "a call",
        history(result()),
        on("anthropic", has("messages.1.content.0.input", {"x": 1}))
        | on(CHAT, has("messages.1.tool_calls.0.function.arguments", '{"x":1}'))
        | on("oai-resp", has("input.1.type", "function_call"), has("input.1.arguments", '{"x":1}'))
        | on(GOOGLE, has("contents.1.parts.0.functionCall.args", {"x": 1})),
    ),
    Row(
        "a result",
        history(result("found")),
        on("anthropic", has("messages.2.content.0.content", "found"))
        | on(CHAT, has("messages.2.role", "tool"), has("messages.2.content", "found"))
        | on("oai-resp", has("input.2.type", "function_call_output"))
        | on(GOOGLE, has("contents.2.parts.0.functionResponse.name", "look")),
    ),
    Row(
        "a result that is an error",
        history(result("no such file", is_error=True)),
        on("anthropic", has("messages.2.content.0.is_error", True))
        | on(CHAT, has("messages.2.content", "Error: no such file"))
        | on("oai-resp", says("Error: no such file"))
        | on(GOOGLE, has("contents.2.parts.0.functionResponse.response.error", "no such file")),
    ),
    Row(
        "a result without content",
        history({"type": "tool_result", "tool_use_id": "toolu_1"}),
        on(CHAT, has("messages.2.content", ""))
        | on("oai-resp", has("input.2.output", ""))
        | on(GOOGLE, has("contents.2.parts.0.functionResponse.response.output", "")),
    ),
    Row(
        "a result with a picture",
        history(result([text("seen"), IMAGE])),
        on("anthropic", says(PNG))
        | on("openai cerebras", has("messages.2.role", "tool"), has("messages.3.role", "user"))
        | on("groq", has("messages.2.content.1.type", "image_url"))
        | on("oai-resp", has("input.2.output.1.type", "input_image"))
        | on("gemini", says(PNG), has("contents.2.parts.0.functionResponse.name", "look")),
        {"groq": "qwen/qwen3.8-27b", "cerebras": "gemma-4-31b"},
    ),
    Row(
        "text before, between and after results",
        {
            "messages": [
                USER,
                assistant(CALL, SECOND_CALL),
                user(text("a"), result("2", "toolu_2"), text("b"), result("1")),
            ],
            "tools": [TOOL],
        },
        on(
            CHAT,
            has("messages.2.tool_call_id", "toolu_1"),
            has("messages.3.tool_call_id", "toolu_2"),
            has("messages.4.role", "user"),
        )
        | on(
            "oai-resp",
            has("input.3.call_id", "toolu_1"),
            has("input.4.call_id", "toolu_2"),
            has("input.5.role", "user"),
        )
        | on(
            GOOGLE,
            has("contents.2.parts.0.functionResponse.response.output", 1),
            has("contents.2.parts.2.text", "a"),
            has("contents.2.parts.3.text", "b"),
        ),
    ),
    Row(
        "a result nobody asked for",
        {"messages": [USER, user(result(id="toolu_9"))], "tools": [TOOL]},
        on(FOREIGN, refuses("messages[1].content[0].tool_use_id:")),
    ),
    Row(
        "a call nobody answered",
        {"messages": [USER, assistant(CALL), USER], "tools": [TOOL]},
        on(FOREIGN, refuses("messages[1].content[0]:")),
    ),
    Row(
        "a call answered twice",
        history(result(), result("again")),
        on(FOREIGN, refuses("messages[2].content[1].tool_use_id:")),
    ),
    Row(
        "two calls of one id",
        {"messages": [USER, assistant(CALL, CALL), user(result())], "tools": [TOOL]},
        on(FOREIGN, refuses("messages[1].content[1].id:")),
    ),
    Row(
        "another provider's search in the history",
        {
            "messages": [
                USER,
                assistant(
                    {
                        "type": "server_tool_use",
                        "id": "srvtoolu_1",
                        "name": "web_search",
                        "input": {"query": "q"},
                    },
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                    text("It rains."),
                ),
                USER,
            ]
        },
        on("anthropic", has("messages.1.content.0.type", "server_tool_use"))
        | on(FOREIGN, says("It rains."), hides("srvtoolu_1")),
    ),
]

TOOLS = [
    Row(
        "a function",
        {"tools": [TOOL]},
        on("anthropic", has("tools.0.input_schema", SCHEMA))
        | on(CHAT, has("tools.0.function.name", "look"), has("tools.0.function.parameters", SCHEMA))
        | on(
            "oai-resp",
            has("tools.0.name", "look"),
            has("tools.0.parameters", SCHEMA),
            has("tools.0.strict", False),
        )
        | on(
            GOOGLE,
            has("tools.0.functionDeclarations.0.name", "look"),
            has("tools.0.functionDeclarations.0.parametersJsonSchema", SCHEMA),
        ),
    ),
    Row(
        "a function without properties",
        {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
        on(CHAT, has("tools.0.function.parameters.properties", {}))
        | on("oai-resp", has("tools.0.parameters.properties", {})),
    ),
    Row(
        "a strict function",
        {"tools": [{**TOOL, "strict": True}]},
        on("openai cerebras", has("tools.0.function.strict", True))
        | on("oai-resp", has("tools.0.strict", True), has("tools.0.parameters.required", ["x"])),
    ),
    Row(
        "a name with foreign letters",
        {"tools": [{**TOOL, "name": "a.b/c"}]},
        on(f"{CHAT} oai-resp", hides("a.b/c")),
    ),
    Row(
        "no tools",
        {"tools": [], "tool_choice": {"type": "auto"}},
        on(
            FOREIGN, lacks("tools"), lacks("tool_choice"), lacks("toolConfig"), drops("tool_choice")
        ),
    ),
    Row(
        "a call demanded without tools",
        {"tool_choice": {"type": "any"}},
        on(ALL, refuses("tool_choice")),
    ),
    Row(
        "choice: any",
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        on("anthropic", has("tool_choice.type", "any"))
        | on(f"{CHAT} oai-resp", has("tool_choice", "required"))
        | on(GOOGLE, has("toolConfig.functionCallingConfig.mode", "ANY")),
    ),
    Row(
        "choice: this one",
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look"}},
        on("anthropic", has("tool_choice.name", "look"))
        | on(CHAT, has("tool_choice", {"type": "function", "function": {"name": "look"}}))
        | on("oai-resp", has("tool_choice", {"type": "function", "name": "look"}))
        | on(GOOGLE, has("toolConfig.functionCallingConfig.allowedFunctionNames", ["look"])),
    ),
    Row(
        "choice: none",
        {"tools": [TOOL], "tool_choice": {"type": "none"}},
        on("anthropic", has("tool_choice.type", "none"))
        | on(f"{CHAT} oai-resp", has("tool_choice", "none"))
        | on(GOOGLE, has("toolConfig.functionCallingConfig.mode", "NONE")),
    ),
    Row(
        "a tool forced on a model that always thinks",
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        on("anthropic", refuses("tool_choice")),
        {"anthropic": "claude-opus-5-5"},
    ),
    Row(
        "one call at a time",
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        on("anthropic", has("tool_choice.disable_parallel_tool_use", True))
        | on(f"{CHAT} oai-resp", has("parallel_tool_calls", False))
        | on(GOOGLE, drops("tool_choice.disable_parallel_tool_use")),
    ),
]

REASONING = [
    Row(
        "nothing said of thinking",
        {},
        on("anthropic", lacks("thinking"))
        | on(CHAT, lacks("reasoning_effort"))
        | on("oai-resp", lacks("reasoning.effort"))
        | on(GOOGLE, lacks("generationConfig.thinkingConfig.thinkingLevel")),
    ),
    Row(
        "thinking with a budget",
        {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 9000},
        on("anthropic", has("thinking.budget_tokens", 5000))
        | on("groq cerebras", has("reasoning_effort", "medium"))
        | on("openai", has("reasoning_effort", "medium"))
        | on("oai-resp", has("reasoning.effort", "medium"), has("reasoning.summary", "auto"))
        | on(
            GOOGLE,
            has("generationConfig.thinkingConfig.thinkingLevel", "MEDIUM"),
            has("generationConfig.thinkingConfig.includeThoughts", True),
        ),
        {"openai": "gpt-5.2"},
    ),
    Row(
        "a budget for a model that takes one",
        {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 9000},
        on("gemini", has("generationConfig.thinkingConfig.thinkingBudget", 5000)),
        {"gemini": "gemini-2.5-flash"},
    ),
    Row(
        "no thinking",
        {"thinking": {"type": "disabled"}},
        on("anthropic", has("thinking.type", "disabled"))
        | on("openai", has("reasoning_effort", "none"))
        | on("groq", has("reasoning_effort", "low"))
        | on("oai-resp", has("reasoning.effort", "none")),
        {"openai": "gpt-5.2"},
    ),
    Row(
        "no thinking for a model that always thinks",
        {"thinking": {"type": "disabled"}},
        on("anthropic", refuses("thinking")),
        {"anthropic": "claude-opus-5-5"},
    ),
    Row(
        "an effort",
        {"output_config": {"effort": "high"}},
        on("anthropic", has("output_config.effort", "high"))
        | on("openai groq cerebras", has("reasoning_effort", "high"))
        | on("oai-resp", has("reasoning.effort", "high"))
        | on(GOOGLE, has("generationConfig.thinkingConfig.thinkingLevel", "HIGH")),
        {"openai": "gpt-5.2", "anthropic": "claude-opus-4-6"},
    ),
    Row(
        "another provider's reasoning in the history",
        {
            "messages": [
                USER,
                assistant(
                    {"type": "thinking", "thinking": "hm", "signature": "vai1.elsewhere.x.secret"},
                    text("yes"),
                ),
                USER,
            ]
        },
        on(ALL, hides("secret"), hides('"hm"'), says("yes")),
    ),
    Row(
        "Anthropic's reasoning in the history",
        {
            "messages": [
                USER,
                assistant(
                    {"type": "thinking", "thinking": "hm", "signature": "EqQBsigned"},
                    text("yes"),
                ),
                USER,
            ]
        },
        on("anthropic", has("messages.1.content.0.signature", "EqQBsigned"))
        | on(FOREIGN, hides("EqQBsigned"), says("yes")),
    ),
]

FORM: dict[str, Any] = {"type": "json_schema", "schema": SCHEMA}
LIST_FORM: dict[str, Any] = {
    "type": "json_schema",
    "schema": {"type": "array", "items": {"type": "integer"}},
}
STRUCTURE = [
    Row(
        "a schema for the answer",
        {"output_config": {"format": FORM}},
        on("anthropic", has("output_config.format.type", "json_schema"))
        | on(CHAT, has("response_format.type", "json_schema"))
        | on("oai-resp", has("text.format.type", "json_schema"))
        | on(
            GOOGLE,
            has("generationConfig.responseMimeType", "application/json"),
            has("generationConfig.responseJsonSchema", SCHEMA),
        ),
        {"anthropic": "claude-opus-4-6"},
    ),
    Row(
        "the older name of the same",
        {"output_format": FORM},
        on("openai cerebras", has("response_format.json_schema.strict", True))
        | on("oai-resp", has("text.format.strict", True))
        | on(GOOGLE, has("generationConfig.responseMimeType", "application/json")),
    ),
    Row(
        "a list at the root",
        {"output_config": {"format": LIST_FORM}},
        on("openai cerebras", has("response_format.json_schema.schema.type", "object"))
        | on("oai-resp", has("text.format.schema.type", "object"))
        | on(GOOGLE, has("generationConfig.responseJsonSchema.type", "array")),
    ),
]

SAMPLING = [
    Row(
        "max_tokens",
        {"max_tokens": 77},
        on("anthropic", has("max_tokens", 77))
        | on(CHAT, has("max_completion_tokens", 77))
        | on("oai-resp", has("max_output_tokens", 77))
        | on(GOOGLE, has("generationConfig.maxOutputTokens", 77)),
    ),
    Row(
        "fewer tokens than the target can count",
        {"max_tokens": 5},
        on("oai-resp", has("max_output_tokens", 16), drops("max_tokens")),
    ),
    Row(
        "temperature and top_p",
        {"temperature": 0.3},
        on(f"anthropic {CHAT}", has("temperature", 0.3))
        | on("gemini-oauth", has("generationConfig.temperature", 0.3))
        | on("gemini", drops("temperature"), lacks("generationConfig.temperature")),
    ),
    Row(
        "temperature for a model that takes none",
        {"temperature": 0.3},
        on("anthropic", drops("temperature"), lacks("temperature"))
        | on("openai", drops("temperature"), lacks("temperature")),
        {"anthropic": "claude-opus-5", "openai": "gpt-5"},
    ),
    Row(
        "top_k",
        {"top_k": 5},
        on("anthropic", has("top_k", 5))
        | on(f"{CHAT} oai-resp", drops("top_k"), lacks("top_k"))
        | on("gemini-oauth", has("generationConfig.topK", 5)),
    ),
    Row(
        "stop sequences",
        {"stop_sequences": ["END"]},
        on("anthropic", has("stop_sequences", ["END"]))
        | on(CHAT, has("stop", ["END"]))
        | on("oai-resp", lacks("stop"))
        | on(GOOGLE, has("generationConfig.stopSequences", ["END"])),
    ),
    Row(
        "stop sequences for a model that knows none",
        {"stop_sequences": ["END"]},
        on("openai", lacks("stop")),
        {"openai": "gpt-5.2"},
    ),
    Row(
        "who asks",
        {"metadata": {"user_id": "u-1"}},
        on("anthropic", has("metadata.user_id", "u-1"))
        | on("openai oai-resp", has("safety_identifier", "u-1"))
        | on("groq cerebras", has("user", "u-1"))
        | on(GOOGLE, drops("metadata.user_id"), hides("u-1")),
    ),
    Row(
        "service tier",
        {"service_tier": "standard_only"},
        on("anthropic", has("service_tier", "standard_only"))
        | on("openai oai-resp cerebras", has("service_tier", "default"))
        | on("groq", has("service_tier", "on_demand")),
    ),
]

MARK = {"type": "ephemeral"}
CACHING = [
    Row(
        "a cache breakpoint",
        {"messages": [user(text("long", cache_control=MARK), text("go"))]},
        on("anthropic", has("messages.0.content.0.cache_control", MARK))
        | on("openai", has("messages.0.content.0.prompt_cache_breakpoint.mode", "explicit"))
        | on("oai-resp", has("input.0.content.0.prompt_cache_breakpoint.mode", "explicit"))
        | on(f"groq cerebras {GOOGLE}", hides("cache_control"), hides("ephemeral")),
        {"openai": "gpt-5.6-sol"},
    ),
]

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
CODE = {"type": "code_execution_20250825", "name": "code_execution"}
NATIVE = [
    Row(
        "web search",
        {"tools": [SEARCH]},
        on("anthropic", has("tools.0.name", "web_search"))
        | on("oai-resp", has("tools.0.type", "web_search"))
        | on(GOOGLE, has("tools.0.googleSearch", {}))
        | on("groq", has("tools.0.type", "browser_search"))
        | on("openai cerebras", refuses("tools[0]")),
    ),
    Row(
        "code execution",
        {"tools": [CODE]},
        on("anthropic", has("tools.0.name", "code_execution"))
        | on("oai-resp", has("tools.0.type", "code_interpreter"), has("tools.0.container", ...))
        | on(GOOGLE, has("tools.0.codeExecution", {}))
        | on("groq", has("tools.0.type", "code_interpreter"))
        | on("openai cerebras", refuses("tools[0]")),
    ),
    Row(
        "a shell that the caller runs",
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        on("anthropic", has("tools.0.type", "bash_20250124"))
        | on(CHAT, has("tools.0.function.name", "bash"))
        | on("oai-resp", has("tools.0.name", "bash"))
        | on(GOOGLE, has("tools.0.functionDeclarations.0.name", "bash")),
    ),
    Row(
        "all problems at once",
        {
            "tools": [SEARCH, CODE],
            "messages": [
                user(
                    {
                        "type": "video",
                        "source": {"type": "base64", "media_type": "video/mp4", "data": "AAAA"},
                    }
                )
            ],
        },
        on("openai cerebras", refuses("tools[0]"), refuses("tools[1]"), refuses("messages[0]")),
    ),
]

ROWS_BY_SUBJECT = {
    "roles": ROLES,
    "blocks": BLOCKS,
    "tools": TOOLS,
    "reasoning": REASONING,
    "structure": STRUCTURE,
    "sampling": SAMPLING,
    "caching": CACHING,
    "native": NATIVE,
}
"""Subject -> its rows."""

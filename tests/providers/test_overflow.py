"""A prompt that is too long and an overload are told in one wording, whoever says it and how."""

from __future__ import annotations

import json
import time

import pytest

from vai.providers.decode import upstream_errors as failure
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS

LONG = [
    # Anthropic
    ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
    # OpenAI, DeepSeek, vLLM, OpenRouter
    (
        (
            "This model's maximum context length is 128000 tokens. However, your messages resulted "
            "in 130000 tokens. Please reduce the length of the messages."
        ),
        130000,
        128000,
    ),
    (
        (
            "This model's maximum context length is 1048576 tokens. However, you requested 1354787 "
            "tokens (1346595 in the messages, 8192 in the completion)."
        ),
        1354787,
        1048576,
    ),
    (
        (
            "This endpoint's maximum context length is 131072 tokens. However, you requested about "
            "132463 tokens (1463 of text input, 131000 in the output)."
        ),
        132463,
        131072,
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, you requested 100 output "
            "tokens and your prompt contains at least 3997 input tokens, for a total of at least "
            "4097 tokens."
        ),
        4097,
        4096,
    ),
    (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum "
            "context length is 4096 tokens and your request has 2104 input tokens "
            "(2000 > 4096 - 2104)."
        ),
        4104,
        4096,
    ),
    (
        "The decoder prompt (length 88049) is longer than the maximum model length of 32768.",
        88049,
        32768,
    ),
    ("Input length (265330) exceeds model's maximum context length (262144).", 265330, 262144),
    ("Your input exceeds the context window of this model. Please adjust your input.", None, None),
    # Groq, Cerebras
    ("Please reduce the length of the messages or completion.", None, None),
    (
        (
            "Please reduce the length of the messages or completion. Current length is 9207 while "
            "limit is 8192"
        ),
        9207,
        8192,
    ),
    # Gemini, Vertex
    (
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        1196265,
        1048575,
    ),
    ("The input token count exceeds the maximum number of tokens allowed 1048576.", None, None),
    (
        (
            "Unable to submit request because the input token count is 1048577 but model supports "
            "up to 1048576. Reduce the input token count and try again."
        ),
        1048577,
        1048576,
    ),
    # xAI
    (
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        537812,
        131072,
    ),
    # llama.cpp, llama-cpp-python
    ("request (9412 tokens) exceeds the available context size (8192 tokens)", 9412, 8192),
    ("the request exceeds the available context size. try increasing it", None, None),
    ("Context size has been exceeded.", None, None),
    ("Requested tokens (2285) exceed context window of 2048", 2285, 2048),
    # LM Studio, Ollama
    (
        (
            "Trying to keep the first 9000 tokens when context the overflows. However, the model "
            "is loaded with context length of only 4096 tokens, which is not enough."
        ),
        9000,
        4096,
    ),
    ("prompt too long; exceeded max context length by 123 tokens", None, None),
    ("input length exceeds the context length", None, None),
    # SGLang, TGI, Mistral, Fireworks, Moonshot
    (
        "The input (300,000 tokens) is longer than the model's context length (131,072 tokens).",
        300000,
        131072,
    ),
    (
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: "
            "5000 `inputs` tokens and 100 `max_new_tokens`"
        ),
        5000,
        4096,
    ),
    (
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        40000,
        32768,
    ),
    ("The prompt is too long: 1000008, model maximum context length: 131071", 1000008, 131071),
    ("Your request exceeded model token limit: 262144", None, None),
    # GitHub Models, watsonx, TensorRT-LLM, Bedrock, Volcengine, LiteLLM, exllama
    ("Request body too large for gpt-4o model. Max size: 8000 tokens.", None, None),
    (
        "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model",
        5000,
        4096,
    ),
    (
        (
            "The sum of prompt length (9000.0) , max tokens (100) should not exceed "
            "max_num_tokens (8192)"
        ),
        9000,
        8192,
    ),
    (
        "Too many input tokens. Max input tokens: 8192, request input token count: 10000",
        10000,
        8192,
    ),
    ("Total tokens of image and text exceed max message tokens.", None, None),
    ("litellm.ContextWindowExceededError: litellm.BadRequestError: no", None, None),
    ("Prompt length 9000 is greater than max_seq_len 8192", None, None),
    ("Input length 140000 exceeds the maximum length 131072", 140000, 131072),
    ("The prompt is longer than the context window of this model", None, None),
    ("Requested tokens exceed the model's context limit (32768)", None, None),
    (
        "Your prompt has 140000 tokens, which is more than the maximum of 131072 tokens.",
        140000,
        131072,
    ),
]


def rejected(row: str, status: int, error: object) -> failure.UpstreamFault:
    return make_adapter(PROVIDER_SPECS[row], "x").parse_error(
        status, {}, json.dumps(error).encode()
    )


@pytest.mark.parametrize("row", list(PROVIDER_SPECS))
@pytest.mark.parametrize(("words", "used", "limit"), LONG)
def test_every_wording_of_a_long_prompt(row: str, words: str, used: int, limit: int) -> None:
    for status in (400, 413, 422, 500):
        for error in ({"message": words, "type": "t"}, words):
            fault = rejected(row, status, {"error": error})
            assert (fault.type, fault.status) == ("invalid_request_error", 400)
            assert fault.code == "context_length_exceeded"
            assert fault.should_retry is False
            assert fault.provider_error == error
            if used:
                assert fault.message == f"prompt is too long: {used} tokens > {limit} maximum"
            else:
                assert "prompt is too long" in fault.message
                assert words in fault.message


@pytest.mark.parametrize(("words", "used", "limit"), LONG)
def test_the_same_in_a_stream(words: str, used: int, limit: int) -> None:
    fault = failure.fault_from_event("openai", "OpenAI", {"error": {"message": words}})
    assert (fault.type, fault.status) == ("invalid_request_error", 400)
    assert fault.message.startswith("prompt is too long")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            {"message": "m", "code": "context_length_exceeded"},
            "prompt is too long: m",
        ),
        (
            {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            },
            "prompt is too long: 14429 tokens > 8192 maximum",
        ),
        ({"code": "context_length_exceeded"}, "prompt is too long for this model"),
        (
            {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": '{"error":{"message":"maximum context length is 8192 tokens"}}'
                },
            },
            "prompt is too long: Provider returned error",
        ),
    ],
)
def test_codes_of_a_long_prompt(error: dict[str, object], message: str) -> None:
    assert rejected("openai", 400, {"error": error}).message == message


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (
            413,
            (
                "Request too large for model `llama` on tokens per minute (TPM): Limit 6000, "
                "Requested 12000, please reduce the length of the messages"
            ),
            "request_too_large",
        ),
        (429, "Please reduce the length of the messages", "rate_limit_error"),
        (
            400,
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
            "invalid_request_error",
        ),
        (
            400,
            (
                "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, "
                "decrease input length or `max_tokens` and try again"
            ),
            "invalid_request_error",
        ),
        (400, "messages: text content blocks must be non-empty", "invalid_request_error"),
        (401, "prompt is too long", "authentication_error"),
    ],
)
def test_other_limits_are_no_long_prompts(status: int, words: str, kind: str) -> None:
    fault = rejected("groq", status, {"error": {"message": words}})
    assert fault.type == kind
    assert fault.code != "context_length_exceeded"
    assert fault.message == words


BUSY = [
    "Overloaded",
    "The model is overloaded. Please try again later.",
    "The engine is currently overloaded, please try again later",
    "No capacity available",
    "The server is at capacity",
    "We are experiencing high demand",
    "The server is busy, please retry",
    "No slots available",
    "The queue is full",
    "over_capacity",
    "server_busy",
    "Server overload, try again later",
    "no healthy upstream",
    "No available workers",
    "All backends are busy",
    "The system load is too high",
    "The model is under heavy load",
    "We see unusually heavy traffic",
    "Unable to process the request due to high volume",
    "not enough GPU capacity",
    "Capacity exhausted",
    "\u670d\u52a1\u5668\u7e41\u5fd9\uff0c\u8bf7\u7a0d\u540e\u518d\u8bd5",
    "no-capacity",
]


@pytest.mark.parametrize("row", list(PROVIDER_SPECS))
@pytest.mark.parametrize("words", BUSY)
def test_every_wording_of_an_overload(row: str, words: str) -> None:
    for status in (429, 500, 502, 503, 529):
        for body in ({"error": {"message": words}}, {"error": words}, {"detail": words}):
            fault = rejected(row, status, body)
            assert fault.type == "overloaded_error"
            assert fault.status == (503 if status == 503 else 529)
            assert fault.message == words
    assert (
        failure.fault_from_event(row, "P", {"error": {"message": words}}).type == "overloaded_error"
    )


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "The word overloaded is not allowed here", "invalid_request_error"),
        (429, "Rate limit reached for requests per minute", "rate_limit_error"),
        (500, "Internal error", "api_error"),
    ],
)
def test_other_errors_are_no_overload(status: int, words: str, kind: str) -> None:
    assert rejected("openai", status, {"error": {"message": words}}).type == kind


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("Not authenticated", "Not authenticated"),
        (
            [
                {"loc": ["body", "messages", 0, "content"], "msg": "Field required", "type": "m"},
                {"loc": ["body", "model"], "msg": "Input should be a string", "type": "s"},
            ],
            "body.messages.0.content: Field required; body.model: Input should be a string",
        ),
        (["one", "two"], "one; two"),
        ({"message": "words", "code": "c"}, "words"),
        ({"error": {"message": "inner", "type": "t"}}, "inner"),
        ({"reason": "words"}, "words"),
        ({"place": "unknown"}, "OpenAI answered with status 422 and no message"),
        ([], "OpenAI answered with status 422 and no message"),
        ([{"msg": {"msg": [{"msg": {"msg": "deep"}}]}}], "OpenAI answered with status 422"),
    ],
)
def test_errors_of_fastapi_keep_their_words(detail: object, message: str) -> None:
    fault = rejected("openai", 422, {"detail": detail})
    assert fault.message.startswith(message)
    assert (fault.type, fault.status) == ("invalid_request_error", 400)
    if detail:
        assert fault.provider_error


@pytest.mark.parametrize(
    "body",
    [
        b"The model is overloaded",
        b'"The model is overloaded"',
        b'["The model is overloaded"]',
        b'{"errors":["The model is overloaded"]}',
        b'{"error":{"errors":[{"message":"The model is overloaded"}]}}',
        b'{"error":"Internal Server Error","message":"The model is overloaded"}',
        b'{"error":true,"reason":"The model is overloaded"}',
        b'{"error_message":"The model is overloaded"}',
        b'{"Message":"The model is overloaded"}',
        b'{"base_resp":{"status_code":1002,"status_msg":"The model is overloaded"}}',
        b'{"fault":{"faultstring":"The model is overloaded"}}',
    ],
)
def test_every_form_of_an_error_keeps_its_words(body: bytes) -> None:
    for row in PROVIDER_SPECS:
        fault = make_adapter(PROVIDER_SPECS[row], "x").parse_error(500, {}, body)
        assert (fault.type, fault.message) == ("overloaded_error", "The model is overloaded")


def test_a_quoted_error_of_another_server_counts() -> None:
    quoted = {"error": {"message": "The model is overloaded"}}
    error = {"message": "Provider returned error", "metadata": {"raw": quoted}}
    assert rejected("openai", 500, {"error": error}).type == "overloaded_error"


def test_words_of_any_length_are_read_in_linear_time() -> None:
    for piece in (
        "context length is ",
        "1 ",
        "prompt token count of 1",
        "input token count ",
        "9,99",
    ):
        body = {"error": {"message": piece * 40_000, "code": "context_length_exceeded"}}
        began = time.perf_counter()
        assert rejected("openai", 400, body).status == 400
        assert time.perf_counter() - began < 0.25

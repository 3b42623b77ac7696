"""What Chat Completions counted that makes an answer cost something else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def extra_of(usage: dict[str, Any], **members: Any) -> dict[str, Any]:
    adapter = make_adapter(PROVIDER_SPECS["openai"], "x1")
    adapter.build_request(parse.parse_request(ASK))
    said = {"message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop", "index": 0}
    counted = {"prompt_tokens": 9, "completion_tokens": 3, **usage}
    answer = adapter.parse_message(orjson.dumps({"choices": [said], "usage": counted, **members}))
    assert answer is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 3)
    return answer.usage.extra


@pytest.mark.parametrize("tier", [None, "auto", "default", "on_demand"])
def test_the_listed_price_needs_no_word(tier):
    assert extra_of({}, service_tier=tier) == {}


def test_another_tier_is_told():
    assert extra_of({}, service_tier="flex") == {"service_tier": "flex"}


def test_audio_is_told():
    heard, spoken = {"audio_tokens": 4}, {"audio_tokens": 2, "reasoning_tokens": 0}
    usage = {"prompt_tokens_details": heard, "completion_tokens_details": spoken}
    assert extra_of(usage) == {"audio_tokens": 6}
    assert extra_of({"prompt_tokens_details": {"audio_tokens": 0}}) == {}

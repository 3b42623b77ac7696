"""However an exchange ends, its place is given back and what it used is charged once.

Each case has a key of its own, so what is charged to that key is what the case has used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import orjson
import pytest
import uvloop

from tests.canary import KEY
from tests.e2e.books import Books
from tests.e2e.burst import Burst, Caller, comes_true, wire
from tests.e2e.conftest import PATIENT, lent_key
from tests.e2e.rig import Gateway, Simulated, ask, running, until

pytestmark = pytest.mark.e2e

MOST = 4000


class Case(NamedTuple):
    """A request, the status it gets, and what is charged for it.

    `nothing` is no token, `told` what the answer says, `guess` what is estimated: more than
    nothing, and less than was set aside. `leaves` is what the caller waits for before it goes;
    an empty text is the upstream's having been asked.
    """

    model: str
    charged: Literal["nothing", "told", "guess"]
    status: int = 200
    stream: bool = False
    leaves: str | None = None
    requests: int = 1


CASES = {
    "json": Case("openai/sim;tokens=5", "told"),
    "json-verbatim": Case("claude-x;tokens=5", "told"),
    "no-usage": Case("openai/sim;tokens=5;nousage=1", "guess"),
    "error": Case("openai/sim;status=400", "nothing", 400),
    "error-verbatim": Case("claude-x;status=529", "nothing", 529, stream=True),
    "error-after-retry": Case("openai/sim;status=500", "nothing", 500),
    "reset": Case("openai/sim;reset=1", "nothing", 502),
    "retry": Case("openai/sim;fail=1x503;tokens=5", "told"),
    "fallback": Case("second-best", "told"),
    "cut": Case("openai/sim;tokens=50;cut=4000", "guess", stream=True),
    "cut-verbatim": Case("claude-x;tokens=50;cut=4000", "guess", stream=True),
    "error-event": Case("claude-x;tokens=50;error_at=9", "guess", stream=True),
    "no-head": Case("openai/sim;ttft=50", "guess", 504, stream=True),
    "no-token": Case("openai/sim;head=0;ttft=50", "guess", 504, stream=True),
    "no-more": Case("claude-x;tokens=90;stall_at=2500", "guess", stream=True),
    "no-end": Case("openai/sim;ttft=50", "guess", 504),
    "unsayable": Case("openai/unsayable", "nothing", 400, requests=0),
    "unknown": Case("nowhere/x", "nothing", 404, requests=0),
    "left-no-head": Case("openai/left-a;ttft=50", "guess", stream=True, leaves=""),
    "left-no-head-verbatim": Case("claude-left-a;ttft=50", "guess", stream=True, leaves=""),
    "left-no-token": Case("openai/left-b;head=0;ttft=50", "guess", stream=True, leaves=""),
    "left-json": Case("openai/left-c;ttft=50", "guess", leaves=""),
    "left-half-json": Case("claude-left-d;tokens=50;stall_at=40", "guess", leaves=""),
    "left-stream": Case(
        "openai/left-e;tokens=500;tps=20", "guess", stream=True, leaves="content_block_delta"
    ),
    "left-stream-verbatim": Case(
        "claude-left-f;tokens=500;tps=20", "guess", stream=True, leaves="content_block_delta"
    ),
}


def key_of(name: str) -> str:
    return f"{KEY}-{name}"


@pytest.fixture(scope="module")
def ending(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Books]]:
    keys = {
        name: {"key": key_of(name), "name": name, "tokens_per_minute": 1_000_000} for name in CASES
    }
    settings = PATIENT | {
        "auth": {"mode": "api_key", "api_keys": keys},
        "providers": {
            name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)}
            for name in ("anthropic", "openai")
        },
        "aliases": {"second-best": ["openai/gone;status=500", "anthropic/claude-y;tokens=5"]},
        "drain_grace": 0.5,
        "timers": {"headers": 0.6, "first_token": 0.6, "inter_chunk": 0.5, "total": 1.5},
        "retries": {"base_delay": 0.01, "max_delay": 0.1, "budget": 1.0},
    }
    with running(settings, tmp_path_factory.mktemp("ending")) as gateway:
        yield gateway, Books(gateway.process.pid)


@pytest.mark.parametrize("name", CASES)
def test_a_place_is_given_back_and_charged_once(
    ending: tuple[Gateway, Books], simulator: Simulated, name: str
) -> None:
    gateway, books = ending
    case = CASES[name]
    body = ask(case.model, stream=case.stream, max_tokens=MOST)
    if name == "unsayable":
        body["messages"] = "no list of turns"
    after = simulator.last

    async def run() -> Caller:
        [caller] = await Burst(gateway.port).callers(1)
        caller.send(wire(body, key_of(name)))
        if case.leaves is None:
            await caller.ended()
        else:
            await comes_true(lambda: simulator.last > after)
            await caller.until(case.leaves.encode())
        caller.leave()
        await comes_true(lambda: books.use(f"key:{name}").running == 0 and books.at_rest())
        return caller

    caller = uvloop.run(run())
    assert case.leaves is not None or caller.status == case.status
    use = books.use(f"key:{name}")
    assert use.requests == case.requests
    if case.charged == "told":
        usage: dict[str, Any] = orjson.loads(caller.body)["usage"]
        assert use.tokens == usage["input_tokens"] + usage["output_tokens"]
    elif case.charged == "guess":
        assert 10 < use.tokens < MOST
    else:
        assert use.tokens == 0


def test_nothing_is_left(ending: tuple[Gateway, Books]) -> None:
    _, books = ending
    until(books.at_rest)
    assert not books.snapshot().leases
    until(lambda: books.control_block.totals == (0, 0))
    assert books.use().tokens == sum(books.use(f"key:{name}").tokens for name in CASES)

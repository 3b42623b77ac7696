"""Traffic of the provider's own protocol passes as it came, byte for byte."""

from __future__ import annotations

import base64
import random

import orjson
import pytest

from tests.canary import KEY, PROMPT, PROVIDER_KEY
from tests.e2e.rig import Http, ask, body_of, events, frames, headers_of
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

LETTERS = 'abcXYZ019_-. éßŁ漢字𝄞\u200b\u2028\x7f/"\\\n\t'


class Writer:
    """Writes JSON as nobody else would: every freedom the grammar leaves is taken."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.blanks = " \t\r\n"

    def blank(self) -> str:
        return "".join(self.random.choices(self.blanks, k=self.random.choice((0, 0, 0, 1, 3))))

    def text(self, value: str) -> str:
        pieces = []
        for letter in value:
            must = letter in '"\\' or letter < " "
            if must or self.random.random() < 0.2:
                units = letter.encode("utf-16-be").hex()
                for at in range(0, len(units), 4):
                    unit = units[at : at + 4]
                    pieces.append("\\u" + (unit.upper() if self.random.random() < 0.5 else unit))
            elif letter == "/" and self.random.random() < 0.5:
                pieces.append("\\/")
            else:
                pieces.append(letter)
        return '"' + "".join(pieces) + '"'

    def number(self) -> str:
        return self.random.choice(
            [
                "0", "-0", "0.0", "1E5", "-1.50e-7", "1e+2", "9223372036854775807",
                "-9223372036854775808", "18446744073709551615", "3.141592653589793",
                "0.10", "100000000000000000000e0"[:20], str(self.random.randrange(10**15)),
            ]
        )  # fmt: skip

    def word(self) -> str:
        return "".join(self.random.choices(LETTERS, k=self.random.randrange(1, 12)))

    def value(self, depth: int = 0) -> str:
        kind = self.random.randrange(8 if depth < 5 else 5)
        if kind < 2:
            return self.text(self.word())
        if kind < 4:
            return self.number()
        if kind == 4:
            return self.random.choice(["true", "false", "null", "[]", "{}", '""'])
        if kind < 6:
            items = [self.value(depth + 1) for _ in range(self.random.randrange(4))]
            return self.joined("[", items, "]")
        return self.object(
            [(self.word(), self.value(depth + 1)) for _ in range(self.random.randrange(4))]
        )

    def object(self, members: list[tuple[str, str]]) -> str:
        named = dict(members)
        items = [
            f"{self.text(name)}{self.blank()}:{self.blank()}{value}"
            for name, value in named.items()
        ]
        return self.joined("{", items, "}")

    def joined(self, begin: str, items: list[str], end: str) -> str:
        blank = self.blank
        return begin + blank() + f"{blank()},{blank()}".join(items) + blank() + end

    def body(self, *, stream: bool) -> tuple[bytes, bytes]:
        """A request in two parts; the model's value belongs between them."""
        content = self.object(
            [("type", '"text"'), ("text", self.text(PROMPT)), (self.word(), self.value())]
        )
        message = self.object(
            [("role", '"user"'), ("content", f"[{content}]"), ("x" + self.word(), self.value())]
        )
        members = [
            ("max_tokens", "20"),
            ("messages", f"[{message}]"),
            ("stream", "true" if stream else "false"),
            ("model", "@MODEL@"),
            *[("x" + self.word(), self.value()) for _ in range(self.random.randrange(6))],
        ]
        self.random.shuffle(members)
        whole = self.blank() + self.object(members) + self.blank()
        before, _, after = whole.partition("@MODEL@")
        return before.encode(), after.encode()

    def answer(self) -> bytes:
        """A message with members nobody has heard of."""
        members = [
            ("id", '"msg_1"'), ("type", '"message"'), ("role", '"assistant"'),
            ("model", self.text("claude-real-1")), ("stop_reason", '"end_turn"'),
            ("content", '[{"type":"text","text":' + self.text(self.word()) + "}]"),
            ("usage", self.object([("input_tokens", "7"), ("output_tokens", "3"),
                                   ("cache_read_input_tokens", "5"), ("x", self.value())])),
            ("x" + self.word(), self.value()), ("y" + self.word(), self.value()),
        ]  # fmt: skip
        self.random.shuffle(members)
        return (self.blank() + self.object(members) + self.blank()).encode()

    def stream(self) -> bytes:
        """Frames with odd spacing, comments and events nobody has heard of."""
        self.blanks = " \t"  # an event's data is one line
        deltas = [
            '{"type":"content_block_delta","index":0,"delta":'
            + self.object([("type", '"text_delta"'), ("text", self.text(self.word()))]) + "}"
            for _ in range(self.random.randrange(1, 5))
        ]  # fmt: skip
        start = (
            '{"type": "message_start", "message": {"id":"m","type":"message","role":"assistant",'
            '"model":"claude-real-1","content":[],"stop_reason":null,"stop_sequence":null,'
            '"usage":{"input_tokens":7,"output_tokens":1,"cache_read_input_tokens":5}}}'
        )
        opened = {"type": "text", "text": ""}
        block = {"type": "content_block_start", "index": 0, "content_block": opened}
        ended = (
            '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
            '"usage":{"output_tokens":3},"new":[1.0]}'
        )
        said = [
            ("message_start", start),
            ("content_block_start", orjson.dumps(block).decode()),
            ("ping", '{"type": "ping"}'),
            *[("content_block_delta", delta) for delta in deltas],
            ("news", '{"type":"news","about":"message_start"}'),
            ("content_block_stop", '{"type":"content_block_stop","index":0 }'),
            ("message_delta", ended),
            ("message_stop", '{"type":"message_stop"}'),
        ]
        found = []
        for name, data in said:
            space = self.random.choice(["", " "])
            comment = self.random.choice(["", "", ": sent by nobody\n"])
            found.append(f"{comment}event:{space}{name}\ndata:{space}{data}\n\n")
        return "".join(found).encode()


def split_at_random(data: bytes, chance: random.Random) -> list[dict]:
    """`data` as script chunks of random sizes."""
    chunks = []
    at = 0
    while at < len(data):
        size = chance.choice((1, 3, 50, 400))
        piece = base64.b64encode(data[at : at + size]).decode()
        chunks.append({"base64": piece, "delay": chance.choice((0, 0, 0.002))})
        at += size
    return chunks


@pytest.mark.parametrize("prefix", ["", "anthropic/"], ids=["bare", "prefixed"])
def test_two_hundred_requests_and_their_answers(gateway, simulator, prefix):
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    with Http(gateway.port) as one, Http(gateway.port) as other:
        for number in range(100):
            writer = Writer(number if prefix else number + 1000)
            stream = number % 2 == 0
            model = f"claude-{prefix[:1]}v{number}"
            before, after = writer.body(stream=stream)
            answer = writer.stream() if stream else writer.answer()
            kind = "text/event-stream" if stream else "application/json"
            simulator.script(
                model,
                headers={"content-type": kind},
                chunks=split_at_random(answer, writer.random),
            )
            sent = before + writer.text(prefix + model).encode() + after
            got = (one, other)[number % 2].ask("POST", "/v1/messages", headers, sent)
            assert got.status == 200, (number, got.body)
            entry = simulator.one(model)
            assert body_of(entry) == before + f'"{model}"'.encode() + after, number
            if not prefix:
                assert got.body == answer, number
            elif stream:
                same_but_for_names_and_counts(got.body, answer)
            else:
                edited_only_in_model_and_usage(orjson.loads(got.body), orjson.loads(answer))


def same_but_for_names_and_counts(got: bytes, sent: bytes) -> None:
    pairs = list(zip(frames(got), frames(sent), strict=True))
    for ours, theirs in pairs:
        if b"message_start\n" not in theirs and b"message_delta\n" not in theirs:
            assert ours == theirs
    (start, start_sent), *_, (delta, delta_sent), _ = [
        (events(ours)[0], events(theirs)[0]) for ours, theirs in pairs
    ]
    message, message_sent = start["message"], start_sent["message"]
    assert message.pop("model") == "anthropic/" + message_sent.pop("model")
    assert message == message_sent
    usage = delta.pop("usage")
    assert delta_sent.pop("usage").items() <= usage.items()
    assert delta == delta_sent
    assert usage["total_tokens"] == 10
    assert usage["cache_read_tokens"] == 5


def edited_only_in_model_and_usage(ours: dict, theirs: dict) -> None:
    assert list(ours) == list(theirs)
    assert ours.pop("model") == "anthropic/" + theirs.pop("model")
    usage, usage_sent = ours.pop("usage"), theirs.pop("usage")
    assert usage_sent.items() <= usage.items()
    assert set(usage) - set(usage_sent) <= {"total_tokens", "cache_read_tokens"}
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["cache_read_tokens"] == 5
    assert ours == theirs


@pytest.mark.parametrize("odd", ["1" + "0" * 29, "1e400", "-" + "9" * 40, '"\\ud800"'])
def test_an_answer_that_cannot_be_edited_is_no_defect(gateway, simulator, odd):
    model = f"claude-odd-{abs(hash(odd))}"
    body = (
        '{"type":"message","id":"m","role":"assistant","model":"m","content":[],"stop_reason":'
        f'"end_turn","usage":{{"input_tokens":1,"output_tokens":1}},"odd":{odd}}}'
    )
    simulator.script(model, body=body)
    bare = gateway.post(ask(model))
    assert (bare.status, bare.body) == (200, body.encode())
    prefixed = gateway.post(ask(f"anthropic/{model}"))
    assert prefixed.status in (200, 502), prefixed.body


def test_errors_are_not_touched(gateway, simulator):
    chance = random.Random(7)
    for number, status in enumerate((400, 401, 403, 404, 413, 429, 500, 503, 529)):
        for prefix in ("", "anthropic/"):
            for stream in (False, True):
                model = f"claude-err-{number}-{prefix[:1]}-{stream}"
                writer = Writer(chance.randrange(10**6))
                error = writer.object(
                    [
                        ("type", '"error"'),
                        ("error", writer.object([("type", '"x_error"'), ("message", '"m"')])),
                        ("request_id", '"req_up"'),
                    ]
                )
                simulator.script(model, status=status, body=f" {error}\n")
                # A refused key that the gateway lent is told in other words.
                own = {"x-provider-key-anthropic": PROVIDER_KEY} if status == 401 else {}
                got = gateway.post(ask(prefix + model, stream=stream), own)
                assert (got.status, got.body) == (status, f" {error}\n".encode())


def test_headers_of_the_protocol_pass_as_they_are(gateway, simulator):
    sent = [
        ("anthropic-version", "2099-12-31"),
        ("anthropic-beta", "prompt-caching-2024-07-31,context-1m-2025-08-07"),
        ("Anthropic-Beta", "never-heard-of-2030-01-01"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("anthropic-Something-New", 'a "quoted"  value; with=parts, and~more'),
        ("X-Claude-Code-Session-Id", "5a0e2f7c"),
        ("x-stainless-lang", "python"),
        ("user-agent", "claude-cli/9.9.9 (external, cli)"),
    ]
    private = [
        ("cookie", "session=mine"),
        ("authorization", "Bearer something-of-mine"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("referer", "https://intranet.example/secret"),
        ("x-provider-key-openai", "sk-of-another-provider"),
        ("x-internal-token", "mine"),
        ("accept-encoding", "gzip, br"),
        ("te", "trailers"),
        ("x-vai-something", "mine"),
    ]
    given = [(name, value) for name, value in private if name != "authorization"]
    answer = gateway.post(ask("claude-head-1"), [*sent, *given])
    assert answer.status == 200
    arrived = headers_of(simulator.one("claude-head-1"))
    for name, value in sent:
        assert (name.lower(), value) in arrived
    betas = [value for name, value in arrived if name == "anthropic-beta"]
    assert betas == [sent[1][1], sent[2][1]]
    names = [name for name, _ in arrived]
    assert not {name for name, _ in private if name != "accept-encoding"} & set(names)
    assert len(names) == len(set(names)) + 1
    assert dict(arrived).get("accept-encoding", "identity") == "identity"


def test_a_version_is_added_where_there_is_none(gateway, simulator):
    assert gateway.post(ask("claude-version-1")).status == 200
    fields = headers_of(simulator.one("claude-version-1"))
    assert [value for name, value in fields if name == "anthropic-version"] == ["2023-06-01"]


def test_headers_of_the_answer(gateway, simulator):
    simulator.script(
        "claude-back-1",
        body='{"type":"message","content":[]}',
        headers=[
            ["content-type", "application/json"],
            ["request-id", "req_upstream"],
            ["anthropic-ratelimit-requests-remaining", "17"],
            ["x-should-retry", "false"],
            ["retry-after", "3"],
            ["anthropic-future-header", "yes"],
            ["set-cookie", "track=you"],
            ["server", "cloudflare"],
            ["x-request-id", "of-the-upstream"],
            ["strict-transport-security", "max-age=1"],
            ["access-control-allow-origin", "*"],
            ["alt-svc", "h3"],
            ["cache-control", "public, max-age=999"],
            ["connection", "x-hop"],
        ],
    )
    answer = gateway.post(ask("claude-back-1"))
    assert answer.status == 200
    assert answer.header("request-id") == "req_upstream"
    assert answer.header("anthropic-ratelimit-requests-remaining") == "17"
    assert answer.header("anthropic-future-header") == "yes"
    assert answer.header("x-should-retry") == "false"
    assert answer.header("x-request-id").startswith("req_")
    for kept in ("set-cookie", "strict-transport-security", "access-control-allow-origin"):
        assert answer.header(kept) is None
    assert answer.header("alt-svc") is None
    assert "max-age" not in (answer.header("cache-control") or "")


def test_a_stream_of_the_simulator_arrives_unchanged(gateway, simulator):
    """The same request sent to the upstream itself gives the bytes to compare with."""
    said = ask("claude-same-1;think=20", stream=True, max_tokens=300)
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    path = "/anthropic/v1/messages"
    with Http(int(simulator.url.rpartition(":")[2])) as direct:
        expected = direct.ask("POST", path, headers, orjson.dumps(said))
    got = gateway.post(said)
    assert got.body == expected.body
    check_stream(events(got.body))

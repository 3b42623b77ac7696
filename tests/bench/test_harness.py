"""The harness sees what there is to see: real mock, real generator, known loads."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bench import ways
from bench.budgets import Budget
from bench.job import Job, Measured, quantiles
from bench.loads import LOADS, run_load
from bench.mock import Wheel
from bench.procs import cpu_seconds, pss_bytes, tree
from bench.profile import shares
from bench.states import run_stalled
from bench.suite import Options, Suite, add_medians, finish
from bench.ways import Way
from bench.wire import PERIOD_MS, STAMP_DIGITS, anthropic_form, openai_form

pytestmark = [
    pytest.mark.timing,
    pytest.mark.skipif(
        not ways.all_cores() >= {ways.GATEWAY_CORE, ways.LOAD_CORE}, reason="wants cores 0 and 1"
    ),
]


@pytest.fixture(scope="module")
def direct() -> Iterator[Way]:
    with ways.mock({ways.LOAD_CORE}) as way:
        yield way


@pytest.fixture
def suite(direct: Way) -> Suite:
    return Suite(Options(rounds=1, seconds=0.3, warmup=0.1, quick=True), direct, [], print)


def _measure(suite: Suite, **job: object) -> Measured:
    return suite.measure("test", suite.direct, **job)


def test_closed_loop_counts_answers_without_errors(suite: Suite) -> None:
    seen = _measure(suite, shape="closed", model="mock-json", concurrency=4)
    assert seen.errors == 0
    assert seen.requests > 100
    assert 0 < seen.latency.p50 <= seen.latency.p99 <= seen.latency.worst


def test_closed_loop_keeps_below_its_ceiling(suite: Suite) -> None:
    seen = _measure(suite, shape="closed", model="mock-json", concurrency=4, rate=500)
    assert 0.6 * 500 < seen.requests / seen.seconds < 1.2 * 500


def test_open_loop_keeps_its_rate(suite: Suite) -> None:
    seen = _measure(suite, shape="open", model="mock-json", concurrency=2, rate=400)
    assert 0.7 * 400 < seen.requests / seen.seconds < 1.3 * 400


def test_paced_streams_are_stamped_and_regular(suite: Suite) -> None:
    seen = _measure(suite, shape="streams", model="mock-paced", concurrency=10, events=4)
    assert seen.errors == 0
    assert seen.requests > 10
    # Streams that began before the window and those cut by its end make the difference.
    # How many fit into so short a window is the machine's affair; their pace is not.
    assert 2 < seen.events / seen.requests < 6
    assert seen.first.count > 0
    assert abs(seen.gap.p50 - PERIOD_MS) < 20


@pytest.mark.parametrize("model", ["mock-flat", "mock-bulk"])
def test_endless_streams_end_where_they_should(suite: Suite, model: str) -> None:
    seen = _measure(suite, shape="streams", model=model, concurrency=2, events=96)
    assert seen.errors == 0
    assert seen.requests > 0
    # All requests but the two first ones ask for 96 deltas.
    assert 90 <= seen.events / seen.requests <= 110


def test_large_bodies_arrive(suite: Suite) -> None:
    seen = _measure(suite, **{**LOADS["json-107k"].job(), "concurrency": 2})
    assert seen.errors == 0
    assert seen.requests > 10


def test_an_error_answer_is_counted_and_told(suite: Suite) -> None:
    told: list[str] = []
    suite.say = told.append
    with ways.nginx(1, {ways.GATEWAY_CORE}) as way:
        if way is None:
            pytest.skip("nginx is not installed")
        seen = suite.measure("test", way, shape="closed", model="mock-json", concurrency=1)
    assert seen.requests == 0
    assert seen.errors > 0
    assert "502" in told[0]


def test_a_busy_generator_voids_a_measurement(suite: Suite, direct: Way) -> None:
    other = direct.mode("other", "")
    suite.measure("flooded", other, shape="closed", model="mock-json", concurrency=32)
    assert "flooded.other" in suite.void


def test_ratios_are_to_nginx_of_the_same_round(suite: Suite, direct: Way) -> None:
    with ways.nginx(direct.port, {ways.GATEWAY_CORE}) as plain:
        if plain is None:
            pytest.skip("nginx is not installed")
        suite.others = [plain]
        run_load(suite, LOADS["json-c32"])
    assert suite.figures["json-c32.nginx.x"] == 1.0
    assert suite.figures["json-c32.nginx.tail"] >= 1.0
    assert suite.figures["json-c32.nginx.cost_us"] > 0


def test_stalled_readers_stop_the_mock_and_stay_open_meanwhile(suite: Suite, direct: Way) -> None:
    with ways.nginx(direct.port, {ways.GATEWAY_CORE}) as plain:
        if plain is None:
            pytest.skip("nginx is not installed")
        suite.others = [plain]
        run_stalled(suite)
    assert suite.figures["stalled.nginx.opened"] == 200
    assert suite.figures["stalled.nginx.left_open"] == 0
    assert 0 < suite.figures["stalled.nginx.upstream_kib"] < 64 * 1024


def test_cpu_of_a_tree_counts_children_that_have_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    script = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        "print(flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert cpu_seconds(parent.pid) >= 0.18
        assert tree(parent.pid) == [parent.pid]
        assert pss_bytes(parent.pid) > 1024 * 1024
        parent.communicate(b"\n")


def test_a_child_runs_on_its_cores_and_ends_with_the_block() -> None:
    before = os.sched_getaffinity(0)
    with ways.running(["sleep", "60"], {ways.LOAD_CORE}) as process:
        assert os.sched_getaffinity(process.pid) == {ways.LOAD_CORE}
        began = time.monotonic()
    assert process.poll() is not None
    assert time.monotonic() - began < 5
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("form", [anthropic_form(), openai_form()])
def test_events_are_whole_chunks_with_a_stamp(form: object) -> None:
    event = form.event(123)  # type: ignore[attr-defined]
    length, _, rest = event.partition(b"\r\n")
    assert len(rest) == int(length, 16) + 2
    assert rest.endswith(b"\n\n\r\n")
    assert b"~" + b"123".zfill(STAMP_DIGITS) in rest


def test_the_wheel_calls_each_member_once_a_period() -> None:
    import uvloop

    async def turn() -> int:
        import asyncio

        class Member:
            calls = 0

            def tick(self, stamp: int) -> None:
                self.calls += 1

        wheel, member = Wheel(asyncio.get_running_loop()), Member()
        slot = wheel.join(member)  # type: ignore[arg-type]
        await asyncio.sleep(PERIOD_MS * 4.5 / 1000)
        wheel.leave(member, slot)  # type: ignore[arg-type]
        return member.calls

    assert uvloop.run(turn()) in (3, 4, 5)


def test_medians_are_taken_figure_by_figure() -> None:
    figures: dict[str, float] = {}
    add_medians(figures, [{"a": 1, "b": 9}, {"a": 5, "b": 7}, {"a": 3, "b": 8}])
    assert figures == {"a": 3, "b": 8}


def test_quantiles_are_nearest_rank() -> None:
    samples = [float(n) for n in range(1, 102)]
    found = quantiles(samples)
    assert (found.p50, found.p99, found.worst, found.count) == (51, 100, 101, 101)
    assert quantiles([]).count == 0


def test_a_budget_is_met_missed_or_not_measured() -> None:
    budget = Budget("at most two", "x", 2.0)
    assert budget.verdict({"x": 2.0}) == "met"
    assert budget.verdict({"x": 2.1}) == "missed"
    assert budget.verdict({}) == "not measured"
    assert Budget("at least", "x", 2.0, at_least=True).verdict({"x": 2.1}) == "met"


def test_shares_count_a_recursive_function_once() -> None:
    alone, with_callees = shares("main;a;a 3\nmain;b 2")
    assert alone == {"a": 3, "b": 2}
    assert with_callees == {"main": 5, "a": 3, "b": 2}


def test_a_job_survives_its_way_to_the_generator(suite: Suite, direct: Way) -> None:
    process = suite.begin(direct, shape="closed", model="mock-json", concurrency=1)
    assert isinstance(finish(process), Measured)
    assert Job.__struct_config__.frozen

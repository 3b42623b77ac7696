"""The ceilings of instruction counts hold here, and a way that became dearer does not pass."""

import os
import signal
from pathlib import Path

import pytest

from bench import ceilings, playing
from bench.callgrind import is_installed
from bench.ceilings import Figures, judge

_SEED = """
turns = ()

def loop():
    for _ in turns:
        pass
"""

_PROGRAM = """
import seed, sys
seed.turns = (None,) * int(sys.argv[1])
for _ in sys.stdin:
    seed.loop()
    print(flush=True)
"""

_SITE = """
import seed, signal
from pathlib import Path
from vai.io.http.connection import UpstreamConnection
receive = UpstreamConnection.data_received

def data_received(connection, data):
    seed.loop()
    receive(connection, data)

def set_turns(*_):
    seed.turns = (None,) * int(Path({turns!r}).read_text())

UpstreamConnection.data_received = data_received
signal.signal(signal.SIGUSR2, set_turns)
"""
"""A request has one piece of response here, and so has an event: so many loops of `seed`."""

counted = pytest.mark.skipif(not is_installed(), reason="valgrind is not installed")


def _figures(*, python="3.11", yardstick=1_000_000, **instructions):
    return Figures(python, yardstick, instructions)


@counted
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(420)
def test_every_way_stays_below_its_ceiling():
    reached = ceilings.read_table()
    try:
        judgements = judge(reached, ceilings.count_until_below(reached))
    except ceilings.OtherPythonError as reason:
        pytest.skip(str(reason))
    print(*(judgement.line for judgement in judgements), sep="\n")
    assert not [judgement.line for judgement in judgements if judgement.failed]


@counted
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(420)
def test_a_way_that_became_dearer_by_a_twentieth_fails(tmp_path):
    turns = tmp_path / "turns"
    (tmp_path / "seed.py").write_text(_SEED)
    (tmp_path / "sitecustomize.py").write_text(_SITE.format(turns=str(turns)))
    turn = _count_turn(tmp_path)
    path = f"{tmp_path}:{Path(ceilings.__file__).parent.parent}"
    with playing.playing("verbatim", {"PYTHONPATH": path}) as player:
        for name in ("json", "sse"):
            turns.write_text("0")
            os.kill(player.pid, signal.SIGUSR2)
            load = player.open_load(name)
            before = ceilings.count_load(load)
            turns.write_text(str(round(before / 20 / turn)))
            os.kill(player.pid, signal.SIGUSR2)
            after = ceilings.count_load(load)
            # What two counts of the same may differ by.
            assert after - before == pytest.approx(before / 20, abs=before * 0.015), name
            (judgement,) = judge(_figures(way=before), _figures(way=after))
            assert judgement.failed, judgement.line


def _count_turn(folder):
    """Instructions of a turn of the loop of `seed` on this Python."""
    program = folder / "program.py"
    program.write_text(_PROGRAM)
    few, many = (ceilings.count_program([str(program), turns]) for turns in ("0", "10000"))
    return (many - few) / 10_000


@pytest.mark.parametrize(
    ("count", "verdict"),
    [
        (1050, "FAILED, 1,050 instructions, ceiling 1,030 (+1.9%)"),
        (1031, "FAILED, 1,031 instructions, ceiling 1,030 (+0.1%)"),
        (1030, "ok, 1,030 instructions, ceiling 1,030 (+0.0%)"),
        (979, "ok, 979 instructions, ceiling 1,030 (-5.0%)"),
        (978, "ok, lower the ceiling, 978 instructions, ceiling 1,030 (-5.0%)"),
    ],
)
def test_a_count_is_judged_by_its_figure_and_the_allowance(count, verdict):
    (judgement,) = judge(_figures(way=1000), _figures(way=count))
    assert judgement.line == f"way: {verdict}"
    assert judgement.failed is verdict.startswith("FAILED")


def test_a_way_above_its_ceiling_is_counted_again_and_the_least_counts():
    reached = _figures(one=1000, other=1000)
    for starts, left in (
        ([(1000, 1030)], (1000, 1030)),
        ([(1000, 1050), (1100, 1010), (0, 0)], (1000, 1010)),
        ([(1000, 1050), (1000, 1031), (1000, 1040), (0, 0)], (1000, 1031)),
    ):
        processes = iter([_figures(one=one, other=other) for one, other in starts])
        counted = ceilings.count_until_below(reached, processes.__next__)
        assert tuple(counted.instructions.values()) == left


def test_a_way_without_a_figure_or_without_a_count_fails():
    judgements = judge(_figures(old=1000), _figures(new=1000))
    assert [judgement.failed for judgement in judgements] == [True, True]
    assert "the table has no figure" in judgements[0].line
    assert "nothing was counted" in judgements[1].line


@pytest.mark.parametrize("other", [{"python": "3.12"}, {"yardstick": 1_011_000}])
def test_the_figures_of_another_python_are_not_compared(other):
    with pytest.raises(ceilings.OtherPythonError):
        judge(_figures(way=1), _figures(way=1, **other))
    assert judge(_figures(way=1), _figures(way=1, yardstick=1_009_000))


def test_the_table_is_read_as_it_was_written(tmp_path):
    figures = _figures(**{"verbatim-json": 741_740, "verbatim-sse": 1})
    path = tmp_path / "ceilings.toml"
    ceilings.write_table(figures, path)
    assert ceilings.read_table(path) == figures


def test_the_table_has_a_figure_for_each_load_of_each_mode():
    assert ceilings.read_table().instructions.keys() == {
        f"{mode}-{load}" for mode in playing.MODES for load in playing.LOADS
    }


def test_without_valgrind_it_says_so_and_ends(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert ceilings.main([]) == 0
    assert "skipped, valgrind" in capsys.readouterr().out

"""`vai limits`: what a control block says, beside what the settings allow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests import canary
from vai.cli.commands import app
from vai.cli.limits import LimitsSelection, show_limits
from vai.cli.limits_report import GATEWAY_NAME, Allowance, PrincipalReport, build_report
from vai.config import Secret, Settings
from vai.config.schema import ApiKey, Auth, LimitBudget, LimitSettings
from vai.io.clock import monotonic
from vai.io.control_block import ControlBlock, ControlBlockError
from vai.io.limits import maintenance
from vai.io.limits.layout import SESSION
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, Principal

LONG = "ü" * 60
SETTINGS = Settings(
    auth=Auth(
        api_keys=(
            ApiKey(key=Secret(canary.KEY, "key"), name="alice"),
            ApiKey(key=Secret(canary.KEY + "-b", "key"), name="bob", rate_limit=7),
            ApiKey(key=Secret(canary.KEY + "-l", "key"), name=LONG),
        )
    ),
    limits=LimitSettings(
        global_=LimitBudget(requests_per_minute=1000),
        per_user=LimitBudget(
            requests_per_minute=100, tokens_per_minute=5000, concurrent_requests=9
        ),
    ),
)
NONE = {"running": 0, "sessions": 0, "requests": 0, "tokens": 0}
USERS = NONE | {"running": 9, "requests": 100, "tokens": 5000}


@pytest.fixture
def control_block(tmp_path: Path) -> Iterator[ControlBlock]:
    control_block = ControlBlock.create(
        tmp_path / "limits.control-block", sections=maintenance.section_sizes()
    )
    maintenance.prepare_section(control_block)
    yield control_block
    control_block.close()


@pytest.fixture
def limits(control_block: ControlBlock) -> SharedLimits:
    """A worker's way to the limits. It is the only process, so it is the gateway too."""
    row = control_block.claim_slot()
    return SharedLimits(maintenance.open_section(control_block), row.index, row.generation)


def admit(limits: SharedLimits, *names: str, tokens: int = 10) -> int:
    principals = tuple(Principal(name) for name in (GATEWAY, *names))
    decision = limits.take_lease(principals, tokens, monotonic())
    assert decision.is_admitted
    return decision.handle


def vai_limits(*words: str) -> Result:
    return CliRunner().invoke(app, ["limits", *words], env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what a test gives; and without auth there is nothing to serve with."""
    for name in [name for name in os.environ if name.startswith("VAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_use_is_shown_beside_what_is_allowed(
    control_block: ControlBlock, limits: SharedLimits
) -> None:
    admit(limits, "user:alice")
    limits.settle_lease(admit(limits, "key:bob", tokens=3), 5, monotonic())
    limits.settle_lease(admit(limits, "address:2001:db8::/64"), 10, monotonic())
    limits.take_lease((Principal(GATEWAY), Principal("user:gone")), 0, monotonic(), SESSION)
    told = build_report(control_block, Allowance(SETTINGS))
    assert (told.running, told.sessions) == (1, 1)
    assert (told.manager, told.store) == ("alive", "shared_memory")
    everybody = NONE | {"requests": 1000}
    assert told.principals == (
        PrincipalReport(GATEWAY_NAME, 1, 1, 4, 25, everybody),
        PrincipalReport("user:alice", 1, 0, 1, 10, USERS),
        PrincipalReport("user:gone", 0, 1, 1, 0, None),
        PrincipalReport("address:2001:db8::/64", 0, 0, 1, 10, USERS),
        PrincipalReport("key:bob", 0, 0, 1, 5, USERS | {"requests": 7}),
    )


def test_a_name_that_is_longer_than_the_control_block_keeps_has_its_limits(
    control_block: ControlBlock, limits: SharedLimits
) -> None:
    admit(limits, f"user:{LONG}")
    _, principal = build_report(control_block, Allowance(SETTINGS)).principals
    assert f"user:{LONG}".startswith(principal.name)
    assert principal.limits == USERS


def test_places_say_who_holds_them_and_since_when(
    control_block: ControlBlock, limits: SharedLimits
) -> None:
    admit(limits, "user:alice", tokens=64)
    (place,) = build_report(control_block, None).leases
    assert (place.kind, place.tokens) == ("request", 64)
    assert place.principals == (GATEWAY_NAME, "user:alice")
    assert (place.worker, place.pid) == (0, os.getpid())
    assert 0 <= place.age < 60
    row = control_block.taken_slots()[0]
    control_block.release_slot(row, row.owner)
    (place,) = build_report(control_block, None).leases
    assert (place.worker, place.pid) == (None, None)


def test_who_is_inside_without_a_place_waits(
    control_block: ControlBlock, limits: SharedLimits
) -> None:
    admit(limits, "user:alice")
    control_block.taken_slots()[0].show_inflight(4)
    assert build_report(control_block, Allowance(SETTINGS)).waiting == 3
    assert build_report(control_block, None).waiting is None, (
        "nobody said that places are counted here"
    )
    off = Settings(auth=Auth(mode="none"), limits=LimitSettings(enabled=False))
    assert build_report(control_block, Allowance(off)).waiting is None


def test_a_lock_that_is_held_keeps_nobody_from_looking(
    control_block: ControlBlock, limits: SharedLimits
) -> None:
    admit(limits, "user:alice")
    with limits.section.locked():
        assert build_report(control_block, None).running == 1


def test_tables_are_cut_and_say_so(
    control_block: ControlBlock, limits: SharedLimits, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        admit(limits, f"user:[b]{number}")
    show_limits(LimitsSelection(control_block=control_block.path, rows=2), None, as_json=False)
    text = capsys.readouterr().out
    assert f"gateway {os.getpid()}: 5 running, 0 sessions\n" in text
    assert "user:[b]0" in text, "names are no markup"
    assert "and 4 more" in text
    assert "and 3 more" in text
    show_limits(LimitsSelection(control_block=control_block.path, rows=2), None, as_json=True)
    (wire,) = json.loads(capsys.readouterr().out)["gateways"]
    assert (len(wire["principals"]), wire["principals_left_out"]) == (2, 4)
    assert (len(wire["places"]), wire["places_left_out"]) == (2, 3)
    show_limits(LimitsSelection(control_block=control_block.path), None, as_json=True)
    (wire,) = json.loads(capsys.readouterr().out)["gateways"]
    assert (len(wire["principals"]), wire["places_left_out"]) == (6, 0)


def test_a_limit_is_written_behind_what_is_used(
    control_block: ControlBlock, limits: SharedLimits, capsys: pytest.CaptureFixture[str]
) -> None:
    admit(limits, "user:alice", tokens=1234)
    show_limits(
        LimitsSelection(control_block=control_block.path), Allowance(SETTINGS), as_json=False
    )
    lines = capsys.readouterr().out.splitlines()
    (alice,) = [line for line in lines if line.startswith("user:alice")]
    cells = [cell for cell in alice.split("  ") if cell]
    assert [cell.strip() for cell in cells] == [
        "user:alice",
        "1 / 9",
        "0",
        "1 / 100",
        "1,234 / 5,000",
    ]
    assert "store: shared memory; manager: alive" in lines


def test_a_control_block_without_limits_is_told_of(tmp_path: Path) -> None:
    bare = ControlBlock.create(tmp_path / "bare.control-block")
    with pytest.raises(ControlBlockError, match="no section"):
        build_report(bare, None)
    bare.close()
    foreign = ControlBlock.create(
        tmp_path / "foreign.control-block", sections=maintenance.section_sizes()
    )
    with pytest.raises(ControlBlockError, match="not a section of limits"):
        build_report(foreign, None)
    foreign.close()


def test_without_settings_there_is_use_alone(
    control_block: ControlBlock, limits: SharedLimits
) -> None:
    admit(limits, "user:alice")
    done = vai_limits("--control-block", str(control_block.path), "--json")
    assert done.exit_code == 0
    assert "limits are not shown" in done.stderr
    (wire,) = json.loads(done.stdout)["gateways"]
    assert (wire["enabled"], wire["store"], wire["waiting"]) == (None, None, None)
    assert all("limits" not in principal for principal in wire["principals"])


def test_mistakes_are_2_and_nobody_there_is_1(control_block: ControlBlock, tmp_path: Path) -> None:
    assert "no gateway with process id" in (done := vai_limits("--pid", "4194304")).stderr
    assert done.exit_code == 1
    foreign = tmp_path / "foreign.control-block"
    foreign.write_bytes(bytes(65536))
    assert "another version" in (done := vai_limits("--control-block", str(foreign))).stderr
    assert done.exit_code == 2
    assert vai_limits("--control-block", str(tmp_path / "nowhere")).exit_code == 2
    assert vai_limits("--control-block", str(tmp_path)).exit_code == 2
    assert vai_limits("--control-block", str(control_block.path), "--pid", "4").exit_code == 2
    assert vai_limits("--watch", "0").exit_code == 2
    assert vai_limits("--rows", "0").exit_code == 2


def test_settings_that_were_named_must_be_right(
    control_block: ControlBlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAI_CONFIG", "")  # the command sets it; put back afterwards
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[limits]\nwrong = 1\n")
    done = vai_limits("--control-block", str(control_block.path), "--config", str(wrong))
    assert done.exit_code == 2
    assert "limits.wrong" in done.stderr

"""What one worker has met, another one shows, and nothing that is half written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vai.io.control_block import ControlBlock, ControlBlockError
from vai.io.shared_failures import FAILURE_SECTIONS, SharedFailures, forget_failures
from vai.policy.provider_errors import LastError

URLS = {"a": "https://a.example", "b": "https://b.example"}
ERROR = LastError("way", "api_error", 502, "upstream_dns", None, 12.5)
REFUSED = LastError("key", "api_error", 502, "upstream_auth", 401, 13.0)


@pytest.fixture
def control_block(tmp_path: Path) -> Iterator[ControlBlock]:
    control_block = ControlBlock.create(tmp_path / "f.control-block", sections=FAILURE_SECTIONS)
    yield control_block
    control_block.close()


def test_all_workers_know_a_failure_until_one_takes_it_back(control_block: ControlBlock) -> None:
    one, other = SharedFailures(control_block, URLS), SharedFailures(control_block, URLS)
    assert dict(other) == {}
    one["a"] = ERROR
    assert dict(other) == {"a": ERROR}
    assert ("a" in other, "b" in other, "c" in other) == (True, False, False)
    other["a"] = REFUSED
    assert one["a"] == REFUSED
    other.pop("a", None)
    assert (dict(one), one.get("a"), "a" in one) == ({}, None, False)


def test_a_row_that_is_half_written_is_none(control_block: ControlBlock) -> None:
    one = SharedFailures(control_block, URLS)
    one["a"] = ERROR
    row = control_block.open_section(3)[:256]
    for at in range(16, 30):
        kept = row[at]
        row[at] = kept ^ 0x55
        assert one.get("a") is None
        row[at] = kept
    row[8:12] = (250).to_bytes(4, "little")
    assert one.get("a") is None


def test_a_provider_that_was_moved_begins_anew(control_block: ControlBlock) -> None:
    SharedFailures(control_block, URLS)["a"] = ERROR
    moved = SharedFailures(control_block, URLS | {"a": "https://elsewhere.example"})
    assert moved.get("a") is None
    moved["a"] = REFUSED
    assert moved["a"] == REFUSED
    forget_failures(control_block)
    assert dict(moved) == {}


def test_more_providers_than_rows_and_codes_of_any_length(control_block: ControlBlock) -> None:
    urls = {f"p{number}": f"https://p{number}.example" for number in range(300)}
    one, other = SharedFailures(control_block, urls), SharedFailures(control_block, urls)
    long = LastError("outage", "api_error", 500, "c" * 5000, 500, 1.0)
    for name in urls:
        one[name] = long
    assert len(one) == 300
    assert len(other) == 256
    assert other["p255"] == LastError("outage", "api_error", 500, None, 500, 1.0)
    for name in urls:
        one.pop(name, None)
    assert (dict(one), dict(other)) == ({}, {})


def test_a_control_block_without_the_section(tmp_path: Path) -> None:
    control_block = ControlBlock.create(tmp_path / "bare.control-block")
    forget_failures(control_block)
    with pytest.raises(ControlBlockError):
        SharedFailures(control_block, URLS)
    control_block.close()

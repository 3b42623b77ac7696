"""The day that prices are of."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from vai.io import clock


def test_the_day_is_that_of_utc_and_changes_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    midnight = datetime(2026, 11, 29, tzinfo=UTC).timestamp()
    for now, day in ((midnight - 0.001, 28), (midnight, 29), (midnight + 86_399.9, 29)):
        monkeypatch.setattr(clock, "time", lambda now=now: now)
        assert clock.today() == date(2026, 11, day)
        assert clock.today() == datetime.fromtimestamp(now, UTC).date()

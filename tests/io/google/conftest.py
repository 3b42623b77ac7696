"""A fake Google for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.io.google.fake import Google


@pytest.fixture
def google() -> Iterator[Google]:
    fake = Google()
    yield fake
    fake.close()

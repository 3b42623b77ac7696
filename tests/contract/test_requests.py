"""Every row of the contract for every provider that has a column in it."""

from __future__ import annotations

import pytest

from tests.contract.rows_requests import ROWS_BY_SUBJECT
from tests.contract.table import MODELS, send
from vai.providers.registry import PROVIDER_SPECS

CELLS = [
    pytest.param(row, provider, id=f"{subject}-{row.name}-{provider}".replace(" ", "-"))
    for subject, rows in ROWS_BY_SUBJECT.items()
    for row in rows
    for provider in row.expected
]


@pytest.mark.parametrize(("row", "provider"), CELLS)
def test_cell(row, provider):
    model = row.models.get(provider, MODELS[provider])
    sent = send(provider, model, row.fields)
    for expectation in row.expected[provider]:
        expectation(sent)


def test_every_provider_has_columns():
    told = {
        provider for rows in ROWS_BY_SUBJECT.values() for row in rows for provider in row.expected
    }
    assert told == set(PROVIDER_SPECS) == set(MODELS)

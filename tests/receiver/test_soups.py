"""Events drawn part by part: whatever comes in whatever order, what handlers were told is what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.soup import run

SOUPS = 500
SOUPS_ON_POSTGRESQL = 20


@pytest.mark.parametrize("workers", [1, 4])
def test_an_app_that_keeps_access_as_it_is_told_agrees_with_the_mirror(tmp_path: Path, workers: int) -> None:
    """After every part of the arrivals: where an app was ever told of an object, the access it keeps is `is_active`;
    `announced_live` is the view; nobody was left untold of but objects known from copies alone.
    """
    result = run(tmp_path / "app.db", seed="soups", count=SOUPS, workers=workers)

    assert result.wrong == []
    assert result.soups == SOUPS
    assert result.ended > 00, "without access that ends while its object stays shown it proves nothing"
    assert result.silent > SOUPS, "without objects known from copies alone it proves nothing"


@pytest.mark.parametrize("workers", [1, 4])
def test_so_it_does_on_postgresql(postgres_url: str, workers: int) -> None:
    """With four workers at once, on connections of their own, too."""
    result = run(postgres_url, seed="soups", count=SOUPS_ON_POSTGRESQL, workers=workers)

    assert result.wrong == []
    assert result.soups == SOUPS_ON_POSTGRESQL
    assert result.silent > SOUPS_ON_POSTGRESQL

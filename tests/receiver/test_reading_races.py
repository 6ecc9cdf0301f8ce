"""Passes and refetches against webhooks that are lost, late and doubled, at a source whose answers lag."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.reading import Result, race

RACES = 400


# 400 races take half a minute, on a busy machine more.
@pytest.mark.timeout(240)
def test_no_race_ends_wrong_and_none_tells_of_an_end_that_was_none(tmp_path: Path) -> None:
    """After the last pass the mirror is the source, late retries change nothing, nothing alive was told dead."""
    judge(race(f"sqlite:///{tmp_path / 'app.db'}", seed="races", count=RACES), RACES)


def test_nor_on_postgresql(postgres_url: str) -> None:
    judge(race(postgres_url, seed="postgresql", count=20), 20)


def judge(result: Result, count: int) -> None:
    assert result.wrong == []
    assert result.races == count
    assert result.lost > 5 * count, "without losses it proves nothing"
    assert result.passes > 2 * count
    assert result.healed > count // 20, "the last pass found nothing to heal"

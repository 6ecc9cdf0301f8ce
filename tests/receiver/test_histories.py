"""Seeded histories of a small source through the real tables: rows, views and announcements beside the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.stored import run

HISTORIES = 1_000
HISTORIES_ON_POSTGRESQL = 50


@pytest.mark.parametrize("workers", [1, 4])
def test_the_tables_end_as_the_source_and_every_loss_is_announced_once(tmp_path: Path, workers: int) -> None:
    """Views show the living with their content and memberships; `announced_live` agrees with them; of each object gains
    and losses alternate in the change feed, which ends with what is shown.
    """
    result = run(tmp_path / "app.db", seed="20260", count=HISTORIES, workers=workers)

    assert result.wrong == []
    assert result.histories == HISTORIES
    assert result.losses > HISTORIES // 3, "histories in which nobody loses access prove nothing"
    if workers > 1:
        assert result.turns > HISTORIES, "four stores that take few turns hardly meet"


@pytest.mark.parametrize("workers", [1, 4])
def test_so_they_do_on_postgresql(postgres_url: str, workers: int) -> None:
    """With four workers at once, on connections of their own, too."""
    result = run(postgres_url, seed="20260", count=HISTORIES_ON_POSTGRESQL, workers=workers)

    assert result.wrong == []
    assert result.histories == HISTORIES_ON_POSTGRESQL
    assert result.losses > HISTORIES_ON_POSTGRESQL // 3

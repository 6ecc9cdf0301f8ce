"""What a sender has still to deliver."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookline.storage import Database


def has_due_deliveries(database: Database, now_ms: int) -> bool:
    """Whether a delivery is under way, or due at this time."""
    with database.read() as connection:
        cursor = connection.cursor()
        cursor.execute(
            "select 1 from hookline_sender_deliveries"
            f" where state = 'running' or (state = 'pending' and due_ms <= {int(now_ms)}) limit 1"
        )
        return cursor.fetchone() is not None

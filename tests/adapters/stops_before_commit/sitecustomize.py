"""Loaded by every Python that has this folder on its path: a worker stops when all is written and nothing committed.

`LETTERS` is the table that the handler of the example writes to.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from hookline.receiver.work import Access

lent = Access.lent


@contextlib.contextmanager
def lent_and_stopped(self: Access) -> Iterator[Any]:
    """As `lent`, up to the commit of a letter."""
    with lent(self) as transaction:
        yield transaction
        if hasattr(transaction.app, "flush"):
            transaction.app.flush()  # as a session's commit begins
        cursor = transaction.dbapi.cursor()
        cursor.execute(f"select * from {os.environ['LETTERS']}")
        if cursor.fetchall():
            print("written, not committed", flush=True)
            threading.Event().wait()


Access.lent = lent_and_stopped  # type: ignore[method-assign]

"""A worker in a process of its own, which says when a handler has begun and then waits to be killed.

Usage: python killed_worker.py DATABASE_URL NOW_MS
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from hookline.receiver.handlers import Registry
from hookline.receiver.work import Access, Worker
from hookline.storage import connect
from hookline.testing.clock import TurnedClock


def main(url: str, now_ms: str) -> None:
    hooks = Registry()

    @hooks.on("*", name="h")
    def begin(event: Any, tx: Any) -> None:
        tx.execute(f"insert into told (id, word) values ('{event.id}', 'killed')")
        print("begun", flush=True)
        threading.Event().wait()

    database = connect(url)
    Worker(Access(database), hooks, clock=TurnedClock(int(now_ms))).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])

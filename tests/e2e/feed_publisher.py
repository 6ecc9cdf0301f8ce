"""A process that publishes while others do: an app in its own transactions, slow ones, or a server's publisher.

`python -m tests.e2e.feed_publisher app|server URL SEED COUNT` says `ready`, begins once it is told a line, and prints
{"committed": [ids], "undone": [ids]}.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import threading
import time
from typing import Any

from hookline import Outbox
from hookline.loop import SystemClock
from hookline.sender.drafts import draft_batch
from hookline.sender.event_writer import Publication
from hookline.sender.ids import IdMaker
from hookline.sender.publish import Publisher
from hookline.sender.store import SenderStore
from hookline.storage import connect

TYPES = ("invoice.paid", "invoice.sent", "customer.created")
# So many events at most in one transaction of an app, and in one commit of a server.
MOST_OF_APP = 250
MOST_OF_SERVER = 20


def main(kind: str, url: str, seed: int, count: int) -> None:
    publish = {"app": publish_as_app, "server": publish_as_server}[kind]
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(publish(url, random.Random(seed), count)))


def publish_as_app(url: str, rng: random.Random, count: int) -> dict[str, list[str]]:
    """By `Outbox.publish(…, connection=)`, taking some back."""
    outbox = Outbox()
    told: dict[str, list[str]] = {"committed": [], "undone": []}
    connection = _app_connection(url)
    while (left := count - len(told["committed"])) > 0:
        ids: list[str] = []
        for _ in range(min(left, rng.randint(1, 3))):
            size = rng.randint(1, max(1, min(left // 3, MOST_OF_APP // 3)))
            ids += outbox.publish(_events(rng, size), connection=connection)
            # Others commit meanwhile what they began later: their events must not be passed by a reader for it.
            time.sleep(rng.random() * 0.02)
        if rng.random() < 0.2:
            connection.rollback()
            told["undone"] += ids
        else:
            connection.commit()
            told["committed"] += ids
    connection.close()
    return told


def publish_as_server(url: str, rng: random.Random, count: int) -> dict[str, list[str]]:
    """By a `Publisher`, from two threads at once."""
    database = connect(url)
    publisher = Publisher(database, SenderStore(database.dialect), clock=SystemClock(), ids=IdMaker())
    committed: list[str] = []

    def publish(own: random.Random, left: int) -> None:
        while left > 0:
            batch = draft_batch(_events(own, own.randint(1, min(left, MOST_OF_SERVER))))
            committed.extend(one.id for one in publisher.publish_inline(Publication("production", batch)))
            left -= len(batch)

    threads = [
        threading.Thread(target=publish, args=(random.Random(rng.random()), part))
        for part in (count // 2, count - count // 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()
    database.close()
    return {"committed": committed, "undone": []}


def _events(rng: random.Random, count: int) -> list[dict[str, Any]]:
    return [{"event": rng.choice(TYPES), "data": {"id": rng.getrandbits(48)}} for _ in range(count)]


def _app_connection(url: str) -> Any:
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level="IMMEDIATE")
        # As Hookline's own connections: who checkpoints beside others may harm the WAL under an older library.
        connection.execute("pragma wal_autocheckpoint=0")
        return connection
    import psycopg

    return psycopg.connect(url)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

"""A process of an app that publishes in its own transactions, slow ones, some of which it takes back.

`python -m tests.e2e.feed_publisher URL SEED COUNT` prints {"committed": [ids], "undone": [ids]}.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import psycopg

from hookline import Outbox

TYPES = ("invoice.paid", "invoice.sent", "customer.created")


def main(url: str, seed: int, count: int) -> None:
    rng = random.Random(seed)
    outbox = Outbox()
    told: dict[str, list[str]] = {"committed": [], "undone": []}
    with psycopg.connect(url) as connection:
        while len(told["committed"]) < count:
            ids: list[str] = []
            for _ in range(rng.randint(1, 3)):
                event: dict[str, Any] = {"event": rng.choice(TYPES), "data": {"id": f"{seed}.{rng.random()}"}}
                ids += outbox.publish(event, connection=connection)
                # Others commit meanwhile what they began later: their events must not be passed by a reader for it.
                time.sleep(rng.random() * 0.02)
            if rng.random() < 0.25:
                connection.rollback()
                told["undone"] += ids
            else:
                connection.commit()
                told["committed"] += ids
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

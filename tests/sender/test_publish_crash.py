"""A publisher killed with SIGKILL in the middle of its work loses nothing that it had answered for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import hookline
from hookline.sender.store import SenderStore
from hookline.storage import connect
from hookline.storage.migrate import migrate

# Sixteen publishers that never stop. What it prints has been answered for: one line per publish, after it.
PROGRAM = """
import asyncio, itertools, json, sys
from hookline.loop import SystemClock
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.ids import IdMaker
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.publish import Publisher
from hookline.sender.store import SenderStore
from hookline.storage import connect

database = connect(sys.argv[1])
publisher = Publisher(database, SenderStore(database.dialect), clock=SystemClock(), ids=IdMaker())

async def publish_on_and_on(name):
    for turn in itertools.count():
        drafts = tuple(draft_event({"event": "a.b", "data": {"part": part}}) for part in range(1 + turn % 3))
        key = IdempotencyKey(f"{name}-{turn}", "test", "hash")
        published = await publisher.publish(Publication("production", drafts, key))
        sys.stdout.write(json.dumps([key.key, [item.id for item in published]]) + "\\n")
        sys.stdout.flush()

async def main():
    await asyncio.gather(*(publish_on_and_on(name) for name in range(16)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 400])
def test_what_was_answered_is_there_and_everything_is_whole(tmp_path: Path, lines: int) -> None:
    """After the kill: each answered event has its feed place, its delivery and its key; nothing is half there."""
    url = f"sqlite:///{tmp_path / 'hookline.db'}"
    database = connect(url)
    migrate(database, "sender", "hookline.sender")
    store = SenderStore(database.dialect)
    with database.transaction() as connection:
        store.add_endpoint(
            connection,
            endpoint_id="we_1",
            environment="production",
            url="https://example.com/",
            events=["a.*"],
            description=None,
            secret_enc="sealed",
            now_ms=1,
        )
    database.close()

    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(hookline.__file__).parent.parent)},
    )
    assert process.stdout is not None
    answered = [json.loads(process.stdout.readline()) for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    answered += [json.loads(line) for line in process.stdout.read().split(b"\n")[:-1]]
    process.stdout.close()
    process.wait()

    database = connect(url)
    with database.read() as connection:
        events = dict(connection.execute("select id, row_id from hookline_sender_events"))
        fed = Counter(row for [row] in connection.execute("select event_row from hookline_sender_feed"))
        waiting = Counter(row for [row] in connection.execute("select event_row from hookline_sender_deliveries"))
        keys = dict(connection.execute("select idempotency_key, result_ids from hookline_sender_idempotency"))
        [[integrity]] = connection.execute("pragma integrity_check").fetchall()
    database.close()
    assert integrity == "ok"
    assert len(answered) >= lines
    assert {event_id for _, ids in answered for event_id in ids} <= events.keys()
    assert all(json.loads(keys[key]) == ids for key, ids in answered)
    # Whole publishes only, of those that were never answered for as well.
    assert {event_id for ids in keys.values() for event_id in json.loads(ids)} == events.keys()
    assert fed == waiting == Counter(events.values())

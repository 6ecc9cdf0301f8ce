"""Real deaths: a sender process killed by SIGKILL at each of its steps, and another one that takes over."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from hookline.sender.model import Attempt
from hookline.sender.store import SenderStore
from hookline.storage import Connection, connect
from hookline.storage.migrate import migrate
from tests.sender.crashing_sender import STEPS
from tests.sender.sink import Sink, running_sink

COUNT = 30
LEASE_MS = 30_000
# No more than an endpoint's window is under way when the process dies.
WINDOW = 10


def publish(url: str, target: str) -> None:
    """An endpoint and its deliveries, committed by a process that is gone when the sender starts."""
    database = connect(url)
    migrate(database, "sender", "hookline.sender")
    store = SenderStore(database.dialect)

    def work(connection: Connection) -> None:
        store.add_endpoint(
            connection,
            endpoint_id="we_1",
            environment="staging",
            url=target,
            events=["*"],
            description=None,
            secret_enc="whsec_" + "a" * 25,
            now_ms=1,
        )
        rows = store.add_events(
            connection,
            [
                {
                    "id": f"event_{number:02}",
                    "environment": "staging",
                    "type": "dsync.user.created",
                    "organization_id": None,
                    "body": json.dumps({"id": f"event_{number:02}"}).encode(),
                    "created_ms": 1,
                    "now_ms": 1,
                }
                for number in range(COUNT)
            ],
        )
        store.feed(connection, [("staging", row) for row in rows.values()])
        store.add_deliveries(
            connection,
            [
                {
                    "id": f"delivery_{number:02}",
                    "environment": "staging",
                    "event_row": rows[f"event_{number:02}"],
                    "endpoint_row": 1,
                    "origin": "published",
                    "state": "pending",
                    "due_ms": 1,
                    "reason": None,
                    "now_ms": 1,
                }
                for number in range(COUNT)
            ],
        )

    database.run(work)
    database.close()


def attempts_of(url: str) -> dict[str, list[Attempt]]:
    """Every delivery's attempts, by event id; each delivery has succeeded."""
    database = connect(url)
    store = SenderStore(database.dialect)
    found = {}
    with database.read() as connection:
        for number in range(COUNT):
            delivery = store.delivery(connection, "staging", f"delivery_{number:02}")
            assert delivery is not None
            assert delivery.state == "succeeded"
            found[delivery.event_id] = store.attempts(connection, delivery.row_id)
    database.close()
    return found


async def run_sender(url: str, step: str, count: int, offset_ms: int) -> int | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sender.crashing_sender", url, step, str(count), str(offset_ms),
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        return await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(tmp_path: Path, step: str) -> None:
    """Nothing accepted is lost, and every duplicate is one whose first attempt is recorded as unknown."""
    url = f"sqlite:///{tmp_path / 'hookline.db'}"

    async def work() -> tuple[int | None, int | None, Sink]:
        async with running_sink() as sink:
            publish(url, sink.url("/in"))
            died = await run_sender(url, step, 3, 0)
            ended = await run_sender(url, "none", 1, LEASE_MS + 1_000)
            return died, ended, sink

    died, ended, sink = asyncio.run(work())
    attempts = attempts_of(url)

    assert (died, ended) == (-signal.SIGKILL, 0)
    received = [json.loads(seen.body)["id"] for seen in sink.seen]
    assert set(received) == set(attempts)
    for event_id, made in attempts.items():
        outcomes = [attempt.outcome for attempt in made]
        assert outcomes in (["succeeded"], ["unknown", "succeeded"])
        assert received.count(event_id) <= len(made)
    assert len(received) - COUNT <= sum(len(made) - 1 for made in attempts.values()) <= WINDOW

"""A sender whose feed is listened to: one per database and module, in production and staging."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.fernet import Fernet

from hookline.relay.server import Relay
from hookline.sender.app import SenderApp
from hookline.sender.model import Environment
from hookline.sender.publish import wake_deliveries
from hookline.storage import connect
from hookline.testing.clock import TurnedClock

from ..postgres import Cluster
from .lines import LIVE_KEY, TEST_KEY, SocketLine, StreamLine

NOW_MS = 1_764_000_000_000


@dataclass
class Source:
    """A sender and what is put into its feed.

    `other` is a sender as another process has it: on PostgreSQL with connections of its own. `options` make one more.
    """

    sender: SenderApp
    clock: TurnedClock
    other: SenderApp
    options: dict[str, Any]

    def put(
        self,
        *bodies: bytes,
        event_type: str = "a.b",
        environment: Environment = "production",
        traceparent: str | None = None,
        object_sequence: int | None = None,
    ) -> list[str]:
        """Events with exactly these bytes, as they would be after a commit; gives their ids."""
        ids = [f"event_{number:026d}" for number, _ in zip(_numbers, bodies, strict=False)]
        rows = [
            {
                "id": event_id,
                "environment": environment,
                "type": event_type,
                "organization_id": None,
                "body": body,
                "created_ms": self.clock.now_ms(),
                "now_ms": self.clock.now_ms(),
                "traceparent": traceparent,
                "object_sequence": object_sequence,
            }
            for event_id, body in zip(ids, bodies, strict=True)
        ]

        def write(connection: Any) -> None:
            made = self.sender.store.add_events(connection, rows)
            self.sender.store.feed(connection, [(environment, made[event_id]) for event_id in ids])

        self.sender.database.run(write)
        wake_deliveries(self.sender.database)
        return ids

    def prune(self, event_ids: Sequence[str]) -> None:
        """Have retention take these events, as it would once they are old."""
        marks = ", ".join("?" if self.sender.database.dialect == "sqlite" else "%s" for _ in event_ids)

        def write(connection: Any) -> None:
            cursor = connection.cursor()
            cursor.execute(
                "update hookline_sender_events set body = '', pruned_ms = 1, pruned_seq = (select f.seq from "
                f"hookline_sender_feed f where f.event_row = row_id) where id in ({marks})",
                list(event_ids),
            )
            cursor.execute(
                "delete from hookline_sender_feed where event_row in (select row_id from hookline_sender_events "
                f"where id in ({marks}))",
                list(event_ids),
            )

        self.sender.database.run(write)


_numbers = itertools.count(1)


# What a transport does is no matter of the database: one of them on PostgreSQL is enough.
@pytest.fixture(
    scope="module",
    params=[("sqlite", SocketLine), ("sqlite", StreamLine), ("postgres", SocketLine)],
    ids=["websocket", "sse", "websocket on postgres"],
)
def way(request: pytest.FixtureRequest) -> tuple[str, type[SocketLine | StreamLine]]:
    """On which database, over which transport."""
    found: tuple[str, type[SocketLine | StreamLine]] = request.param
    return found


@pytest.fixture(scope="module")
def source(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    way: tuple[str, type[SocketLine | StreamLine]],
) -> Iterator[Source]:
    with contextlib.ExitStack() as ends:
        url = f"sqlite:///{tmp_path_factory.mktemp('relay') / 'hookline.db'}"
        if way[0] == "postgres":
            cluster: Cluster = request.getfixturevalue("postgres")
            name = cluster.migrated()
            ends.callback(cluster.drop, name)
            url = cluster.url(name)
        clock = TurnedClock(NOW_MS)
        options: dict[str, Any] = {"clock": clock, "encryption_keys": [Fernet.generate_key().decode()]}

        def made(url: str) -> SenderApp:
            database = connect(url)
            ends.callback(database.close)
            sender = SenderApp(database, api_keys={"production": LIVE_KEY, "staging": TEST_KEY}, **options)
            ends.callback(sender.close)
            return sender

        sender = made(url)
        other = made(f"{url}&application_name=other") if way[0] == "postgres" else sender
        yield Source(sender, clock, other, options)


@pytest.fixture
def relay(source: Source) -> Relay:
    return Relay(source.sender)


@pytest.fixture
def line(way: tuple[str, type[SocketLine | StreamLine]], relay: Relay) -> Callable[..., SocketLine | StreamLine]:
    """Makes a listener's end."""

    def make(app: Any = relay, **options: Any) -> SocketLine | StreamLine:
        return way[1](app, **options)

    return make


@pytest.fixture
def name() -> str:
    """A listener that no other test knows."""
    return f"ada@{next(_numbers)}"

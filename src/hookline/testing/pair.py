"""A `Pair`: a real sender and a real receiver in one process, joined in memory, on a clock that is turned by hand.

For tests of what happens between the ends: loss, doubles, delay, disorder, a receiver that is away, three days of
retries. Everything but the network is the real thing: events are published and stored, deliveries claimed, signed,
judged and settled by the delivery loop, requests verified and kept by the door, applied and handled by the worker,
each end on an SQLite file of its own.

    with Pair(tmp_path) as pair:
        pair.line.expect("lost", times=3)
        event_id = pair.publish("dsync.user.created", {"id": "directory_user_1", ...})
        pair.finish()                                   # turns the clock from retry to retry
        assert "directory_user_1" in pair.live("directory_user")
        assert len(pair.attempts(event_id)) == 4
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cryptography.fernet import Fernet

from hookline.receiver.app import Receiver
from hookline.receiver.resources import EDGES, RESOURCES
from hookline.rules.schedule import PRODUCTION, Schedule
from hookline.sender.app import SenderApp
from hookline.sender.directories import Directories
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.interventions import retry_delivery
from hookline.sender.model import Attempt, Delivery, Environment
from hookline.sender.publish import DELIVERIES_CHANNEL
from hookline.storage import connect
from hookline.testing.clock import TurnedClock
from hookline.testing.due import has_due_deliveries
from hookline.testing.line import Line
from hookline.wire.schemes import Scheme
from hookline.wire.standard import secret_form
from hookline.wire.timestamps import format_ms

ENVIRONMENT: Final[Environment] = "production"
URL: Final = "https://receiver.example/webhooks"
PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.002


class Pair:
    """Both ends, joined. Use as a context manager, or `close` it.

    Args:
        folder: for both database files.
        schedule: when failed deliveries are tried again; the three days of production by default.
        events: what the receiver asks for: type names or patterns.
        seed: for the jitter of retries.
        scheme: how the receiver's source is signed.

    Attributes:
        clock: turn it by `turn`, which also lets things happen.
        line: the network in between; tell it what should befall requests.
        sender: as in any process; its registry and store are there to be used.
        receiver: register handlers on it before anything is published.
        sender_url: the sender's database.
    """

    def __init__(
        self,
        folder: Path,
        *,
        schedule: Schedule = PRODUCTION,
        events: Sequence[str] = ("*",),
        seed: int = 0,
        scheme: Scheme = "workos",
    ) -> None:
        self.clock = TurnedClock()
        self._jitter = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
        self.sender_url = f"sqlite:///{folder.absolute() / 'sender.db'}"
        self._database = connect(self.sender_url)
        self.sender = SenderApp(
            self._database,
            encryption_keys=[Fernet.generate_key().decode()],
            schedules={ENVIRONMENT: schedule},
            clock=self.clock,
            jitter=lambda: self._jitter.uniform(-1, 1),
            lookup=lambda _host: [],
            make_exchange=lambda **_: self.line,
        )
        is_standard = scheme == "standard_webhooks"
        endpoint = self.sender.registry.create(ENVIRONMENT, url=URL, events=list(events), standard_webhooks=is_standard)
        secret = self.sender.registry.secret_of(endpoint)
        self.receiver = Receiver(
            f"sqlite:///{folder.absolute() / 'receiver.db'}",
            secrets=[secret_form(secret) if is_standard else secret],
            scheme=scheme,
            clock=self.clock,
        )
        opened = self.receiver.open().database
        assert opened is not None, "a receiver with a database_url has a database"
        self._receiver_database = opened
        self._worker = self.receiver.worker()
        self.line = Line(self.receiver.receive)
        self._deliverer = _DelivererThread(self.sender)
        self._deliverer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop both ends and close their files."""
        self._deliverer.stop()
        self.sender.close()
        self.receiver.close()
        self._database.close()

    # -- making things happen ----------------------------------------------------------------------------------

    def publish(self, type_: str, data: Mapping[str, Any], *, created_ms: int | None = None) -> str:
        """Publish one event; returns its id. It is sent when the pair is drained, or before.

        Args:
            created_ms: when it happened, in Unix milliseconds; now by default.

        Raises: RequestError, as `POST /api/v1/events` would refuse it.
        """
        # A new handler starts at now: those of this pair are to hear of the first event already.
        self._worker.register()
        draft: dict[str, Any] = {"event": type_, "data": dict(data)}
        if created_ms is not None:
            draft["created_at"] = format_ms(created_ms * 1000)
        return self.sender.publisher.publish_inline(Publication(ENVIRONMENT, (draft_event(draft),)))[0].id

    @property
    def directories(self) -> Directories:
        """Writes at the source, in the environment `production`; what they tell is sent as what is published."""
        self._worker.register()
        return self.sender.directories

    def drain(self) -> None:
        """Let everything happen that is due by the clock: attempts, applying, handlers."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            self._deliverer.check()
            if self._is_sender_busy():
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"the delivery loop is still busy after {PATIENCE_S:g} s")
                time.sleep(_POLL_S)
                continue
            self._worker.drain()
            if not self._is_sender_busy():
                return

    def turn(self, seconds: float) -> None:
        """Turn the clock forward, then `drain`."""
        self.clock.advance(round(seconds * 1000))
        self.drain()

    def turn_to_next(self) -> bool:
        """Turn the clock to the next thing planned and `drain`; False where nothing is planned."""
        due_ms = self.next_due_ms()
        if due_ms is None:
            return False
        self.clock.set(max(due_ms, self.clock.now_ms()))
        self.drain()
        return True

    def finish(self) -> None:
        """Turn from one planned thing to the next until nothing is planned: every retry made, every run over."""
        self.drain()
        while self.turn_to_next():
            pass

    def retry(self, event_id: str) -> None:
        """Have a person retry the event's delivery, and `drain`."""
        delivery = self.delivery(event_id)
        self._database.run(
            lambda connection: retry_delivery(
                connection, self.sender.store, ENVIRONMENT, delivery.id, now_ms=self.clock.now_ms()
            )
        )
        self._database.notify(DELIVERIES_CHANNEL)
        self.drain()

    # -- looking -----------------------------------------------------------------------------------------------

    def next_due_ms(self) -> int | None:
        """The earliest time at which a delivery, an entry or a handler's run is planned, or None."""
        found = [
            *self._read(self._database, "select min(due_ms) from hookline_sender_deliveries where state = 'pending'"),
            *self._read(self._receiver_database, "select min(due_ms) from hookline_inbox_queue"),
            *self._read(self._receiver_database, "select min(due_ms) from hookline_runs where state = 'pending'"),
        ]
        return min((due_ms for (due_ms,) in found if due_ms is not None), default=None)

    def delivery(self, event_id: str) -> Delivery:
        """The event's delivery as it is now. KeyError where it has none."""
        rows = self._read(
            self._database,
            "select d.id from hookline_sender_deliveries d join hookline_sender_events e on e.row_id = d.event_row"
            " where e.id = ?",
            (event_id,),
        )
        with self._database.read() as connection:
            delivery = self.sender.store.delivery(connection, ENVIRONMENT, rows[0][0]) if rows else None
        if delivery is None:
            raise KeyError(event_id)
        return delivery

    def attempts(self, event_id: str) -> list[Attempt]:
        """Every try of the event's delivery, first to last."""
        row_id = self.delivery(event_id).row_id
        with self._database.read() as connection:
            return self.sender.store.attempts(connection, row_id)

    def live(self, resource: str) -> dict[str, dict[str, Any]]:
        """What the mirror shows as alive: id -> row; a membership's id is `group_id/user_id`."""
        kind = EDGES.get(resource) or RESOURCES[resource]
        with self._receiver_database.read() as connection:
            cursor = connection.execute(f"select * from {kind.table}_live")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, values, strict=True)) for values in cursor]
        if resource in EDGES:
            (_, one), (_, other) = EDGES[resource].ends
            return {f"{row[one]}/{row[other]}": row for row in rows}
        return {row["id"]: row for row in rows}

    def compare(self, expected: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
        """In what the mirror is not as expected; empty where it is.

        Args:
            expected: resource -> id -> column -> value. Every resource named must have exactly these ids, and
                these values in the columns named.
        """
        found: list[str] = []
        for resource, rows in expected.items():
            shown = self.live(resource)
            found += [f"{resource} {key}: missing in the mirror" for key in sorted(rows.keys() - shown.keys())]
            found += [f"{resource} {key}: extra in the mirror" for key in sorted(shown.keys() - rows.keys())]
            found += [
                f"{resource} {key} {column}: expected {value!r}, got {shown[key][column]!r}"
                for key in sorted(rows.keys() & shown.keys())
                for column, value in rows[key].items()
                if shown[key][column] != value
            ]
        return found

    # -- the inside --------------------------------------------------------------------------------------------

    def _is_sender_busy(self) -> bool:
        return has_due_deliveries(self._database, self.clock.now_ms())

    def _read(self, database: Any, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with database.read() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement, parameters).fetchall()
            return rows


class _DelivererThread:
    """The delivery loop on an event loop of its own."""

    def __init__(self, sender: SenderApp) -> None:
        self._sender = sender
        self._thread = threading.Thread(target=self._work, name="pair-deliverer")
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()
        self._started.wait(PATIENCE_S)

    def check(self) -> None:
        """Raises: RuntimeError where the loop has ended by itself."""
        if not self._thread.is_alive():
            raise RuntimeError("the delivery loop has ended") from self._error

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _work(self) -> None:
        try:
            asyncio.run(self._deliver())
        except BaseException as error:
            self._error = error

    async def _deliver(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._sender.run(self._stop)

"""Real senders on PostgreSQL whose ways of hearing of each other fail: the server, the listening session, NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet

from hookline.errors import StorageError
from hookline.sender.app import SenderApp
from hookline.sender.deliver import DISCOVERY_MS
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.holding import Choice
from hookline.storage import Database
from hookline.storage.postgres import PostgresDatabase
from hookline.testing.sink import Sink
from tests.postgres import Cluster, make_cluster

KEY = Fernet.generate_key().decode()


class Process:
    """What one sender process has: a database object, an app and a delivery loop of its own."""

    def __init__(self, url: str) -> None:
        # `connect` gives one object per URL; another process would have its own.
        self.database: Database = PostgresDatabase(url)
        self.app = SenderApp(
            self.database,
            api_keys={"production": "sk_live_postgres_0123", "staging": "sk_test_postgres_0123"},
            encryption_keys=[KEY],
            allow_private_targets=True,
        )
        self._stop: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None

    def deliver(self) -> None:
        started = threading.Event()

        async def run() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(stop.set)
            started.set()
            await self.app.run(stop)

        self._thread = threading.Thread(target=lambda: asyncio.run(run()))
        self._thread.start()
        assert started.wait(10)

    def publish(self, count: int, *, type_: str = "a.b") -> set[str]:
        """Publish so many in one call; their ids."""
        drafts = [draft_event({"event": type_, "data": {"number": number}}) for number in range(count)]
        return {one.id for one in self.app.publisher.publish_inline(Publication("production", tuple(drafts)))}

    def close(self) -> None:
        if self._stop is not None and self._thread is not None:
            self._stop()
            self._thread.join()
        self.database.close()


@contextlib.contextmanager
def processes(*urls: str) -> Iterator[list[Process]]:
    made = [Process(url) for url in urls]
    try:
        yield made
    finally:
        for process in made:
            process.close()


def arrived(sink: Sink) -> set[str]:
    return {json.loads(request.body)["id"] for request in sink.seen}


def wait_for_all(sink: Sink, ids: set[str], *, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not ids <= arrived(sink):
        assert time.monotonic() < deadline_s, f"{len(ids - arrived(sink))} of {len(ids)} never arrived"
        time.sleep(0.02)


def end_listener(cluster: Cluster) -> int:
    """Throw the listening sessions out; how many they were."""
    with cluster.connect() as connection:
        found: list[Any] = connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where query ilike 'listen%%'"
        ).fetchall()
    return len(found)


def test_an_endpoint_of_one_process_hears_of_an_event_of_another(postgres_url: str) -> None:
    """Created here and published there the next moment: sent, whichever of the two delivers."""
    with Sink() as sink, processes(postgres_url, postgres_url) as (one, other):
        other.deliver()
        ids: set[str] = set()
        for number in range(10):
            one.app.registry.create("production", url=sink.url(f"/{number}"), events=[f"new.n{number}"])
            ids |= other.publish(1, type_=f"new.n{number}")

        wait_for_all(sink, ids)


def test_a_restart_of_the_server_in_the_middle_of_a_batch_loses_nothing() -> None:
    """It crashes while requests are under way and while somebody publishes; whatever was accepted arrives."""
    cluster = make_cluster()
    try:
        with Sink() as sink, processes(cluster.url(cluster.migrated())) as (process,):
            process.app.registry.create("production", url=sink.url("/slow/0.02"), events=["*"])
            process.deliver()
            ids = process.publish(200)
            sink.wait_for(20)
            cluster.crash()
            with pytest.raises(StorageError):
                process.publish(1)
            cluster.start()
            ids |= _published_again(process)
            sink.wait_for(60)
            cluster.shut_down()
            cluster.start()
            ids |= _published_again(process)

            wait_for_all(sink, ids, timeout_s=50)
            wait_for_end(process)
            states = _states(process)
    finally:
        cluster.stop()

    assert states == {"succeeded"}


def _published_again(process: Process) -> set[str]:
    """Publish as a caller does: again, until it is accepted. Without a key the first may have been kept, too."""
    while True:
        try:
            return process.publish(50)
        except StorageError:
            time.sleep(0.05)


def _states(process: Process) -> set[str]:
    with process.database.read() as connection:
        return {state for (state,) in connection.execute("select distinct state from hookline_sender_deliveries")}


def wait_for_end(process: Process) -> None:
    deadline_s = time.monotonic() + 40
    while _states(process) & {"pending", "running"}:
        assert time.monotonic() < deadline_s, "some deliveries do not end"
        time.sleep(0.05)


def test_a_dropped_listener_costs_nothing(postgres_url: str, postgres: Cluster) -> None:
    """Its session is thrown out before and after each event that another process publishes: all arrive."""
    with Sink() as sink, processes(postgres_url, postgres_url) as (one, other):
        one.app.registry.create("production", url=sink.url(), events=["*"])
        one.deliver()
        ids, ended = other.publish(1), 0
        wait_for_all(sink, ids)
        for _ in range(5):
            ended += end_listener(postgres)
            ids |= other.publish(1)
            ended += end_listener(postgres)
        wait_for_all(sink, ids)

    assert ended > 0


def test_without_notify_the_timer_finds_what_others_published(postgres: Cluster, postgres_url: str) -> None:
    """Nobody listens and nobody is notified: another process's event is found by the look every five seconds."""
    assert DISCOVERY_MS <= 5_000
    silent = postgres_url + "&notify=off"
    with Sink() as sink, processes(silent, silent) as (one, other):
        one.app.registry.create("production", url=sink.url(), events=["*"])
        one.deliver()
        wait_for_all(sink, one.publish(1))

        wait_for_all(sink, other.publish(3))


@pytest.mark.parametrize("how", ["paused", "disabled", "deleted"])
def test_a_delivery_made_beside_the_closing_of_its_endpoint_does_not_wait_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The publisher saw the endpoint open; another process closes it before the publisher commits. The delivery is
    held or canceled as if it had come a moment earlier, and a resumption without what is held does not send it.
    """
    with Sink() as sink, processes(postgres_url, postgres_url) as (one, other):
        endpoint = one.app.registry.create("production", url=sink.url(), events=["*"])
        seen = one.app.store.endpoints_matching

        def then_closed(*arguments: Any) -> Any:
            found = seen(*arguments)
            registry = other.app.registry
            if how == "paused":
                registry.pause("production", endpoint.id)
            elif how == "disabled":
                registry.change("production", endpoint.id, status="disabled")
            else:
                registry.delete("production", endpoint.id)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(one.app.store, "endpoints_matching", then_closed)
            one.publish(1)
        assert _states(one) == {"pending"}
        one.deliver()
        wait_for_end(one)
        assert _states(one) == {"canceled" if how == "deleted" else "held"}
        if how == "paused":
            other.app.registry.resume("production", endpoint.id, Choice("none"))
            assert _states(one) == {"canceled"}

        assert sink.seen == []


def test_no_delivery_is_left_between_open_and_closed(postgres_url: str) -> None:
    """Two processes deliver and publish while a third pauses and resumes: in the end everything was sent once."""
    with Sink() as sink, processes(*[postgres_url] * 3) as made:
        *senders, switch = made
        endpoint = switch.app.registry.create("production", url=sink.url("/slow/0.005"), events=["*"])
        for one in senders:
            one.deliver()
        published: list[set[str]] = []

        def publish(one: Process) -> None:
            published.extend(one.publish(3) for _ in range(40))

        threads = [threading.Thread(target=publish, args=(one,)) for one in senders]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            switch.app.registry.pause("production", endpoint.id)
            switch.app.registry.resume("production", endpoint.id, Choice())
        for thread in threads:
            thread.join()
        switch.app.registry.pause("production", endpoint.id)
        wait_for_end(switch)
        assert _states(switch) <= {"held", "succeeded"}
        switch.app.registry.resume("production", endpoint.id, Choice())
        ids = set().union(*published)
        wait_for_all(sink, ids)
        wait_for_end(switch)

        assert _states(switch) == {"succeeded"}
        assert len(sink.seen) == len(ids) == 240

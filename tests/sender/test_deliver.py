"""The delivery loop on a real SQLite file, with a clock we turn; strangers are scripted, where it matters sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import uvloop

from hookline.errors import InvalidSignature, OutcomeUnknown, RequestError
from hookline.rules.address import vet_url
from hookline.rules.schedule import Schedule
from hookline.sender.deliver import CHANNEL, DISCOVERY_MS, Deliverer, Limits
from hookline.sender.delivery_store import DeliveryStore, Discovery
from hookline.sender.holding import Choice, Holding
from hookline.sender.http import Answer, CoroutineExchange, ErrorCode, Exchange, Request, Timings
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.interventions import cancel_delivery, retry_delivery
from hookline.sender.job_store import Job, JobStore
from hookline.sender.jobs import JobRunner, Part
from hookline.sender.model import Attempt, Delivery, Endpoint, Environment
from hookline.sender.store import SenderStore
from hookline.storage import Connection, Database
from hookline.storage.sqlite import SqliteDatabase
from hookline.testing.clock import TurnedClock
from hookline.testing.sink import Sink
from hookline.wire.signature import verify_signature
from tests.sender.conftest import NOW_MS

T = TypeVar("T")

SECRET = "whsec_" + "a" * 25
LEASE_MS = 30_000
Script = Callable[[Request], Awaitable[Answer]]


def an_answer(
    status: int | None = 200,
    *,
    error: ErrorCode | None = None,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"ok",
) -> Answer:
    return Answer(
        status=status,
        error=error,
        detail=None if error is None else "it went wrong",
        headers=tuple(headers),
        body=body,
        body_bytes=len(body),
        body_end="complete",
        address="192.0.2.1:443",
        tls="TLSv1.3",
        reused=False,
        redone=False,
        sent_headers=(),
        timings=Timings(1.0, 2.0, 3.0, 0.5, 6.5),
    )


@dataclass
class Scripted(CoroutineExchange):
    """An exchange that does as told: `answers[url]` in turn, then 200; `hang` holds the URLs that never answer."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    #: Called for each request before its answer.
    before: Script | None = None
    sent: list[Request] = field(default_factory=list)
    most_at_once: dict[str, int] = field(default_factory=dict)
    _now: dict[str, int] = field(default_factory=dict)

    async def send(self, request: Request) -> Answer:
        self.sent.append(request)
        url = request.url
        self._now[url] = self._now.get(url, 0) + 1
        self.most_at_once[url] = max(self.most_at_once.get(url, 0), self._now[url])
        try:
            if self.before is not None:
                return await self.before(request)
            if url in self.hang:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            left = self.answers.get(url)
            return left.pop(0) if left else an_answer()
        finally:
            self._now[url] -= 1

    async def close(self) -> None:
        pass

    def to(self, url: str) -> list[Request]:
        return [request for request in self.sent if request.url == url]


class World:
    """A database with short ways to fill and read it."""

    def __init__(self, database: Database, store: SenderStore, clock: TurnedClock) -> None:
        self.database = database
        self.store = store
        self.clock = clock
        self.events = 0

    def add_endpoint(
        self, name: str = "one", *, url: str | None = None, environment: Environment = "production"
    ) -> str:
        url = url or f"https://{name}.example.com/"

        def work(connection: Connection) -> bool:
            return self.store.add_endpoint(
                connection,
                endpoint_id=f"we_{name}",
                environment=environment,
                url=url,
                events=["*"],
                description=None,
                secret_enc="sealed:" + SECRET,
                now_ms=self.clock.now_ms(),
            )

        assert self.database.run(work)
        return url

    def endpoint(self, name: str = "one", environment: Environment = "production") -> Endpoint:
        with self.database.read() as connection:
            found = self.store.endpoint(connection, environment, f"we_{name}", with_deleted=True)
        assert found is not None
        return found

    def publish(
        self, name: str = "one", count: int = 1, *, environment: Environment = "production", is_fed: bool = True
    ) -> list[str]:
        """Publishes events for one endpoint and notifies, as the publisher does; gives the deliveries' ids."""
        numbers = range(self.events, self.events + count)
        self.events += count
        endpoint_row = self.endpoint(name, environment).row_id
        now_ms = self.clock.now_ms()

        def work(connection: Connection) -> None:
            rows = self.store.add_events(
                connection,
                [
                    {
                        "id": f"event_{number}",
                        "environment": environment,
                        "type": "dsync.user.created",
                        "organization_id": None,
                        "body": b'{"id":"event_%d"}' % number,
                        "created_ms": now_ms,
                        "now_ms": now_ms,
                    }
                    for number in numbers
                ],
            )
            if is_fed:
                self.store.feed(connection, [(environment, row) for row in rows.values()])
            else:
                self.store.feed_later(connection, list(rows.values()))
            self.store.add_deliveries(
                connection,
                [
                    {
                        "id": f"delivery_{number}",
                        "environment": environment,
                        "event_row": rows[f"event_{number}"],
                        "endpoint_row": endpoint_row,
                        "origin": "published",
                        "state": "pending",
                        "due_ms": now_ms,
                        "reason": None,
                        "now_ms": now_ms,
                    }
                    for number in numbers
                ],
            )

        self.database.run(work)
        self.database.notify(CHANNEL)
        return [f"delivery_{number}" for number in numbers]

    def delivery(self, delivery_id: str, environment: Environment = "production") -> Delivery:
        with self.database.read() as connection:
            found = self.store.delivery(connection, environment, delivery_id)
        assert found is not None
        return found

    def attempts(self, delivery_id: str, environment: Environment = "production") -> list[Attempt]:
        row = self.delivery(delivery_id, environment).row_id
        with self.database.read() as connection:
            return self.store.attempts(connection, row)

    def states(self) -> dict[str, int]:
        with self.database.read() as connection:
            return dict(connection.execute("select state, count(*) from hookline_sender_deliveries group by state"))

    def is_busy(self, now_ms: int, past_leases: bool) -> bool:
        """Whether something is due or runs."""
        with self.database.read() as connection:
            [[count]] = connection.execute(
                "select count(*) from hookline_sender_deliveries"
                " where state = 'pending' and due_ms <= ? or state = 'running' and not ?",
                (now_ms, past_leases),
            )
        return bool(count)

    def next_ms(self) -> int | None:
        """When the next retry is due, or None."""
        with self.database.read() as connection:
            [[due_ms]] = connection.execute(
                "select min(due_ms) from hookline_sender_deliveries where state = 'pending'"
            )
        return due_ms if due_ms is None else int(due_ms)

    def retry(self, delivery_id: str) -> None:
        now_ms = self.clock.now_ms()
        self.database.run(lambda c: retry_delivery(c, self.store, "production", delivery_id, now_ms=now_ms))
        self.database.notify(CHANNEL)


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


def unseal(sealed: str) -> str:
    assert sealed.startswith("sealed:")
    return sealed.removeprefix("sealed:")


def a_deliverer(world: World, exchange: Exchange, **options: Any) -> Deliverer:
    chosen = {"clock": world.clock, "decrypt": unseal, "jitter": lambda: 0.0, **options}
    return Deliverer(world.database, world.store, exchange, **chosen)


@contextlib.asynccontextmanager
async def running(deliverer: Deliverer) -> AsyncIterator[asyncio.Task[None]]:
    """The loop beside a test; stopped in good order at the end, unless the test has ended it."""
    stop = asyncio.Event()
    task = asyncio.create_task(deliverer.run(stop))
    try:
        yield task
        stop.set()
        if not task.done():
            await asyncio.wait_for(task, 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition that is bound to come; fail after 10 s naming what did not."""
    try:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110  (what is waited for is rows in a database)
                await asyncio.sleep(0.002)
    except TimeoutError:
        pytest.fail(f"waited 10 s for: {what}")


async def turn_until(world: World, holds: Callable[[], bool], what: str, *, past_leases: bool = False) -> None:
    """Turn the clock from one due time to the next until a condition holds, once the loop sleeps.

    It stands still while something is due or runs, unless what runs is to lose its lease.
    """

    def check() -> bool:
        if holds():
            return True
        now_ms = world.clock.now_ms()
        asleep_until_ms = world.clock.next_due_ms()
        if asleep_until_ms is not None and asleep_until_ms > now_ms and not world.is_busy(now_ms, past_leases):
            world.clock.set(world.next_ms() or asleep_until_ms)
        return False

    await until(check, what)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def deliver_all(world: World, exchange: Exchange, wanted: dict[str, int], **options: Any) -> None:
    """Run a loop, turning the clock, until the deliveries' states are as wanted."""
    async with running(a_deliverer(world, exchange, **options)):
        await turn_until(world, lambda: world.states() == wanted, f"{wanted}, is {world.states()}")


# -- one delivery ----------------------------------------------------------------------------------------------


def test_delivers_signed_to_a_real_socket(world: World) -> None:
    """The stored bytes arrive, signed now with the endpoint's secret, under WorkOS's header names."""

    async def work() -> tuple[Any, str]:
        async with Sink() as sink:
            world.add_endpoint(url=sink.url("/in"))
            exchange = HttptoolsExchange(refuse=lambda _: None)
            try:
                [delivery_id] = world.publish()
                await deliver_all(world, exchange, {"succeeded": 1})
            finally:
                await exchange.close()
            return sink.seen, delivery_id

    [seen], delivery_id = run(work())

    assert seen.body == b'{"id":"event_0"}'
    assert seen.header("Content-Type") == "application/json"
    assert seen.header("User-Agent").startswith("Hookline/")
    assert "WorkOS-Signature" in dict(seen.headers)
    verified = verify_signature(
        seen.body, seen.header("WorkOS-Signature"), [SECRET], tolerance_s=0, now_ms=world.clock.now_ms()
    )
    assert verified.timestamp_ms == world.clock.now_ms()
    [attempt] = world.attempts(delivery_id)
    assert (attempt.number, attempt.kind, attempt.outcome, attempt.status) == (1, "scheduled", "succeeded", 200)
    evidence = json.loads(attempt.evidence)
    assert evidence["address"].startswith("127.0.0.1:")
    assert evidence["answer"]["body"] == "noted"
    assert evidence["timings"]["connect_ms"] > 0


def test_evidence_masks_what_is_secret(world: World) -> None:
    """Of the signature stay `t` and 8 digits, of cookies their name; of the secret nothing."""
    world.add_endpoint()
    exchange = Scripted({"https://one.example.com/": [an_answer(headers=[("Set-Cookie", "session=very-private")])]})
    [delivery_id] = world.publish()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    [attempt] = world.attempts(delivery_id)
    signature = dict(exchange.sent[0].headers)["WorkOS-Signature"]
    whole = signature.partition("v1=")[2]
    shown = dict(json.loads(attempt.evidence)["request"]["headers"])["WorkOS-Signature"]
    assert shown == f"t={NOW_MS}, v1={whole[:8]}…"
    assert whole not in attempt.evidence
    assert "very-private" not in attempt.evidence
    assert SECRET not in attempt.evidence


@pytest.mark.parametrize(
    ("body", "shown"),
    [(b"\xff\xfe", {"body_base64": "//4="}), ("é\x00".encode(), {"body": "é\x00"}), (b"", {"body": ""})],
)
def test_evidence_holds_any_bytes(world: World, body: bytes, shown: dict[str, str]) -> None:
    """An answer's body is text where it is text, else base 64."""
    world.add_endpoint()
    exchange = Scripted({"https://one.example.com/": [an_answer(body=body)]})
    [delivery_id] = world.publish()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    assert shown.items() <= json.loads(world.attempts(delivery_id)[0].evidence)["answer"].items()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (an_answer(500), "status_500"),
        (an_answer(302), "redirect"),
        (an_answer(None, error="timeout"), "timeout"),
        (an_answer(None, error="closed"), "reset"),
        (an_answer(None, error="connect_refused"), "connect"),
        (an_answer(None, error="address_refused"), "refused_address"),
        (an_answer(None, error="headers_too_large"), "protocol"),
        (an_answer(None, error="local"), "connect"),
    ],
)
def test_failure_is_tried_again_and_says_why(world: World, answer: Answer, reason: str) -> None:
    """Everything but 2xx and 410 leaves the delivery pending with a time and a reason."""
    world.add_endpoint()
    [delivery_id] = world.publish()

    async def work() -> None:
        async with running(a_deliverer(world, Scripted({"https://one.example.com/": [answer]}))):
            await until(lambda: bool(world.attempts(delivery_id)), "the attempt")

    run(work())

    delivery = world.delivery(delivery_id)
    assert (delivery.state, delivery.reason, delivery.due_ms) == ("pending", reason, NOW_MS + 190_000)
    assert (delivery.attempt, delivery.slots_used, delivery.first_ms) == (1, 1, NOW_MS)
    assert world.attempts(delivery_id)[0].outcome == "failed"


# -- schedules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "offsets_s"),
    [("production", [0, 190, 950, 3_990, 16_150, 64_790, 259_200]), ("staging", [0, 1, 4, 13, 40, 121, 300])],
)
def test_schedule_to_the_end(world: World, environment: Environment, offsets_s: list[int]) -> None:
    """Seven attempts at their times, each freshly signed, and then failed for good: 72 hours in one test."""
    url = world.add_endpoint(environment=environment)
    exchange = Scripted({url: [an_answer(503)] * 20})
    [delivery_id] = world.publish(environment=environment)

    run(deliver_all(world, exchange, {"failed": 1}))

    attempts = world.attempts(delivery_id, environment)
    assert [(attempt.started_ms - NOW_MS) / 1000 for attempt in attempts] == offsets_s
    assert world.delivery(delivery_id, environment).reason == "exhausted"
    signed_at = [dict(request.headers)["WorkOS-Signature"].split(",")[0] for request in exchange.sent]
    assert signed_at == [f"t={attempt.started_ms}" for attempt in attempts]


def test_endpoints_own_schedule(world: World) -> None:
    """An endpoint may have gaps of its own."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_endpoints set schedule = '[2, 5]'")

    run(deliver_all(world, Scripted({url: [an_answer(500)] * 9}), {"failed": 1}))

    assert [attempt.started_ms - NOW_MS for attempt in world.attempts(delivery_id)] == [0, 2_000, 7_000]


@pytest.mark.parametrize("schedule", ["nonsense", "[-1]", "7", '["x"]', "[1e9]"])
def test_endpoints_own_schedule_that_cannot_be_used(world: World, schedule: str) -> None:
    """A schedule that makes no sense costs its endpoint nothing but that: the environment's is used."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_endpoints set schedule = ?", (schedule,))

    run(deliver_all(world, Scripted({url: [an_answer(500)]}), {"succeeded": 1}))

    assert [attempt.started_ms - NOW_MS for attempt in world.attempts(delivery_id)] == [0, 190_000]


def test_retry_after_is_honoured(world: World) -> None:
    """An endpoint that asks for patience gets it, within the window."""
    url = world.add_endpoint()
    exchange = Scripted({url: [an_answer(429, headers=[("retry-after", "600")])]})
    [delivery_id] = world.publish()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    assert [attempt.started_ms - NOW_MS for attempt in world.attempts(delivery_id)] == [0, 600_000]


def test_jitter_is_drawn_for_each_retry(world: World) -> None:
    """The gap grows by as much as the draw says."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()

    run(deliver_all(world, Scripted({url: [an_answer(500)]}), {"succeeded": 1}, jitter=lambda: 1.0))

    assert [attempt.started_ms - NOW_MS for attempt in world.attempts(delivery_id)] == [0, 190_000 * 12 // 10]


def test_window_that_passed_while_we_were_down(world: World) -> None:
    """A retry that comes due days late is failed with its reason, and no attempt is made or counted."""
    url = world.add_endpoint()
    exchange = Scripted({url: [an_answer(500)]})
    [delivery_id] = world.publish()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: bool(world.attempts(delivery_id)), "the first attempt")
        world.clock.advance(4 * 86_400_000)
        await deliver_all(world, exchange, {"failed": 1})

    run(work())

    delivery = world.delivery(delivery_id)
    assert (delivery.reason, delivery.attempt, len(exchange.sent)) == ("window_passed", 1, 1)


# -- 410, pausing, deleting ----------------------------------------------------------------------------------------


def test_gone_disables_the_endpoint(world: World) -> None:
    """410 fails this delivery, turns the endpoint off and holds what else waits for it."""
    url = world.add_endpoint()
    exchange = Scripted({url: [an_answer(410)]})
    made = world.publish(count=5)

    run(deliver_all(world, exchange, {"failed": 1, "held": 4}, limits=Limits(first_window=1)))

    endpoint = world.endpoint()
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "gone")
    assert world.delivery(made[0]).reason == "gone"
    assert {world.delivery(held).reason for held in made[1:]} == {"endpoint_gone"}
    assert len(exchange.sent) == 1


@pytest.mark.parametrize(("how", "state"), [("pause", "held"), ("delete", "canceled")])
def test_endpoint_closed_while_an_attempt_runs(world: World, how: str, state: str) -> None:
    """The attempt ends and is recorded; then the delivery is held or canceled instead of tried again."""
    world.add_endpoint()
    [delivery_id] = world.publish()

    async def close_and_fail(_: Request) -> Answer:
        endpoint = world.endpoint()
        if how == "pause":
            await asyncio.to_thread(
                world.database.run, lambda c: world.store.pause_endpoint(c, endpoint, now_ms=NOW_MS)
            )
        else:
            await asyncio.to_thread(
                world.database.run, lambda c: world.store.delete_endpoint(c, "production", endpoint.id, now_ms=NOW_MS)
            )
        return an_answer(500)

    run(deliver_all(world, Scripted(before=close_and_fail), {state: 1}))

    assert [attempt.status for attempt in world.attempts(delivery_id)] == [500]


def test_paused_endpoint_waits(world: World) -> None:
    """Nothing goes to a paused endpoint; resumed, it gets what was held."""
    url = world.add_endpoint()
    world.publish(count=3)
    world.database.run(lambda c: world.store.pause_endpoint(c, world.endpoint(), now_ms=NOW_MS))
    exchange = Scripted()

    async def work() -> int:
        async with running(a_deliverer(world, exchange)):
            world.publish("one", 1)  # raced with the pause: pending, and yet not sent
            world.clock.advance(DISCOVERY_MS)
            await until(lambda: world.clock.next_due_ms() == world.clock.now_ms() + DISCOVERY_MS, "the loop asleep")
            sent_while_paused = len(exchange.sent)
            paused = world.endpoint()
            world.database.run(lambda c: world.store.resume_endpoint(c, paused, now_ms=NOW_MS))
            holding = Holding(JobStore(world.database.dialect))
            world.database.run(lambda c: holding.begin(c, paused.row_id, Choice(), was_open=False, now_ms=NOW_MS))
            world.database.notify(CHANNEL)
            await until(lambda: world.states() == {"succeeded": 4}, "all four")
        return sent_while_paused

    assert run(work()) == 0
    assert len(exchange.to(url)) == 4


# -- isolation -----------------------------------------------------------------------------------------------------


def test_hanging_endpoint_costs_its_own_slots_only(world: World) -> None:
    """While one endpoint never answers, another gets everything, and the dead one holds no more than its window."""
    dead, healthy = world.add_endpoint("dead"), world.add_endpoint("healthy")
    exchange = Scripted(hang={dead})
    world.publish("dead", 200)
    made = world.publish("healthy", 200)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, limits=Limits(in_flight=12), drain_timeout_s=0)):
            await until(lambda: world.states().get("succeeded", 0) == 200, "every healthy delivery")

    run(work())

    assert {world.delivery(delivery_id).state for delivery_id in made} == {"succeeded"}
    assert exchange.most_at_once[dead] == 2
    assert 2 < exchange.most_at_once[healthy] <= 10


def test_unproven_endpoints_share_a_cap(world: World) -> None:
    """Many dead endpoints together leave room for one that answers."""
    dead = {world.add_endpoint(f"dead{number}") for number in range(20)}
    exchange = Scripted(hang=dead)
    for number in range(20):
        world.publish(f"dead{number}", 5)
    limits = Limits(in_flight=12, unproven=8)

    async def work() -> int:
        async with running(a_deliverer(world, exchange, limits=limits, drain_timeout_s=0)):
            await until(lambda: len(exchange.sent) == 8, "the cap reached")
            world.clock.advance(DISCOVERY_MS)
            await asyncio.sleep(0.05)
            return len(exchange.sent)

    assert run(work()) == 8


def test_new_endpoint_goes_before_dead_ones(world: World) -> None:
    """However many dead endpoints wait for the slots they share, the next one that frees goes to one not tried yet."""
    dead = {world.add_endpoint(f"dead{number}") for number in range(12)}
    fresh = world.add_endpoint("fresh")
    for number in range(12):
        world.publish(f"dead{number}", 9)
    release = asyncio.Semaphore(0)

    async def answer(request: Request) -> Answer:
        if request.url == fresh:
            return an_answer()
        await release.acquire()
        return an_answer(None, error="timeout")

    exchange = Scripted(before=answer)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, limits=Limits(in_flight=10, unproven=2), drain_timeout_s=0)):
            for tried in range(12):
                release.release()
                await until(lambda wanted=tried + 3: len(exchange.sent) == wanted, "the next attempt")  # type: ignore[misc]
            assert {request.url for request in exchange.sent} == dead
            world.publish("fresh")
            await until(lambda: world.clock.next_due_ms() is not None, "the loop asleep")
            await asyncio.sleep(0.1)  # the loop has heard of it, and has no slot to give
            release.release()
            await until(lambda: len(exchange.to(fresh)) == 1, "the new endpoint's attempt")

    run(work())

    assert exchange.sent.index(exchange.to(fresh)[0]) == 14


def test_nothing_is_leased_that_is_not_sent(world: World) -> None:
    """As many rows run as requests are under way, never more."""
    url = world.add_endpoint()
    exchange = Scripted(hang={url})
    world.publish(count=50)

    async def work() -> dict[str, int]:
        async with running(a_deliverer(world, exchange, drain_timeout_s=0)):
            await until(lambda: len(exchange.sent) == 2, "the window full")
            world.clock.advance(DISCOVERY_MS)
            await until(lambda: (world.clock.next_due_ms() or 0) > world.clock.now_ms(), "the loop asleep")
            return world.states()

    assert run(work()) == {"running": 2, "pending": 48}


# -- waking ----------------------------------------------------------------------------------------------------------


def test_woken_by_news(world: World) -> None:
    """What is published while the loop sleeps is delivered at once: the clock stands still."""
    world.add_endpoint()

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: world.clock.next_due_ms() is not None, "the loop asleep")
            world.publish(count=3)
            await until(lambda: world.states() == {"succeeded": 3}, "all three")

    run(work())


def test_news_during_a_discovery_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published after a discovery has looked, and before it is evaluated, is found by the next one."""
    world.add_endpoint()
    discover = DeliveryStore.discover
    to_publish = [1]

    def then_publish(self: DeliveryStore, connection: Connection) -> Discovery:
        seen = discover(self, connection)
        if to_publish:
            world.publish(count=to_publish.pop())
            time.sleep(0.05)  # the news reaches the loop while this thread still holds the answer
        return seen

    monkeypatch.setattr(DeliveryStore, "discover", then_publish)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: world.states() == {"succeeded": 1}, "the delivery")

    run(work())


def test_news_that_comes_too_fast_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """News right after a slow discovery waits its turn and is then looked at, on uvloop (which serves us) as well."""
    world.add_endpoint()
    discover = DeliveryStore.discover

    def slowly(self: DeliveryStore, connection: Connection) -> Discovery:
        time.sleep(0.02)
        return discover(self, connection)

    monkeypatch.setattr(DeliveryStore, "discover", slowly)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: world.clock.next_due_ms() is not None, "the loop asleep")
            for count in range(1, 6):
                world.publish()
                await until(lambda wanted=count: world.states() == {"succeeded": wanted}, "the delivery")  # type: ignore[misc]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


def test_timers_do_not_pile_up(world: World) -> None:
    """An endpoint with a retry far ahead and much to do until then takes one timer, not one per delivery."""
    url = world.add_endpoint()
    world.publish()
    deliverer = a_deliverer(world, Scripted({url: [an_answer(500)]}))

    async def work() -> int:
        async with running(deliverer):
            await until(lambda: bool(world.attempts("delivery_0")), "the failure")
            for count in range(1, 151):
                world.publish()
                await until(
                    lambda wanted=count: world.states().get("succeeded") == wanted,  # type: ignore[misc]
                    "the delivery",
                )
            return len(deliverer._ready._heap)

    assert run(work()) <= 66


def test_news_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any notification the next discovery finds the work."""
    world.add_endpoint()
    monkeypatch.setattr(type(world.database), "subscribe", lambda *_: lambda: None)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: world.clock.next_due_ms() == NOW_MS + DISCOVERY_MS, "the loop asleep")
            world.publish()
            await asyncio.sleep(0.05)
            assert world.states() == {"pending": 1}
            world.clock.advance(DISCOVERY_MS)
            await until(lambda: world.states() == {"succeeded": 1}, "the delivery")

    run(work())


def test_woken_by_another_process(world: World) -> None:
    """A commit through another opening of the file, as another process makes it, wakes the loop by data_version."""
    world.add_endpoint()
    assert isinstance(world.database, SqliteDatabase)
    other = SqliteDatabase(world.database.path)
    elsewhere = World(other, world.store, world.clock)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: world.clock.next_due_ms() is not None, "the loop asleep")
            await asyncio.to_thread(elsewhere.publish)
            await until(lambda: world.states() == {"succeeded": 1}, "the delivery")

    try:
        run(work())
    finally:
        other.close()


def test_idle_makes_one_statement_in_five_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle loop asks the database once in 5 s and does not poll in between."""
    world.add_endpoint()
    statements: list[str] = []
    connect = SqliteDatabase._connect

    def traced(self: SqliteDatabase, **options: Any) -> Any:
        connection = connect(self, **options)
        if threading.current_thread().name != "hookline-data-version":
            connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(SqliteDatabase, "_connect", traced)
    world.database.close()
    world.publish(count=20)

    async def work() -> list[str]:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: len(world.attempts("delivery_19")) == 1, "the work done")
            # Our own last commit still comes back as news of a commit, once.
            await asyncio.sleep(0.3)
            statements.clear()
            for _ in range(10):
                asleep_until = world.clock.next_due_ms()
                assert asleep_until is not None
                world.clock.set(asleep_until)
                await until(lambda: (world.clock.next_due_ms() or 0) > world.clock.now_ms(), "the loop asleep")
            return list(statements)

    ten_rounds = run(work())

    assert 9 <= len(ten_rounds) <= 10
    assert world.clock.now_ms() >= NOW_MS + 9 * DISCOVERY_MS


def test_jobs_cost_no_looks_of_their_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a job that is due later, deliveries and jobs together ask once in 5 s; when it is due, it is done."""
    statements: list[str] = []
    connect = SqliteDatabase._connect

    def traced(self: SqliteDatabase, **options: Any) -> Any:
        connection = connect(self, **options)
        if threading.current_thread().name != "hookline-data-version":
            connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(SqliteDatabase, "_connect", traced)
    world.database.close()
    jobs = JobStore(world.database.dialect)
    due_ms = NOW_MS + 10 * DISCOVERY_MS
    done: list[int] = []

    def work_once(connection: Connection, job: Job, now_ms: int) -> Part:
        done.append(now_ms)
        return Part(None, {})

    runner = JobRunner(world.database, jobs, clock=world.clock, kinds={"kind": work_once})
    world.database.run(lambda tx: jobs.put(tx, "kind", "subject", {}, due_ms=due_ms))

    async def work() -> list[str]:
        thread = threading.Thread(target=runner.run)
        thread.start()
        try:
            async with running(a_deliverer(world, Scripted(), note_job=runner.note_due)):
                await until(lambda: world.clock.next_due_ms() == NOW_MS + DISCOVERY_MS, "the loop asleep")
                await asyncio.sleep(0.3)
                statements.clear()
                for _ in range(9):
                    world.clock.set(world.clock.now_ms() + DISCOVERY_MS)
                    await until(
                        lambda: world.clock.next_due_ms() == world.clock.now_ms() + DISCOVERY_MS,
                        "the loop asleep again",
                    )
                idle = list(statements)
                world.clock.set(due_ms)
                await until(lambda: bool(done), "the job")
                return idle
        finally:
            runner.stop()
            thread.join()

    idle = run(work())

    assert 8 <= len(idle) <= 9
    assert done == [due_ms]


def test_statements_per_delivery(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog costs less than one statement per delivery, claim, evidence and settlement together."""
    world.add_endpoint()
    world.publish(count=400)
    statements: list[str] = []
    connect = SqliteDatabase._connect

    def traced(self: SqliteDatabase, **options: Any) -> Any:
        connection = connect(self, **options)
        if threading.current_thread().name == "hookline-deliver_0":
            connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(SqliteDatabase, "_connect", traced)
    world.database.close()

    run(deliver_all(world, Scripted(), {"succeeded": 400}, limits=Limits(largest_window=100, first_window=100)))

    ours = [sql for sql in statements if not sql.startswith(("pragma", "begin", "BEGIN", "COMMIT", "commit"))]
    assert len(ours) < 400


def test_app_published_event_enters_the_feed_first(world: World) -> None:
    """An event published on an app's connection is in the feed before it is first sent."""
    world.add_endpoint()
    world.publish(is_fed=False)
    places: list[int | None] = []

    async def look(_: Request) -> Answer:
        with world.database.read() as connection:
            places.append(world.store.feed_seq(connection, "production", "event_0"))
        return an_answer()

    run(deliver_all(world, Scripted(before=look), {"succeeded": 1}))

    assert places == [1]


def test_app_published_event_that_nobody_wants_enters_the_feed(world: World) -> None:
    """An event without a delivery gets its place as well, without waiting for some other event's claim."""
    world.add_endpoint()
    world.publish(is_fed=False)
    with world.database.transaction() as connection:
        connection.execute("delete from hookline_sender_deliveries")

    def place() -> int | None:
        with world.database.read() as connection:
            return world.store.feed_seq(connection, "production", "event_0")

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: place() == 1, "its place in the feed")

    run(work())


# -- trouble of our own ----------------------------------------------------------------------------------------------


def test_settlement_survives_a_locked_database(world: World) -> None:
    """What cannot be settled because the database is locked is settled once it is free, and sent only once."""
    world.add_endpoint()
    assert isinstance(world.database, SqliteDatabase)
    world.database.busy_timeout_s = 0.05
    world.database.close()
    [delivery_id] = world.publish()
    intruder = sqlite3.connect(world.database.path, isolation_level=None, check_same_thread=False)

    async def lock_and_answer(_: Request) -> Answer:
        await asyncio.to_thread(intruder.execute, "begin immediate")
        return an_answer()

    exchange = Scripted(before=lock_and_answer)

    async def work() -> None:
        async with running(a_deliverer(world, exchange)) as task:
            await until(
                lambda: world.clock.next_due_ms() in range(NOW_MS + 1, NOW_MS + DISCOVERY_MS), "the loop backing off"
            )
            assert world.delivery(delivery_id).state == "running"
            intruder.execute("rollback")
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "the settlement", past_leases=True)
            exchange.before = None
            world.publish()
            await until(lambda: world.states() == {"succeeded": 2}, "the loop going on as before")
            assert not task.done()

    try:
        run(work())
    finally:
        intruder.close()

    assert len(exchange.sent) == 2
    assert len(world.attempts(delivery_id)) == 1


@pytest.mark.parametrize("doubtful_commit", [1, 2], ids=["the claim", "the settlement"])
def test_commit_whose_outcome_is_unknown(world: World, monkeypatch: pytest.MonkeyPatch, doubtful_commit: int) -> None:
    """A commit that went through though its answer was lost: nothing is settled twice, and nothing stays behind."""
    world.add_endpoint()
    [delivery_id] = world.publish()
    commits = 0
    commit = type(world.database).run

    def lose_one(self: Database, work: Callable[[Any], T]) -> T:
        nonlocal commits
        done = commit(self, work)
        commits += 1
        if commits == doubtful_commit:
            raise OutcomeUnknown("the answer was lost")
        return done

    monkeypatch.setattr(type(world.database), "run", lose_one)
    exchange = Scripted()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "the delivery", past_leases=True)

    run(work())

    # A claim in doubt is not sent: its lease passes, and it counts as unknown.
    outcomes = ["unknown", "succeeded"] if doubtful_commit == 1 else ["succeeded"]
    assert [attempt.outcome for attempt in world.attempts(delivery_id)] == outcomes
    assert len(exchange.sent) == 1


def test_secret_that_does_not_open(world: World) -> None:
    """One endpoint's broken secret fails its own attempts, and the others go on."""
    world.add_endpoint("bad")
    good = world.add_endpoint("good")
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_endpoints set secret_enc = 'broken' where id = 'we_bad'")
    [bad_id] = world.publish("bad")
    world.publish("good")
    exchange = Scripted()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: world.states() == {"succeeded": 1, "pending": 1}, "one each")
            await until(lambda: bool(world.attempts(bad_id)), "the failed attempt")

    run(work())

    assert [request.url for request in exchange.sent] == [good]
    assert "could not be made" in world.attempts(bad_id)[0].evidence


def test_attempt_that_cannot_be_recorded_holds_up_nobody(world: World) -> None:
    """A row that the database refuses is logged and left to its lease; the others of its batch are settled."""
    world.add_endpoint()
    made = world.publish(count=3)
    with world.database.transaction() as connection:
        connection.execute(
            "create trigger refuse before insert on hookline_sender_attempts"
            f" when new.delivery_row = {world.delivery(made[1]).row_id}"
            " begin select raise(abort, 'not this one'); end"
        )

    async def work() -> None:
        limits = Limits(first_window=3)
        async with running(a_deliverer(world, Scripted(), limits=limits)):
            await until(lambda: world.states() == {"succeeded": 2, "running": 1}, "the other two")
        # What cannot be recorded cannot be taken over, either; another lost attempt and later work can.
        [lost, later] = world.publish(count=2)
        exchange = Scripted(hang={"https://one.example.com/"})
        await die_in(world, exchange, lambda: len(exchange.sent) == 2)
        world.clock.advance(LEASE_MS)
        async with running(a_deliverer(world, Scripted())):
            await turn_until(
                world,
                lambda: {world.delivery(lost).state, world.delivery(later).state} == {"succeeded"},
                "the lost ones",
                past_leases=True,
            )

    run(work())

    assert world.states() == {"succeeded": 4, "running": 1}
    assert world.delivery(made[1]).state == "running"


def test_url_refused_by_policy(world: World) -> None:
    """A URL that may no longer be called is not called: the attempt says why."""
    world.add_endpoint(url="http://plain.example.com/")
    [delivery_id] = world.publish()
    exchange = Scripted()

    def https_only(environment: str, url: str) -> str | None:
        return vet_url(url, environment=environment).message or None

    async def work() -> None:
        async with running(a_deliverer(world, exchange, refuse_url=https_only)):
            await until(lambda: bool(world.attempts(delivery_id)), "the attempt")

    run(work())

    assert exchange.sent == []
    assert world.attempts(delivery_id)[0].reason == "refused_address"
    assert "https" in json.loads(world.attempts(delivery_id)[0].evidence)["detail"]


# -- stopping and dying ----------------------------------------------------------------------------------------------


def test_stop_drains(world: World) -> None:
    """A stop claims nothing more, lets what is under way end, and records it."""
    url = world.add_endpoint()
    world.publish(count=10)
    exchange = Scripted()
    release = asyncio.Event()

    async def hold(_: Request) -> Answer:
        await release.wait()
        return an_answer()

    exchange.before = hold

    async def work() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(a_deliverer(world, exchange).run(stop))
        await until(lambda: len(exchange.sent) == 2, "two under way")
        stop.set()
        await asyncio.sleep(0.05)
        assert not task.done()
        release.set()
        await asyncio.wait_for(task, 5)

    run(work())

    assert world.states() == {"succeeded": 2, "pending": 8}
    assert len(exchange.to(url)) == 2


def test_stop_does_not_wait_for_ever(world: World) -> None:
    """An attempt that outlives the drain is left to its lease."""
    url = world.add_endpoint()
    world.publish()

    async def work() -> None:
        exchange = Scripted(hang={url})
        async with running(a_deliverer(world, exchange, drain_timeout_s=0.1)):
            await until(lambda: len(exchange.sent) == 1, "the request")

    run(work())

    assert world.states() == {"running": 1}


def test_stop_while_asleep(world: World) -> None:
    """A loop with nothing to do stops at once."""

    async def work() -> None:
        async with running(a_deliverer(world, Scripted())):
            await until(lambda: world.clock.next_due_ms() is not None, "the loop asleep")

    run(work())


async def die_in(world: World, exchange: Scripted, moment: Callable[[], bool]) -> None:
    """Run a loop and kill it at a moment: nothing of it is settled afterwards."""
    task = asyncio.create_task(a_deliverer(world, exchange).run(asyncio.Event()))
    await until(moment, "the moment to die")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("did_arrive", [False, True], ids=["after the claim", "after the POST"])
def test_death_in_an_attempt(world: World, did_arrive: bool) -> None:
    """A loop that dies mid-attempt loses nothing: after the lease it is made again and the first one is unknown."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    received: list[bytes] = []
    is_dying = asyncio.Event()

    async def receive(request: Request) -> Answer:
        if did_arrive or is_dying.is_set():
            received.append(request.body)
        if not is_dying.is_set():
            is_dying.set()
            await asyncio.Event().wait()
        return an_answer()

    exchange = Scripted(before=receive)

    async def work() -> None:
        await die_in(world, exchange, is_dying.is_set)
        assert world.delivery(delivery_id).state == "running"
        world.clock.advance(LEASE_MS - 1)
        async with running(a_deliverer(world, exchange)):
            await until(lambda: world.clock.next_due_ms() is not None, "the loop asleep")
            assert world.delivery(delivery_id).state == "running"  # the lease holds to its last millisecond
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "the second", past_leases=True)

    run(work())

    assert len(received) == (2 if did_arrive else 1)
    first, second = world.attempts(delivery_id)
    assert (first.number, first.outcome, first.status, first.started_ms) == (1, "unknown", None, NOW_MS)
    assert (second.number, second.outcome) == (2, "succeeded")
    delivery = world.delivery(delivery_id)
    assert (delivery.slots_used, delivery.unknown_attempts) == (1, 1)
    assert len(exchange.to(url)) == 2


def test_deliveries_that_kill_their_sender_end(world: World) -> None:
    """After three unknown attempts a delivery has failed: at most three duplicates, whatever goes wrong."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    exchange = Scripted(hang={url})

    async def work() -> None:
        for deaths in range(1, 4):
            sent = len(exchange.sent)
            task = asyncio.create_task(a_deliverer(world, exchange).run(asyncio.Event()))
            await turn_until(
                world,
                lambda before=sent: len(exchange.sent) > before,  # type: ignore[misc]
                f"attempt {deaths}",
                past_leases=True,
            )
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            world.clock.advance(LEASE_MS)
        async with running(a_deliverer(world, exchange)):
            await turn_until(world, lambda: world.states() == {"failed": 1}, "the end", past_leases=True)

    run(work())

    assert world.delivery(delivery_id).reason == "unknown_limit"
    assert [attempt.outcome for attempt in world.attempts(delivery_id)] == ["unknown"] * 3
    assert len(exchange.sent) == 3


def test_late_worker_does_not_overwrite(world: World) -> None:
    """A loop that was frozen past its lease settles nothing: its successor's record stands."""
    world.add_endpoint()
    [delivery_id] = world.publish()
    thaw = asyncio.Event()

    async def freeze(_: Request) -> Answer:
        await thaw.wait()
        return an_answer(500)

    frozen, successor = Scripted(before=freeze), Scripted()

    async def work() -> None:
        # With the clock that the successor sees, it might wake first, and keep what is its own.
        async with running(a_deliverer(world, frozen, clock=TurnedClock(world.clock.now_ms()))):
            await until(lambda: len(frozen.sent) == 1, "the frozen attempt")
            world.clock.advance(LEASE_MS)
            async with running(a_deliverer(world, successor)):
                await until(lambda: world.states() == {"succeeded": 1}, "the successor's attempt")
            thaw.set()

    run(work())

    assert world.delivery(delivery_id).state == "succeeded"
    assert [attempt.outcome for attempt in world.attempts(delivery_id)] == ["unknown", "succeeded"]
    assert len(successor.sent) == 1


def test_own_attempt_is_not_taken_for_lost(world: World) -> None:
    """A machine that slept wakes with its lease over and its request still under way: it is not sent twice."""
    world.add_endpoint()
    [delivery_id] = world.publish()
    answer = asyncio.Event()

    async def hold(_: Request) -> Answer:
        await answer.wait()
        return an_answer()

    exchange = Scripted(before=hold)

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: len(exchange.sent) == 1, "the request")
            world.clock.advance(10 * LEASE_MS)
            await until(lambda: (world.clock.next_due_ms() or 0) > world.clock.now_ms(), "the loop asleep")
            answer.set()
            await until(lambda: world.states() == {"succeeded": 1}, "the settlement")

    run(work())

    assert len(exchange.sent) == 1
    assert [attempt.outcome for attempt in world.attempts(delivery_id)] == ["succeeded"]


def test_two_loops_share_the_work(world: World) -> None:
    """Two loops on one database deliver everything once."""
    url = world.add_endpoint()
    world.publish(count=120)
    one, two = Scripted(), Scripted()

    async def work() -> None:
        async with running(a_deliverer(world, one)), running(a_deliverer(world, two)):
            await until(lambda: world.states() == {"succeeded": 120}, "everything")

    run(work())

    bodies = [request.body for request in one.to(url) + two.to(url)]
    assert len(bodies) == len(set(bodies)) == 120
    assert one.sent
    assert two.sent


# -- by hand -----------------------------------------------------------------------------------------------------------


def fail_for_good(world: World) -> str:
    """A delivery whose only attempt failed."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    schedules = {"production": Schedule((), 0), "staging": Schedule((), 0)}
    run(deliver_all(world, Scripted({url: [an_answer(500)]}), {"failed": 1}, schedules=schedules))
    return delivery_id


@pytest.mark.parametrize(
    ("status", "state", "reason"), [(200, "succeeded", "status_200"), (500, "failed", "retry_failed")]
)
def test_manual_retry_of_a_failed_delivery(world: World, status: int, state: str, reason: str) -> None:
    """One more attempt of the same delivery, using no slot: it succeeds, or has failed again."""
    delivery_id = fail_for_good(world)
    exchange = Scripted({"https://one.example.com/": [an_answer(status)]})
    world.clock.advance(10 * 86_400_000)

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            world.retry(delivery_id)
            await until(lambda: len(world.attempts(delivery_id)) == 2, "the manual attempt")

    run(work())

    delivery = world.delivery(delivery_id)
    assert (delivery.state, delivery.reason, delivery.slots_used) == (state, reason, 1)
    assert [attempt.kind for attempt in world.attempts(delivery_id)] == ["scheduled", "manual"]


def test_manual_retry_keeps_the_planned_time(world: World) -> None:
    """A retry by hand that fails leaves a waiting delivery with the time it had planned."""
    url = world.add_endpoint()
    [delivery_id] = world.publish()
    exchange = Scripted({url: [an_answer(500), an_answer(500)]})

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: len(world.attempts(delivery_id)) == 1, "the first attempt")
            world.clock.advance(1_000)
            world.retry(delivery_id)
            await until(lambda: len(world.attempts(delivery_id)) == 2, "the manual attempt")
            assert world.delivery(delivery_id).due_ms == NOW_MS + 190_000
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "the planned attempt")

    run(work())

    attempts = world.attempts(delivery_id)
    assert [(one.kind, one.started_ms - NOW_MS) for one in attempts] == [
        ("scheduled", 0),
        ("manual", 1_000),
        ("scheduled", 190_000),
    ]


def test_retry_and_cancel_while_running(world: World) -> None:
    """What runs can be neither retried nor canceled: the attempt ends and is judged as ever."""
    world.add_endpoint()
    [delivery_id] = world.publish()
    refusals: list[str | None] = []

    async def meddle(_: Request) -> Answer:
        for intervene in (retry_delivery, cancel_delivery):
            do = functools.partial(
                intervene, store=world.store, environment="production", delivery_id=delivery_id, now_ms=NOW_MS
            )
            with pytest.raises(RequestError) as refused:
                world.database.run(do)
            refusals.append(refused.value.code)
        return an_answer()

    run(deliver_all(world, Scripted(before=meddle), {"succeeded": 1}))

    assert refusals == ["delivery_not_retryable", "delivery_not_cancelable"]
    assert [attempt.outcome for attempt in world.attempts(delivery_id)] == ["succeeded"]


def test_signature_of_another_secret_is_refused(world: World) -> None:
    """The check in these tests can fail: another secret does not verify."""
    world.add_endpoint()
    exchange = Scripted()
    world.publish()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    header = dict(exchange.sent[0].headers)["WorkOS-Signature"]
    with pytest.raises(InvalidSignature):
        verify_signature(exchange.sent[0].body, header, ["whsec_other"], tolerance_s=180, now_ms=NOW_MS)

"""Thousands of endpoints, most of them dead: who waits for whose slot, and what the loop remembers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.rules.response import Outcome, silence
from hookline.sender import ready
from hookline.sender.deliver import Limits
from hookline.sender.http import Answer, Request
from hookline.sender.ready import ReadySet
from hookline.sender.store import SenderStore
from hookline.storage import Connection, Database
from hookline.testing.clock import TurnedClock
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import SECRET, Scripted, World, a_deliverer, an_answer, run, running, until

OK = Outcome("succeeded", "status_200", 200)
TIMEOUT = silence("timeout")
BUSY = Outcome("failed", "status_429", 429)


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


# -- the whole loop --------------------------------------------------------------------------------------------------


def fill(world: World, names: list[str], each: int) -> dict[str, int]:
    """Endpoints, each with deliveries due now, in one transaction; gives their rows."""
    now_ms = world.clock.now_ms()

    def work(connection: Connection) -> dict[str, int]:
        connection.executemany(  # type: ignore[attr-defined]
            "insert into hookline_sender_endpoints (id, environment, url, status, secret_enc, version, created_ms,"
            " updated_ms) values (?, 'production', ?, 'enabled', ?, 1, ?, ?)",
            [(f"we_{name}", f"https://{name}.example.com/", "sealed:" + SECRET, now_ms, now_ms) for name in names],
        )
        rows = dict(connection.execute("select id, row_id from hookline_sender_endpoints"))  # type: ignore[attr-defined]
        return {name: rows[f"we_{name}"] for name in names}

    rows = world.database.run(work)
    for name in names if each else []:
        put(world, rows[name], f"{name}-first", each)
    return rows


def put(world: World, endpoint_row: int, tag: str, count: int = 1) -> None:
    """Deliveries due now, without the publisher's notification."""
    now_ms = world.clock.now_ms()

    def work(connection: Connection) -> None:
        rows = world.store.add_events(
            connection,
            [
                {
                    "id": f"event_{tag}_{number}",
                    "environment": "production",
                    "type": "a.b",
                    "organization_id": None,
                    "body": b"{}",
                    "created_ms": now_ms,
                    "now_ms": now_ms,
                }
                for number in range(count)
            ],
        )
        world.store.add_deliveries(
            connection,
            [
                {
                    "id": f"delivery_{event_id}",
                    "environment": "production",
                    "event_row": row,
                    "endpoint_row": endpoint_row,
                    "origin": "published",
                    "state": "pending",
                    "due_ms": now_ms,
                    "reason": None,
                    "now_ms": now_ms,
                }
                for event_id, row in rows.items()
            ],
        )

    world.database.run(work)


def test_no_healthy_delivery_waits_for_another_endpoints_slot(world: World) -> None:
    """5,000 endpoints, 4,900 of them dead with work waiting; the clock stands still while 100 healthy ones are served.

    Some seconds long: it makes as many endpoints as the promise speaks of.

    The dead ones hang until their timeout, which never comes while the clock stands: what a healthy endpoint gets
    within that moment cannot have waited for a slot of theirs. They have failed before, as the database knows.
    """
    dead = [f"dead{number}" for number in range(4_900)]
    healthy = [f"healthy{number}" for number in range(100)]
    dead_rows, healthy_rows = fill(world, dead, 0), fill(world, healthy, 0)
    now_ms = world.clock.now_ms()
    with world.database.transaction() as connection:
        connection.execute(
            "update hookline_sender_endpoints set failing_since_ms = ?, failing_attempts = 1 where id like 'we_dead%'",
            (now_ms,),
        )
        for table, columns in (
            ("events", "(id, environment, type, body, created_ms, published_ms)"),
            ("deliveries", "(id, environment, event_row, endpoint_row, origin, state, due_ms, created_ms, updated_ms)"),
        ):
            values = (
                [
                    (f"event_{row}_{n}", "production", "a.b", b"{}", now_ms, now_ms)
                    for row in dead_rows.values()
                    for n in (1, 2)
                ]
                if table == "events"
                else [
                    (
                        f"delivery_{row}_{n}",
                        "production",
                        2 * position + n,
                        row,
                        "published",
                        "pending",
                        now_ms,
                        now_ms,
                        now_ms,
                    )
                    for position, row in enumerate(dead_rows.values())
                    for n in (1, 2)
                ]
            )
            marks = ", ".join("?" * len(values[0]))
            connection.executemany(f"insert into hookline_sender_{table} {columns} values ({marks})", values)
    hang = {f"https://{name}.example.com/" for name in dead}
    exchange = Scripted(hang=hang)

    async def work() -> None:
        async with running(a_deliverer(world, exchange, drain_timeout_s=0)):
            await until(lambda: len(exchange.sent) >= Limits().failing, "the dead ones' share taken")
            draw = random.Random(3)
            done = 0
            for round_ in range(5):
                for name in draw.sample(healthy, 60):
                    put(world, healthy_rows[name], f"{name}-{round_}", 3)
                    done += 3
                world.database.notify("deliveries")
                await until(
                    lambda wanted=done: world.states().get("succeeded") == wanted,  # type: ignore[misc]
                    "the healthy ones' deliveries",
                )

    run(work())

    assert world.clock.now_ms() == NOW_MS
    assert len([request for request in exchange.sent if request.url in hang]) == Limits().failing


def test_endpoints_that_stop_answering_leave_room(world: World) -> None:
    """Eight endpoints that took all they could get hang at once, and a ninth is served at once all the same."""
    busy = [f"busy{number}" for number in range(8)]
    rows = fill(world, [*busy, "other"], 0)
    is_hanging = False
    under_way: Counter[str] = Counter()

    async def answer(request: Request) -> Answer:
        under_way[request.url] += 1
        if is_hanging and "busy" in request.url:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        under_way[request.url] -= 1
        return an_answer()

    exchange = Scripted(before=answer)

    async def work() -> None:
        nonlocal is_hanging
        limits = Limits(in_flight=100, unproven=50, failing=25)
        async with running(a_deliverer(world, exchange, limits=limits, drain_timeout_s=0)):
            for name in busy:
                put(world, rows[name], name, 400)
            world.database.notify("deliveries")
            await until(lambda: world.states() == {"succeeded": 3_200}, "windows grown")
            is_hanging = True
            for name in busy:
                put(world, rows[name], f"{name}-more", 400)
            world.database.notify("deliveries")
            await until(lambda: sum(under_way.values()) >= 80, "most slots hanging")
            put(world, rows["other"], "other")
            world.database.notify("deliveries")
            await until(lambda: world.states().get("succeeded") == 3_201, "the other one's delivery")

    run(work())

    assert world.clock.now_ms() == NOW_MS
    assert sum(under_way.values()) < 100


def test_an_endpoint_that_takes_more_gets_more(world: World) -> None:
    """From two at once to sixty-four, and back to half when it says that it is too much."""
    url = world.add_endpoint()
    world.publish(count=900)
    exchange = Scripted()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            await until(lambda: world.states() == {"succeeded": 900}, "all")
            grown = exchange.most_at_once[url]
            assert 32 < grown <= 64
            exchange.answers[url] = [an_answer(429, headers=[("Retry-After", "1000")])] * 40
            world.publish(count=100)
            await until(lambda: world.states() == {"succeeded": 960, "pending": 40}, "the overload")
            exchange.most_at_once.clear()
            world.publish(count=40)
            await until(lambda: world.states().get("succeeded", 0) == 1_000, "the rest")

    run(work())

    assert exchange.most_at_once[url] < 64


# -- the set of ready endpoints ----------------------------------------------------------------------------------------


def ready_set(limits: Limits | None = None, *, endpoints: int = 0) -> ReadySet:
    made = ReadySet(limits or Limits())
    for row in range(endpoints):
        made.note_due(row, 0)
    made.promote(0)
    return made


def prove(made: ReadySet, row: int, outcome: Outcome = OK, times: int = 1) -> None:
    for _ in range(times):
        made.begin(row)
        made.end(row, outcome, 1.0)


def take(made: ReadySet) -> dict[int, int]:
    """One claim that gets all it asked for, and has more."""
    slots = made.free_slots()
    made.claimed(slots, {})
    for row, count in slots.items():
        for _ in range(count):
            made.begin(row)
    return slots


@settings(max_examples=100)
@given(st.randoms(use_true_random=True), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_limits_hold_whatever_happens(draw: random.Random, in_flight: int, unproven: int, failing: int) -> None:
    """In all, of the unproven, of the failing, of each endpoint: never more than allowed, and never a lost count."""
    limits = Limits(in_flight=in_flight, unproven=unproven, failing=failing, largest_window=8)
    made = ReadySet(limits)
    standing: dict[int, str] = {}
    under_way: Counter[int] = Counter()
    now_ms = 0
    for _ in range(80):
        move = draw.random()
        if move < 0.3:
            made.note_due(draw.randrange(40), now_ms + draw.randrange(0, 5), is_failing=draw.random() < 0.1)
        elif move < 0.7:
            now_ms += 1
            made.promote(now_ms)
            slots = made.free_slots()
            unproven_before = sum(n for row, n in under_way.items() if standing.get(row) != "proven")
            got = {row: draw.randrange(0, count + 1) for row, count in slots.items()}
            short = {row: draw.choice([None, now_ms + 3]) for row, count in slots.items() if got[row] < count}
            made.claimed(slots, short, {row: now_ms + 2 for row in short if draw.random() < 0.2})
            for row, count in got.items():
                for _ in range(count):
                    made.begin(row)
                under_way[row] += count
            assert sum(under_way.values()) <= in_flight
            assert sum(slots.values()) <= max(0, in_flight - sum(under_way.values()) + sum(got.values()))
            newly = sum(count for row, count in slots.items() if standing.get(row) != "proven")
            assert newly == 0 or unproven_before + newly <= unproven
            assert all(under_way[row] <= 8 for row in slots)
        elif +under_way:
            row = draw.choice(sorted(+under_way))
            outcome = draw.choice([OK, OK, TIMEOUT, BUSY, Outcome("failed", "status_500", 500), None])
            made.end(row, outcome, draw.random() * 100)
            under_way[row] -= 1
            if outcome is not None:
                standing[row] = "failing" if outcome.status is None or outcome.is_overload else "proven"
        assert made.under_way == sum(under_way.values())


def test_a_new_endpoint_finds_a_slot_beside_thousands_of_dead_ones() -> None:
    """The dead share what is theirs; who was never tried has room of its own."""
    made = ready_set(endpoints=5_000)
    for row in range(4_990):
        prove(made, row, TIMEOUT)

    first = take(made)

    # Those that nobody has tried go first, and the dead have their share, one each.
    assert [first[row] for row in range(4_990, 5_000)] == [2] * 10
    assert sum(first.values()) == 20 + Limits().failing
    assert take(made) == {}
    made.note_due(9_999, 0)
    made.promote(0)
    assert take(made) == {9_999: 2}


def test_the_dead_take_turns() -> None:
    """Every dead endpoint is tried in its turn, however many there are."""
    made = ready_set(Limits(failing=10), endpoints=100)
    for row in range(100):
        prove(made, row, TIMEOUT)
    tried: set[int] = set()
    for _ in range(10):
        slots = take(made)
        tried |= slots.keys()
        for row, count in slots.items():
            for _ in range(count):
                made.end(row, TIMEOUT)

    assert len(tried) == 100


def test_slots_come_in_few_sizes() -> None:
    """A claim makes a statement for each distinct count: where there are many, they become powers of two."""
    made = ready_set(Limits(in_flight=2_000), endpoints=13)
    for row in range(13):
        prove(made, row, times=62)
        for _ in range(5 * row):
            made.begin(row)

    many = made.free_slots()
    for row in range(3, 13):
        made.claimed({row: many[row]}, {row: None})
    few = made.free_slots()

    assert many == {row: 1 << ((64 - 5 * row).bit_length() - 1) for row in range(13)}
    assert few == {0: 64, 1: 59, 2: 54}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of endpoints without work so many windows are remembered, those used last; of untried ones nothing."""
    monkeypatch.setattr(ready, "REMEMBERED", 100)
    made = ReadySet(Limits())
    for row in range(1_000):
        made.note_due(row, 0)
        made.promote(0)
        slots = made.free_slots()
        made.claimed(slots, dict.fromkeys(slots))
        if row % 2:
            prove(made, row)

    assert len(made._endpoints) == 0
    assert len(made._windows) == 100
    assert made.proven == 100
    assert 999 in made._windows


def test_what_waits_for_a_token_is_not_asked_before() -> None:
    """Whatever a discovery says; until the clock is set back, which forgets all times."""
    made = ready_set(endpoints=1)
    made.claimed(made.free_slots(), {0: 5}, {0: 1_000})

    made.note_due(0, 0)
    made.promote(999)

    assert (made.free_slots(), made.next_ms()) == ({}, 1_000)
    made.forget_times()
    made.note_due(0, 0)
    made.promote(0)
    assert made.free_slots() == {0: 2}


def test_one_that_is_ready_costs_no_more_than_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing looks at those that can be chosen: ten thousand dead endpoints are not walked through every round."""
    made = ready_set(endpoints=10_000)
    for row in range(10_000):
        prove(made, row, TIMEOUT)
    while take(made):
        pass
    made.note_due(10_001, 0)
    made.promote(0)
    looked: list[object] = []
    real = ReadySet._allowed
    monkeypatch.setattr(ReadySet, "_allowed", lambda self, endpoint: looked.append(endpoint) or real(self, endpoint))  # type: ignore[func-returns-value]

    slots = made.free_slots()

    assert slots == {10_001: 2}
    assert len(looked) == 1

"""What every database must do for the delivery loop: no delivery claimed twice, none settled by a late worker."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hookline.rules.health import Health
from hookline.rules.lifecycle import Next
from hookline.rules.rotation import Overlap
from hookline.sender.delivery_store import Claimed, DeliveryStore, EndpointState, Settlement
from hookline.sender.model import Attempt, Endpoint
from hookline.sender.store import SenderStore
from hookline.storage import Connection, Database
from hookline.storage.migrate import migrate
from hookline.storage.postgres import PostgresDatabase
from hookline.storage.sqlite import SqliteDatabase

NOW_MS = 1_764_000_000_000
LEASE_MS = 30_000
MARGIN_MS = 10_000


def opened(url: str) -> Database:
    """The database anew, as another process would open it."""
    if url.startswith("sqlite"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return PostgresDatabase(url)


@dataclass
class World:
    """One database, opened as often as a test wants, and short ways to fill and read it."""

    opens: Callable[[], Database]
    database: Database
    opened: list[Database] = field(default_factory=list)
    deliveries: int = 0

    def __post_init__(self) -> None:
        self.store = SenderStore(self.database.dialect)
        self.verbs = DeliveryStore(self.database.dialect)

    def another(self) -> Database:
        self.opened.append(self.opens())
        return self.opened[-1]

    def add_endpoint(self, name: str) -> int:
        def work(connection: Connection) -> int:
            self.store.add_endpoint(
                connection,
                endpoint_id=f"we_{name}",
                environment="production",
                url=f"https://{name}.example.com/",
                events=["*"],
                description=None,
                secret_enc=f"sealed {name}",
                now_ms=NOW_MS,
            )
            endpoint = self.store.endpoint(connection, "production", f"we_{name}")
            assert endpoint is not None
            return endpoint.row_id

        return self.database.run(work)

    def add_deliveries(self, endpoint_row: int, due_ms: Sequence[int]) -> list[str]:
        numbers = range(self.deliveries, self.deliveries + len(due_ms))
        self.deliveries += len(due_ms)

        def work(connection: Connection) -> None:
            events = self.store.add_events(
                connection,
                [
                    {
                        "id": f"event_{number:05}",
                        "environment": "production",
                        "type": "dsync.user.created",
                        "organization_id": None,
                        "body": b'{"n":%d}' % number,
                        "created_ms": NOW_MS,
                        "now_ms": NOW_MS,
                    }
                    for number in numbers
                ],
            )
            self.store.add_deliveries(
                connection,
                [
                    {
                        "id": f"delivery_{number:05}",
                        "environment": "production",
                        "event_row": events[f"event_{number:05}"],
                        "endpoint_row": endpoint_row,
                        "origin": "published",
                        "state": "pending",
                        "due_ms": due,
                        "reason": None,
                        "now_ms": NOW_MS,
                    }
                    for number, due in zip(numbers, due_ms, strict=True)
                ],
            )

        self.database.run(work)
        return [f"delivery_{number:05}" for number in numbers]

    def claim(
        self, slots: Mapping[int, int], *, now_ms: int = NOW_MS, database: Database | None = None
    ) -> list[Claimed]:
        return (database or self.database).run(
            lambda connection: self.verbs.claim(
                connection, slots, now_ms=now_ms, timeout_ms=LEASE_MS - MARGIN_MS, margin_ms=MARGIN_MS
            )
        )

    def settle(self, claimed: Claimed, decided: Next) -> bool:
        moved = self.database.run(
            lambda connection: self.verbs.settle(
                connection, [Settlement(claimed, decided, claimed.attempt)], now_ms=NOW_MS
            )
        )
        return moved == {claimed.row_id}

    def state(self, delivery_id: str) -> tuple[str, int]:
        with self.database.read() as connection:
            delivery = self.store.delivery(connection, "production", delivery_id)
        assert delivery is not None
        return delivery.state, delivery.attempt


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    def opens() -> Database:
        return opened(database_url)

    database = opens()
    migrate(database, "sender", "hookline.sender")
    world = World(opens, database)
    yield world
    for other in [*world.opened, database]:
        other.close()


def ids(claimed: Sequence[Claimed]) -> list[str]:
    return [one.id for one in claimed]


def test_claims_what_is_due_up_to_the_slots(world: World) -> None:
    """Of each endpoint at most its slots, oldest due first, and nothing that is due later."""
    one, two = world.add_endpoint("one"), world.add_endpoint("two")
    of_one = world.add_deliveries(one, [NOW_MS - 1, NOW_MS - 3, NOW_MS - 2])
    of_two = world.add_deliveries(two, [NOW_MS, NOW_MS + 1])

    claimed = world.claim({one: 2, two: 5})

    assert sorted(ids(claimed)) == [of_one[1], of_one[2], of_two[0]]


def test_claim_brings_what_an_attempt_needs(world: World) -> None:
    """A claim carries the event's bytes, the endpoint's URL, secret and version, and counts the attempt."""
    row = world.add_endpoint("one")
    [delivery_id] = world.add_deliveries(row, [NOW_MS])

    [claimed] = world.claim({row: 1})

    assert (claimed.id, claimed.attempt, claimed.first_ms, claimed.claimed_ms) == (delivery_id, 1, NOW_MS, NOW_MS)
    assert (claimed.event.body, claimed.endpoint.url) == (b'{"n":0}', "https://one.example.com/")
    assert (claimed.endpoint.secret_enc, claimed.endpoint.version, claimed.kind) == ("sealed one", 1, "scheduled")
    assert world.state(delivery_id) == ("running", 1)


def test_claim_keeps_the_first_attempts_time(world: World) -> None:
    """The schedule counts from the first attempt: a later claim leaves its time alone."""
    row = world.add_endpoint("one")
    world.add_deliveries(row, [NOW_MS])
    [first] = world.claim({row: 1})
    world.settle(first, Next("pending", NOW_MS + 5_000, "status_500", 1))

    [second] = world.claim({row: 1}, now_ms=NOW_MS + 6_000)

    assert (second.attempt, second.first_ms, second.claimed_ms) == (2, NOW_MS, NOW_MS + 6_000)
    assert second.slots_used == 1


@pytest.mark.parametrize("how", ["paused", "disabled", "deleted"])
def test_closed_endpoint_is_not_claimed(world: World, how: str) -> None:
    """What still waits for an endpoint that is off, paused or deleted is not claimed: it is discovered as that, and
    held or canceled.
    """
    row = world.add_endpoint("one")

    def close(connection: Connection) -> None:
        endpoint = world.store.endpoint(connection, "production", "we_one")
        assert endpoint is not None
        if how == "paused":
            world.store.pause_endpoint(connection, endpoint, now_ms=NOW_MS)
        elif how == "disabled":
            world.store.change_endpoint(connection, endpoint, status="disabled", now_ms=NOW_MS)
        else:
            world.store.delete_endpoint(connection, "production", "we_one", now_ms=NOW_MS)

    world.database.run(close)
    # A race: a delivery made by a publisher that saw the endpoint open.
    world.add_deliveries(row, [NOW_MS])

    claimed = world.claim({row: 5})

    assert claimed == []
    with world.database.read() as connection:
        discovery = world.verbs.discover(connection)
        assert (discovery.endpoints, discovery.closed) == ([], (row,))
        assert world.verbs.next_due(connection, [row]) == {}
        [(found, state)] = world.verbs.states(connection, [row]).items()
    assert (found, state.target) == (row, "deleted" if how == "deleted" else "holding")

    open_row = world.add_endpoint("open")
    world.add_deliveries(open_row, [NOW_MS])

    def close_both(connection: Connection) -> list[int]:
        return [world.store.close_some(connection, one, limit=9, now_ms=NOW_MS) for one in (row, open_row)]

    assert world.database.run(close_both) == [1, 0]
    with world.database.read() as connection:
        sql = "select state, reason from hookline_sender_deliveries order by row_id"
        closed, kept = connection.execute(sql).fetchall()
        assert world.verbs.discover(connection).closed == ()
    assert closed == ("canceled" if how == "deleted" else "held", f"endpoint_{how}")
    assert kept == ("pending", None)


def test_late_worker_overwrites_nothing(world: World) -> None:
    """Once an attempt was taken over, the one who made it first settles nothing."""
    row = world.add_endpoint("one")
    [delivery_id] = world.add_deliveries(row, [NOW_MS])
    [late] = world.claim({row: 1})
    world.settle(late, Next("pending", NOW_MS, "unknown", 0, 1))
    [current] = world.claim({row: 1})

    was_late_settled = world.settle(late, Next("failed", None, "exhausted", 1))
    was_current_settled = world.settle(current, Next("succeeded", None, "status_200", 1))

    assert (was_late_settled, was_current_settled) == (False, True)
    assert world.state(delivery_id) == ("succeeded", 2)


def test_settled_only_once(world: World) -> None:
    """The same settlement given twice moves a delivery once."""
    row = world.add_endpoint("one")
    world.add_deliveries(row, [NOW_MS])
    [claimed] = world.claim({row: 1})

    outcomes = [world.settle(claimed, Next("succeeded", None, "status_200", 1)) for _ in range(2)]

    assert outcomes == [True, False]


def test_settles_many_at_once(world: World) -> None:
    """One call moves many deliveries, each to its own state, and says which were moved."""
    row = world.add_endpoint("one")
    made = world.add_deliveries(row, [NOW_MS] * 70)
    claimed = world.claim({row: 100})
    world.settle(claimed[3], Next("canceled", None, "gone already"))
    settlements = [
        Settlement(one, Next("pending", NOW_MS + one.row_id, "status_500", 1), one.attempt) for one in claimed
    ]

    moved = world.database.run(lambda c: world.verbs.settle(c, settlements, now_ms=NOW_MS))

    assert moved == {one.row_id for one in claimed} - {claimed[3].row_id}
    assert [world.state(delivery_id)[0] for delivery_id in made].count("pending") == 69


def test_lapsed_leases_are_found(world: World) -> None:
    """A running delivery is found once its lease has passed, not before; settled ones never."""
    row = world.add_endpoint("one")
    world.add_deliveries(row, [NOW_MS, NOW_MS])
    lost, done = world.claim({row: 2})
    world.settle(done, Next("succeeded", None, "status_200", 1))

    with world.database.read() as connection:
        early = world.verbs.lapsed(connection, now_ms=NOW_MS + LEASE_MS - 1, limit=10)
        late = world.verbs.lapsed(connection, now_ms=NOW_MS + LEASE_MS, limit=10)
        discovery = world.verbs.discover(connection)

    assert early == []
    assert [one.row_id for one in late] == [lost.row_id]
    assert discovery.lease_ms == NOW_MS + LEASE_MS


def test_discovery_finds_each_endpoint_with_its_earliest_time(world: World) -> None:
    """Discovery agrees with a plain scan of everything that is pending."""
    draw = random.Random(5)
    expected: dict[int, int] = {}
    for number in range(12):
        row = world.add_endpoint(f"e{number}")
        due = [NOW_MS + draw.randrange(-5_000, 5_000) for _ in range(draw.randrange(0, 6))]
        if due:
            world.add_deliveries(row, due)
            expected[row] = min(due)

    with world.database.read() as connection:
        discovery = world.verbs.discover(connection)
        next_due = world.verbs.next_due(connection, list(range(30)))

    assert sorted(discovery.endpoints) == [(row, due_ms, False) for row, due_ms in sorted(expected.items())]
    assert {row: one.due_ms for row, one in next_due.items()} == expected
    assert not any(one.is_gated for one in next_due.values())
    assert discovery.lease_ms is None


def test_nothing_is_discovered_in_an_empty_database(world: World) -> None:
    """Without deliveries there is no endpoint and no lease."""
    with world.database.read() as connection:
        discovery = world.verbs.discover(connection)

    assert (list(discovery.endpoints), discovery.lease_ms, discovery.has_unfed) == ([], None, False)


def test_attempt_is_recorded_once(world: World) -> None:
    """Of two records of one attempt the first stands."""
    first = Attempt(1, 1, "scheduled", "unknown", None, None, NOW_MS, None, "{}")
    second = Attempt(1, 1, "scheduled", "succeeded", None, 200, NOW_MS, 5, "{}")

    world.database.run(lambda connection: world.verbs.record(connection, [first]))
    world.database.run(lambda connection: world.verbs.record(connection, [second]))

    with world.database.read() as connection:
        assert world.store.attempts(connection, 1) == [first]


def test_gone_endpoint_is_turned_off_once(world: World) -> None:
    """410 disables an open endpoint, with its reason; a second one finds it off."""
    row = world.add_endpoint("one")

    answers = [
        world.database.run(lambda connection: world.verbs.turn_off(connection, row, reason="gone", now_ms=NOW_MS))
        for _ in range(2)
    ]

    with world.database.read() as connection:
        endpoint = world.store.endpoint(connection, "production", "we_one")
    assert answers == [True, False]
    assert endpoint is not None
    assert (endpoint.status, endpoint.disabled_reason, endpoint.version) == ("disabled", "gone", 2)


@pytest.mark.parametrize("seed", range(4))
def test_claim_race_in_drawn_order(world: World, seed: int) -> None:
    """Four stores that take turns in a drawn order, with retries between, claim each attempt once."""
    draw = random.Random(seed)
    rows = [world.add_endpoint(f"e{number}") for number in range(5)]
    made = {delivery_id for row in rows for delivery_id in world.add_deliveries(row, [NOW_MS] * 30)}
    stores = [world.another() for _ in range(4)]
    attempts_seen: set[tuple[str, int]] = set()
    in_hand: list[list[Claimed]] = [[] for _ in stores]
    succeeded: set[str] = set()

    for _ in range(2_000):
        if len(succeeded) == len(made):
            break
        worker = draw.randrange(4)
        if draw.random() < 0.6:
            slots = {row: draw.randrange(1, 4) for row in draw.sample(rows, draw.randrange(1, 6))}
            claimed = world.claim(slots, database=stores[worker])
            keys = [(one.id, one.attempt) for one in claimed]
            assert len(set(keys)) == len(keys)
            assert not attempts_seen & set(keys)
            attempts_seen |= set(keys)
            in_hand[worker] += claimed
        elif in_hand[worker]:
            one = in_hand[worker].pop(draw.randrange(len(in_hand[worker])))
            is_success = draw.random() < 0.7
            decided = (
                Next("succeeded", None, "status_200", 1) if is_success else Next("pending", NOW_MS, "status_500", 1)
            )
            assert world.settle(one, decided)
            if is_success:
                assert one.id not in succeeded
                succeeded.add(one.id)

    assert succeeded == made


def test_claim_race_in_threads(world: World) -> None:
    """Four threads, each with a database of its own, claim everything, and nothing twice."""
    rows = [world.add_endpoint(f"e{number}") for number in range(4)]
    made = sorted(delivery_id for row in rows for delivery_id in world.add_deliveries(row, [NOW_MS] * 100))
    claimed: list[list[str]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def work(worker: int, database: Database) -> None:
        verbs = DeliveryStore(database.dialect)
        start.wait()
        while True:
            got = database.run(
                lambda connection: verbs.claim(
                    connection,
                    dict.fromkeys(rows, 3),
                    now_ms=NOW_MS,
                    timeout_ms=LEASE_MS - MARGIN_MS,
                    margin_ms=MARGIN_MS,
                )
            )
            if not got:
                return
            claimed[worker] += ids(got)

    threads = [threading.Thread(target=work, args=(worker, world.another())) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(delivery_id for mine in claimed for delivery_id in mine) == made


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_statements_use_their_indexes(world: World) -> None:
    """No statement of the loop walks the deliveries: each reaches them by key or by a partial index."""
    plans: list[str] = []
    with world.database.transaction() as connection:
        connection.set_trace_callback(lambda sql: statements.append(sql))
        statements: list[str] = []
        row = 1
        world.verbs.claim(connection, {row: 5}, now_ms=NOW_MS, timeout_ms=1, margin_ms=1)
        world.verbs.lapsed(connection, now_ms=NOW_MS, limit=5)
        world.verbs.next_due(connection, [row])
        world.verbs.discover(connection)
        world.store.feed_missing(connection)
        connection.set_trace_callback(None)
        for sql in statements:
            plans += [step[3] for step in connection.execute("explain query plan " + sql)]

    touching = [plan for plan in plans if "hookline_sender_deliveries" in plan or plan.startswith(("SCAN q", "SCAN d"))]
    assert len(statements) == 5
    # Discovery steps through a table e of its own; the events' e in feed_missing is only searched.
    assert [plan for plan in plans if plan == "SCAN e" or "SCAN hookline_sender_events" in plan] == ["SCAN e"] * 2
    assert [plan for plan in touching if plan.startswith("SCAN")] == []
    assert sum("hookline_sender_deliveries_due" in plan for plan in plans) >= 4
    assert any("hookline_sender_deliveries_leased" in plan for plan in plans)


# -- what stands before a claim, and what a settlement says of an endpoint ---------------------------------------------


def gate(world: World, row: int, **columns: object) -> None:
    """Write columns of an endpoint."""
    for name, value in columns.items():
        shown = "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
        with world.database.transaction() as connection:
            connection.cursor().execute(f"update hookline_sender_endpoints set {name} = {shown} where row_id = {row}")


def endpoint_of(world: World, name: str) -> Endpoint:
    with world.database.read() as connection:
        endpoint = world.store.endpoint(connection, "production", f"we_{name}")
    assert endpoint is not None
    return endpoint


def test_a_lease_lasts_as_long_as_its_attempt_may(world: World) -> None:
    """The endpoint's own timeout, twice that while another secret may be probed, and the margin."""
    rows = {name: world.add_endpoint(name) for name in ("plain", "slow", "rotating", "rotated")}
    gate(world, rows["slow"], timeout_ms=30_000)
    gate(world, rows["rotating"], old_secret_enc="old", old_secret_until_ms=NOW_MS + 1)
    gate(world, rows["rotated"], old_secret_enc="old", old_secret_until_ms=NOW_MS)
    made = {name: world.add_deliveries(row, [NOW_MS])[0] for name, row in rows.items()}

    claimed = world.claim(dict.fromkeys(rows.values(), 1))

    assert len(claimed) == 4
    leases = {}
    with world.database.read() as connection:
        for name, delivery_id in made.items():
            delivery = world.store.delivery(connection, "production", delivery_id)
            assert delivery is not None
            assert delivery.leased_until_ms is not None
            leases[name] = delivery.leased_until_ms - NOW_MS
    assert leases == {"plain": LEASE_MS, "slow": 40_000, "rotating": 2 * LEASE_MS - MARGIN_MS, "rotated": LEASE_MS}


@pytest.mark.parametrize("columns", [{"rate_limit_per_min": 60}, {"is_half_open": 1}])
def test_gated_endpoints_are_claimed_from_apart(world: World, columns: dict[str, object]) -> None:
    """With a rate limit or half open only who took the bucket or the trial gets something, and it is said why."""
    row, other = world.add_endpoint("one"), world.add_endpoint("two")
    gate(world, row, **columns)
    world.add_deliveries(row, [NOW_MS])
    world.add_deliveries(other, [NOW_MS])

    plain = world.claim({row: 1, other: 1})
    with world.database.read() as connection:
        due = world.verbs.next_due(connection, [row])
    gated = world.database.run(
        lambda c: world.verbs.claim(c, {row: 1, other: 1}, now_ms=NOW_MS, timeout_ms=1, margin_ms=1, is_gated=True)
    )

    assert [one.endpoint.row_id for one in plain] == [other]
    assert (due[row].is_gated, due[row].due_ms) == (True, NOW_MS)
    assert (due[row].rate_limit_per_min, due[row].is_half_open) == (
        columns.get("rate_limit_per_min"),
        "is_half_open" in columns,
    )
    assert [one.endpoint.row_id for one in gated] == [row]


def test_buckets_are_kept(world: World) -> None:
    """A bucket never used is full since ever; what is written is read by the next."""
    rows = [world.add_endpoint(f"e{number}") for number in range(3)]

    first = world.database.run(lambda c: world.verbs.lock_buckets(c, rows))
    world.database.run(lambda c: world.verbs.put_buckets(c, {rows[0]: 7, rows[2]: 9}))
    again = world.another().run(lambda c: world.verbs.lock_buckets(c, rows))

    assert first == dict.fromkeys(rows, 0)
    assert again == {rows[0]: 7, rows[1]: 0, rows[2]: 9}


def test_a_bucket_is_locked_until_the_commit(world: World) -> None:
    """Eight threads, each with a database of its own, take one token at a time: none is taken twice, none lost."""
    row = world.add_endpoint("one")
    databases = [world.another() for _ in range(8)]

    def take(database: Database) -> None:
        def work(connection: Connection) -> None:
            found = world.verbs.lock_buckets(connection, [row])
            world.verbs.put_buckets(connection, {row: found[row] + 1})

        for _ in range(10):
            database.run(work)

    threads = [threading.Thread(target=take, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert world.database.run(lambda c: world.verbs.lock_buckets(c, [row])) == {row: 80}


def test_one_holds_a_trial(world: World) -> None:
    """Until it is given back or its lease passes; one taken while the clock stood far ahead is free."""
    row, closed = world.add_endpoint("one"), world.add_endpoint("two")
    gate(world, row, is_half_open=1)
    other = world.another()

    def begin(database: Database, now_ms: int) -> set[int]:
        return database.run(
            lambda c: world.verbs.begin_trials(c, [row, closed], now_ms=now_ms, until_ms=now_ms + LEASE_MS)
        )

    taken = [begin(world.database, NOW_MS), begin(other, NOW_MS + LEASE_MS - 1), begin(other, NOW_MS + LEASE_MS)]
    world.database.run(lambda c: world.verbs.end_trials(c, [row]))
    taken.append(begin(world.database, NOW_MS + LEASE_MS))
    taken.append(begin(world.database, NOW_MS - 10 * LEASE_MS))

    assert taken == [{row}, set(), {row}, {row}, {row}]


def test_health_is_added_up_and_forgotten(world: World) -> None:
    """Failures add to those there, their beginning stays; a warning is given once; recovering forgets all of it."""
    row, well = world.add_endpoint("one"), world.add_endpoint("two")
    run = world.database.run

    run(lambda c: world.verbs.add_failures(c, [(row, NOW_MS, 2)]))
    run(lambda c: world.verbs.add_failures(c, [(row, NOW_MS + 5, 3)]))
    warned = [run(lambda c, at=at: world.verbs.warn(c, row, at)) for at in (50, 50, 80, 50)]  # type: ignore[misc]
    with world.database.read() as connection:
        states = world.verbs.states(connection, [row, well])
    run(lambda c: world.verbs.add_failures(c, [(row, NOW_MS - 9, 1)]))
    earlier = endpoint_of(world, "one")
    run(lambda c: world.verbs.recover(c, [row]))
    after = endpoint_of(world, "one")

    assert warned == [True, False, True, False]
    assert states == {row: EndpointState("open", Health(NOW_MS, 5, 80))}
    # A beginning that lies ahead of a failure was written before the clock was set back.
    assert (earlier.failing_since_ms, earlier.failing_attempts) == (NOW_MS - 9, 6)
    assert (after.failing_since_ms, after.failing_attempts, after.failing_warned) == (None, 0, 0)


def test_probes_are_noted_unless_the_secret_was_changed(world: World) -> None:
    """What was learned about one pair of secrets says nothing about the next one."""
    row = world.add_endpoint("one")
    world.database.run(
        lambda c: world.store.rotate_secret(
            c, row, secret_enc="new", old_secret_enc="sealed one", old_secret_until_ms=NOW_MS + 9, now_ms=NOW_MS
        )
    )
    learned = Overlap(NOW_MS + 9, signs_with_old=False, failures=2, probe_after_ms=None)

    world.database.run(lambda c: world.verbs.note_probes(c, {(row, "new"): learned}))
    noted = endpoint_of(world, "one")
    late = Overlap(NOW_MS + 9, signs_with_old=True, failures=3, probe_after_ms=NOW_MS)
    world.database.run(lambda c: world.verbs.note_probes(c, {(row, "sealed one"): late}))
    unchanged = endpoint_of(world, "one")
    with world.database.read() as connection:
        secrets = world.verbs.secrets(connection, row)
        overlap_ms = world.verbs.discover(connection).overlap_ms
    dropped = [
        world.database.run(lambda c, at=at: world.verbs.drop_old_secrets(c, now_ms=at))  # type: ignore[misc]
        for at in (NOW_MS + 8, NOW_MS + 9)
    ]

    assert (noted.signs_with_old, noted.probe_failures, noted.probe_after_ms) == (False, 2, None)
    assert unchanged == noted
    assert secrets == ("new", "sealed one")
    assert overlap_ms == NOW_MS + 9
    assert dropped == [0, 1]
    assert endpoint_of(world, "one").old_secret_enc is None


def test_what_was_written_ahead_comes_back(world: World) -> None:
    """Waiting deliveries move by as much as the clock, leases shrink to the longest there is, the rest stays."""
    row, other = world.add_endpoint("one"), world.add_endpoint("two")
    ahead_ms = NOW_MS + 86_400_000
    [retried] = world.add_deliveries(row, [NOW_MS])
    [claimed] = world.claim({row: 1}, now_ms=ahead_ms)
    world.database.run(
        lambda c: world.verbs.settle(
            c, [Settlement(claimed, Next("pending", ahead_ms + 190_000, "status_500", 1), 1)], now_ms=ahead_ms
        )
    )
    [later] = world.add_deliveries(row, [NOW_MS + 500_000])
    [running] = world.add_deliveries(other, [NOW_MS])
    world.claim({other: 1}, now_ms=ahead_ms)

    moved = world.database.run(
        lambda c: world.verbs.come_back(
            c, [row, other], now_ms=NOW_MS, latest_ms=NOW_MS + 60_000, longest_ms=NOW_MS + 100_000
        )
    )

    with world.database.read() as connection:
        found = [world.store.delivery(connection, "production", one) for one in (retried, later, running)]
    assert moved == 1
    assert [(one.due_ms, one.first_ms, one.leased_until_ms) for one in found if one is not None] == [
        (NOW_MS + 190_000, NOW_MS, None),
        (NOW_MS + 500_000, None, None),
        (None, ahead_ms, NOW_MS + 100_000),
    ]

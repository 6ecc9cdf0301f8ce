"""Rotating a secret under a real loop: consumers that know one key, then both, then the other; nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import pytest

from hookline.errors import InvalidSignature
from hookline.rules.rotation import PROBE_PAUSE_MS
from hookline.sender.http import Answer, Request
from hookline.sender.model import Endpoint
from hookline.sender.rotation import revoke_old_secret, rotate_secret
from hookline.sender.secrets import SecretBox
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock
from hookline.wire.signature import verify_signature
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import SECRET, Scripted, World, a_deliverer, an_answer, run, running, turn_until, until
from tests.sender.test_deliver_headers import set_endpoint

DAY_S = 86_400


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock, box: SecretBox) -> World:
    world = World(database, store, clock)
    world.add_endpoint()
    set_endpoint(world, secret_enc=box.seal(SECRET))
    return world


def rotate(world: World, box: SecretBox, overlap_s: int = DAY_S) -> str:
    now_ms = world.clock.now_ms()
    rotated: Endpoint = world.database.run(
        lambda connection: rotate_secret(
            connection, world.store, box, "production", "we_one", overlap_s=overlap_s, now_ms=now_ms
        )
    )
    return box.open(rotated.secret_enc)


def revoke(world: World) -> None:
    now_ms = world.clock.now_ms()
    world.database.run(
        lambda connection: revoke_old_secret(connection, world.store, "production", "we_one", now_ms=now_ms)
    )


@dataclass
class Consumer:
    """Instances behind one URL that take turns, each with the secrets it knows; `refusal` is what they say to others.

    `seen` holds which secret signed each request, by the names given to `names`.
    """

    clock: TurnedClock
    names: dict[str, str]
    instances: list[Collection[str]]
    refusal: int = 401
    seen: list[str] = field(default_factory=list)
    taken: set[bytes] = field(default_factory=set)
    calls: int = 0

    async def __call__(self, request: Request) -> Answer:
        known = list(self.instances[self.calls % len(self.instances)])
        self.calls += 1
        header = dict(request.headers)["WorkOS-Signature"]
        self.seen.append(self._signer(request.body, header))
        try:
            verify_signature(request.body, header, known, tolerance_s=180, now_ms=self.clock.now_ms())
        except InvalidSignature:
            return an_answer(self.refusal)
        self.taken.add(request.body)
        return an_answer()

    def _signer(self, body: bytes, header: str) -> str:
        for secret, name in self.names.items():
            try:
                verify_signature(body, header, [secret], tolerance_s=None, now_ms=self.clock.now_ms())
            except InvalidSignature:
                continue
            return name
        raise AssertionError("signed with a secret that nobody knows")


async def deliver(world: World, box: SecretBox, consumer: Callable[..., object], wanted: dict[str, int]) -> None:
    async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):  # type: ignore[arg-type]
        await turn_until(world, lambda: world.states() == wanted, f"{wanted}")


@pytest.mark.parametrize("refusal", [400, 401, 403, 422, 500])
def test_a_consumer_moves_from_the_old_secret_to_the_new(world: World, box: SecretBox, refusal: int) -> None:
    """It knows the old one, then both, then only the new one: everything arrives at the first try, probe included."""
    new = rotate(world, box)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[SECRET]], refusal)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):
            for count, known in enumerate(([SECRET], [SECRET, new], [new], [new]), start=1):
                consumer.instances = [known]
                world.publish()
                await until(
                    lambda wanted=count: world.states() == {"succeeded": wanted},  # type: ignore[misc]
                    "the delivery",
                )

    run(work())

    # The old one until it is refused, then once more with the new one, which goes first from then on.
    assert consumer.seen == ["old", "old", "old", "new", "new"]
    first, second = world.attempts("delivery_2")
    assert [(one.number, one.kind, one.outcome, one.status) for one in (first, second)] == [
        (1, "scheduled", "failed", refusal),
        (2, "probe", "succeeded", 200),
    ]
    assert [json.loads(one.evidence)["signed_with"] for one in (first, second)] == ["old", "new"]
    moved = world.delivery("delivery_2")
    assert (moved.attempt, moved.slots_used, moved.state) == (2, 1, "succeeded")
    assert not world.endpoint().signs_with_old


def test_a_consumer_that_moves_back(world: World, box: SecretBox) -> None:
    """A release that was rolled back knows the old secret again: it goes first again after one probe."""
    new = rotate(world, box)
    set_endpoint(world, signs_with_old=0)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[SECRET]])
    world.publish()

    run(deliver(world, box, consumer, {"succeeded": 1}))

    assert consumer.seen == ["new", "old"]
    assert world.endpoint().signs_with_old


def test_two_instances_behind_one_url(world: World, box: SecretBox) -> None:
    """One knows the old secret and one the new, taking turns for an hour; then both know the new one: nothing lost."""
    new = rotate(world, box)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[SECRET], [new]], 500)
    world.publish(count=60)

    def is_done() -> bool:
        if world.clock.now_ms() > NOW_MS + 3_600_000:
            consumer.instances = [[new]]
        return world.states() == {"succeeded": 60}

    async def work() -> None:
        async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):
            await turn_until(world, is_done, "all of them")

    run(work())

    assert len(consumer.taken) == 60
    assert world.clock.now_ms() < NOW_MS + DAY_S * 1000  # within the overlap


def test_one_delivery_before_two_instances_that_take_turns(world: World, box: SecretBox) -> None:
    """An attempt and its probe that both meet the wrong instance would do so for ever: a retry begins the other way."""
    new = rotate(world, box)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[new], [SECRET]], 401)
    [delivery_id] = world.publish()

    run(deliver(world, box, consumer, {"succeeded": 1}))

    assert consumer.seen == ["old", "new", "new"]
    assert [one.kind for one in world.attempts(delivery_id)] == ["scheduled", "probe", "scheduled"]
    assert world.delivery(delivery_id).slots_used == 2


def test_the_last_attempt_within_the_overlap_is_probed_twice(world: World, box: SecretBox) -> None:
    """Others use up the probes of each minute, and each attempt meets the instance that does not know its key: the one
    before the overlap's end is repeated until it meets the instance that does.
    """
    new = rotate(world, box)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[new], [SECRET]])
    set_endpoint(world, rate_limit_per_min=60)
    [delivery_id] = world.publish()

    def pause_probes(at_ms: int) -> None:
        set_endpoint(world, probe_failures=3, probe_after_ms=at_ms + PROBE_PAUSE_MS, signs_with_old=1)

    async def work() -> None:
        pause_probes(NOW_MS)
        async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):
            for number in range(1, 7):
                await until(
                    lambda number=number: len(world.attempts(delivery_id)) >= number,  # type: ignore[misc]
                    "the attempt",
                )
                due_ms = world.next_ms()
                if due_ms is None:
                    return
                pause_probes(due_ms)
                consumer.calls = 0
                world.clock.set(due_ms)

    run(work())

    assert [one.kind for one in world.attempts(delivery_id)] == ["scheduled"] * 6 + ["probe"] * 2
    assert consumer.seen == ["old"] * 6 + ["new"] * 2
    delivery = world.delivery(delivery_id)
    assert (delivery.state, delivery.attempt, delivery.slots_used) == ("succeeded", 8, 6)
    # It has taken the new one, so that goes first, and probes are free again.
    endpoint = world.endpoint()
    assert (endpoint.signs_with_old, endpoint.probe_failures, endpoint.probe_after_ms) == (False, 0, None)
    with world.database.read() as connection:
        [[full_us]] = connection.execute("select full_us from hookline_sender_buckets")
    assert full_us == world.clock.now_ms() * 1_000 + 3 * 1_000_000  # three requests at one a second


def test_three_probes_in_a_row_and_then_one_a_minute(world: World, box: SecretBox) -> None:
    """A consumer that says 500 to everything costs a few requests more, not twice as many; retries go on."""
    new = rotate(world, box, overlap_s=7 * DAY_S)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [["whsec_other"]], 500)
    made = world.publish(count=8)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):
            await until(lambda: all(world.attempts(one) for one in made), "the first try of each")

    run(work())

    probes = [one for delivery_id in made for one in world.attempts(delivery_id) if one.kind == "probe"]
    # Two at a time are under way: of those that probe at once the count sees the end alone.
    assert 3 <= len(probes) <= 4
    endpoint = world.endpoint()
    assert (endpoint.probe_failures, endpoint.probe_after_ms) == (3, NOW_MS + PROBE_PAUSE_MS)
    assert world.states() == {"pending": 8}
    assert {world.delivery(one).slots_used for one in made} == {1}


def test_a_revoked_secret_signs_nothing_more(world: World, box: SecretBox) -> None:
    """Not first, and not as a probe of an attempt that was under way when it was revoked."""
    new = rotate(world, box)
    set_endpoint(world, signs_with_old=0)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [["whsec_other"]])

    async def revoke_meanwhile(request: Request) -> Answer:
        await asyncio.to_thread(revoke, world)
        return await consumer(request)

    made = world.publish(count=2)

    async def work() -> None:
        async with running(a_deliverer(world, Scripted(before=revoke_meanwhile), decrypt=box.open)):
            await until(lambda: all(world.attempts(one) for one in made), "both")

    run(work())

    assert consumer.seen == ["new", "new"]
    assert [len(world.attempts(one)) for one in made] == [1, 1]


def test_the_overlap_ends_by_itself(world: World, box: SecretBox) -> None:
    """At its end the old secret signs nothing more, and soon it is not kept either."""
    new = rotate(world, box, overlap_s=60)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[SECRET, new]])

    async def work() -> None:
        async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):
            world.publish()
            await until(lambda: world.states() == {"succeeded": 1}, "the first")
            world.clock.set(NOW_MS + 60_000)
            world.publish()
            await until(lambda: world.states() == {"succeeded": 2}, "the second")
            await until(lambda: world.endpoint().old_secret_enc is None, "the old secret dropped")

    run(work())

    assert consumer.seen == ["old", "new"]
    endpoint = world.endpoint()
    assert (endpoint.old_secret_until_ms, endpoint.signs_with_old) == (None, False)


def test_a_manual_retry_is_probed_and_spends_no_slot(world: World, box: SecretBox) -> None:
    """What a person asks for during a rotation may need the other key as well."""
    consumer = Consumer(world.clock, {SECRET: "old"}, [["whsec_other"]], 401)
    [delivery_id] = world.publish()

    async def work() -> None:
        async with running(a_deliverer(world, Scripted(before=consumer), decrypt=box.open)):
            await until(lambda: bool(world.attempts(delivery_id)), "the first try")
            new = rotate(world, box)
            consumer.names[new] = "new"
            consumer.instances = [[SECRET]]
            world.retry(delivery_id)
            await until(lambda: world.states() == {"succeeded": 1}, "the retry")

    run(work())

    # The second try of a delivery begins with the other key (rules/rotation.py).
    assert consumer.seen == ["old", "new", "old"]
    assert [one.kind for one in world.attempts(delivery_id)] == ["scheduled", "manual", "probe"]
    assert world.delivery(delivery_id).slots_used == 1


def test_a_death_in_a_probe_is_one_unknown_attempt(world: World, box: SecretBox) -> None:
    """The lease covers both requests; whoever takes over makes the attempt anew, and no slot is spent."""
    new = rotate(world, box)
    consumer = Consumer(world.clock, {SECRET: "old", new: "new"}, [[new]])
    [delivery_id] = world.publish()
    is_probing = asyncio.Event()

    async def hang_in_the_probe(request: Request) -> Answer:
        answer = await consumer(request)
        if consumer.seen[-1] == "new" and not is_probing.is_set():
            is_probing.set()
            await asyncio.Event().wait()
        return answer

    async def work() -> None:
        exchange = Scripted(before=hang_in_the_probe)
        task = asyncio.create_task(a_deliverer(world, exchange, decrypt=box.open).run(asyncio.Event()))
        await until(is_probing.is_set, "the probe")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert world.delivery(delivery_id).leased_until_ms == NOW_MS + 2 * 15_000 + 15_000
        world.clock.advance(45_000)
        async with running(a_deliverer(world, exchange, decrypt=box.open)):
            await turn_until(world, lambda: world.states() == {"succeeded": 1}, "it", past_leases=True)

    run(work())

    assert [(one.number, one.kind, one.outcome) for one in world.attempts(delivery_id)] == [
        (1, "scheduled", "unknown"),
        (2, "scheduled", "failed"),
        (3, "probe", "succeeded"),
    ]

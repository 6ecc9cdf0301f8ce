"""What a delivery says beside its body: Standard Webhooks, origin, trace, the endpoint's own headers and timeout."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hookline.sender.attempt import OPENED_KEPT, ORIGIN_HEADER, _keep
from hookline.sender.directories import Directories
from hookline.sender.ids import IdMaker
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.testing.clock import TurnedClock
from hookline.wire.standard import secret_form
from tests.sender.conftest import NOW_MS
from tests.sender.test_deliver import (
    SECRET,
    Scripted,
    World,
    a_deliverer,
    an_answer,
    deliver_all,
    run,
    running,
    until,
)

URL = "https://one.example.com/"


@pytest.fixture
def world(database: Database, store: SenderStore, clock: TurnedClock) -> World:
    return World(database, store, clock)


def set_endpoint(world: World, name: str = "one", **columns: object) -> None:
    """Write columns of an endpoint, as the registry's verbs do."""
    names = ", ".join(f"{column} = ?" for column in columns)
    with world.database.transaction() as connection:
        connection.execute(
            f"update hookline_sender_endpoints set {names} where id = ?", [*columns.values(), f"we_{name}"]
        )


def with_headers(*headers: Sequence[Any]) -> str:
    return "sealed:" + json.dumps(headers)


class FixedTime(Webhook):
    """The library's verifier, its clock apart: it reads the machine's, and ours is turned."""

    def _Webhook__verify_timestamp(self, timestamp_header: str) -> Any:  # noqa: N802  (its private name)
        import datetime as dt

        return dt.datetime.fromtimestamp(float(timestamp_header), tz=dt.UTC)


def test_standard_webhooks_library_verifies(world: World) -> None:
    """The `standardwebhooks` package takes a delivery with the form of the secret that is shown to users."""
    world.add_endpoint()
    set_endpoint(world, standard_webhooks=1)
    world.publish()
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    [request] = exchange.sent
    headers = dict(request.headers)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("event_0", str(NOW_MS // 1000))
    assert FixedTime(secret_form(SECRET)).verify(request.body, headers) == {"id": "event_0"}
    with pytest.raises(WebhookVerificationError):
        FixedTime(secret_form(SECRET + "x")).verify(request.body, headers)
    with pytest.raises(WebhookVerificationError):
        FixedTime(secret_form(SECRET)).verify(request.body + b" ", headers)


def test_during_a_rotation_both_secrets_verify(world: World) -> None:
    """The list of Standard Webhooks carries a signature for each secret; WorkOS's header the preferred one's alone."""
    world.add_endpoint()
    old = "whsec_" + "b" * 25
    set_endpoint(
        world,
        standard_webhooks=1,
        old_secret_enc="sealed:" + old,
        old_secret_until_ms=NOW_MS + 60_000,
        signs_with_old=1,
    )
    [delivery_id] = world.publish()
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    [request] = exchange.sent
    headers = dict(request.headers)
    for secret in (SECRET, old):
        FixedTime(secret_form(secret)).verify(request.body, headers)
    assert headers["WorkOS-Signature"].count("v1=") == 1
    shown = dict(json.loads(world.attempts(delivery_id)[0].evidence)["request"]["headers"])["webhook-signature"]
    assert [len(one) for one in shown.split(" ")] == [len("v1,") + 8 + 1] * 2
    assert not any(one in world.attempts(delivery_id)[0].evidence for one in headers["webhook-signature"].split(" "))


def test_without_asking_there_are_no_standard_headers(world: World) -> None:
    """WorkOS's header alone, as everybody gets it."""
    world.add_endpoint()
    world.publish()
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    assert [name for name, _ in exchange.sent[0].headers] == ["Content-Type", "User-Agent", "WorkOS-Signature"]


@pytest.mark.parametrize("origin", ["test", "replay"])
def test_tests_and_replays_are_marked(world: World, origin: str) -> None:
    """By a header; what was published is not."""
    world.add_endpoint()
    world.publish(count=2)
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_deliveries set origin = ? where id = 'delivery_1'", (origin,))
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 2}))

    marks = {request.body: dict(request.headers).get(ORIGIN_HEADER) for request in exchange.sent}
    assert marks == {b'{"id":"event_0"}': None, b'{"id":"event_1"}': origin}


def test_the_publishers_trace_goes_on(world: World) -> None:
    """`traceparent` as it was published; none where there was none."""
    world.add_endpoint()
    world.publish(count=2)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with world.database.transaction() as connection:
        connection.execute("update hookline_sender_events set traceparent = ? where id = 'event_1'", (trace,))
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 2}))

    traces = {request.body: dict(request.headers).get("traceparent") for request in exchange.sent}
    assert traces == {b'{"id":"event_0"}': None, b'{"id":"event_1"}': trace}


def test_an_event_of_the_sources_state_says_which_of_its_objects_it_is(world: World) -> None:
    """`Hookline-Object-Sequence`, of whoever wrote a directory; what others publish has none."""
    world.add_endpoint("one")
    world.publish()
    directories = Directories(world.database, world.store, clock=world.clock, ids=IdMaker())
    directory = directories.create_directory("production", organization_id=None, name="Staff")
    user = directories.create_user("production", directory.id, idp_id="1")
    directories.update_user("production", directory.id, user.id, first_name="Ada")
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 4}))

    sent = [
        (json.loads(request.body).get("event"), dict(request.headers).get("Hookline-Object-Sequence"))
        for request in exchange.sent
    ]
    assert set(sent) == {
        (None, None), ("dsync.activated", "1"), ("dsync.user.created", "1"), ("dsync.user.updated", "2")
    }  # fmt: skip


def test_own_headers_are_sent_and_the_sensitive_masked(world: World) -> None:
    """Marked ones and those that authenticate by nature are nowhere in the evidence, even where they are echoed."""
    world.add_endpoint()
    own = with_headers(
        ("X-Tenant", "acme", False), ("X-Secret", "very-private", True), ("Authorization", "Bearer hush", False)
    )
    set_endpoint(world, headers_enc=own)
    [delivery_id] = world.publish()
    exchange = Scripted({URL: [an_answer(headers=[("x-secret", "very-private")])]})

    run(deliver_all(world, exchange, {"succeeded": 1}))

    sent = dict(exchange.sent[0].headers)
    assert (sent["X-Tenant"], sent["X-Secret"], sent["Authorization"]) == ("acme", "very-private", "Bearer hush")
    evidence = world.attempts(delivery_id)[0].evidence
    assert "acme" in evidence
    assert "very-private" not in evidence
    assert "hush" not in evidence


def test_own_user_agent_stands_alone(world: World) -> None:
    """One User-Agent, the endpoint's where it has one."""
    world.add_endpoint()
    set_endpoint(world, headers_enc=with_headers(("user-agent", "Acme/1", False)))
    world.publish()
    exchange = Scripted()

    run(deliver_all(world, exchange, {"succeeded": 1}))

    agents = [value for name, value in exchange.sent[0].headers if name.lower() == "user-agent"]
    assert agents == ["Acme/1"]


def test_changed_headers_are_used_at_once(world: World) -> None:
    """What was opened for the last delivery is not what the next one sends."""
    world.add_endpoint()
    exchange = Scripted()

    async def work() -> None:
        async with running(a_deliverer(world, exchange)):
            for value in ("one", "two"):
                set_endpoint(world, headers_enc=with_headers(("X-V", value, False)))
                world.publish()
                await until(lambda wanted=value: any(("X-V", wanted) in r.headers for r in exchange.sent), "it")  # type: ignore[misc]

    run(work())


def test_own_timeout_and_its_lease(world: World) -> None:
    """The endpoint's timeout is that of the whole exchange, and a claim lasts as much longer."""
    world.add_endpoint("quick")
    world.add_endpoint("slow")
    set_endpoint(world, "quick", timeout_ms=2_000)
    set_endpoint(world, "slow", timeout_ms=30_000)
    quick, slow = world.publish("quick"), world.publish("slow")
    exchange = Scripted(hang={"https://quick.example.com/", "https://slow.example.com/"})

    async def work() -> None:
        async with running(a_deliverer(world, exchange, lease_margin_s=1, drain_timeout_s=0)):
            await until(lambda: len(exchange.sent) == 2, "both")

    run(work())

    timeouts = {request.url: (request.connect_timeout_s, request.total_timeout_s) for request in exchange.sent}
    assert timeouts == {"https://quick.example.com/": (2, 2), "https://slow.example.com/": (5, 30)}
    leases = [world.delivery(one).leased_until_ms for one in (*quick, *slow)]
    assert leases == [NOW_MS + 3_000, NOW_MS + 31_000]


def test_a_stop_waits_as_long_as_an_attempt_may_take(world: World) -> None:
    """Thirty seconds for an endpoint with such a timeout, twice that during a rotation."""
    world.add_endpoint()
    set_endpoint(world, timeout_ms=30_000)
    world.publish()
    exchange = Scripted(hang={URL})
    deliverer = a_deliverer(world, exchange)

    async def work() -> list[float]:
        waits = [deliverer._drain_s()]
        task = asyncio.create_task(deliverer.run(asyncio.Event()))
        await until(lambda: len(exchange.sent) == 1, "the attempt")
        waits.append(deliverer._drain_s())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return waits

    assert run(work()) == [20, 35]


def test_opened_secrets_are_forgotten_by_and_by() -> None:
    """Memory holds those used last, however many endpoints come and go."""
    kept: dict[int, Any] = {}
    for row in range(OPENED_KEPT + 50):
        _keep(kept, row, row, OPENED_KEPT)
        _keep(kept, 0, "again", OPENED_KEPT)

    assert len(kept) == OPENED_KEPT
    assert kept[0] == "again"
    assert 1 not in kept


def test_the_attempter_keeps_what_it_opens(world: World) -> None:
    """A secret is opened once, not once per delivery."""
    world.add_endpoint()
    world.publish(count=20)
    opened: list[str] = []

    def unseal(sealed: str) -> str:
        opened.append(sealed)
        return sealed.removeprefix("sealed:")

    run(deliver_all(world, Scripted(), {"succeeded": 20}, decrypt=unseal))

    assert opened == ["sealed:" + SECRET]

"""A source that signs by Standard Webhooks: from its door to the mirror and the handlers."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from hookline import ConfigError, Event, Receiver, Retention, Source
from hookline.receiver.retention import DAY_S
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import Signing

from .company import START_MS, Company

KEY = base64.b64encode(b"thirty-two bytes of a shared key").decode()
SECRET = f"whsec_{KEY}"
OTHER = "whsec_" + base64.b64encode(b"a key that nobody gave to anybody").decode()
KEPT = Retention(bodies_s=DAY_S, redacted_s=30 * DAY_S, ids_s=100 * DAY_S)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(START_MS)


@pytest.fixture
def hooks(database_url: str, clock: TurnedClock) -> Iterator[Receiver]:
    sources = [
        Source("foreign", [OTHER, SECRET], scheme="standard_webhooks", retention=KEPT, redact={"parcel.*": ["pin"]}),
        Source("workos", ["whsec_workos_0001"]),
    ]
    with Receiver(database_url, sources=sources, clock=clock) as hooks:
        yield hooks


def sent(clock: TurnedClock, body: bytes, event_id: str = "msg_1", secret: str = SECRET) -> dict[str, str]:
    """The headers as the foreign library makes them."""
    moment = dt.datetime.fromtimestamp(clock.now_ms() // 1000, dt.UTC)
    return {
        "Webhook-Id": event_id,
        "Webhook-Timestamp": str(clock.now_ms() // 1000),
        "Webhook-Signature": Webhook(secret).sign(event_id, moment, body.decode()),
    }


def post(hooks: Receiver, body: bytes, headers: dict[str, str], path: str = "/webhooks/foreign") -> tuple[int, bytes]:
    status, _, content = hooks.receive("POST", path, headers, body, "203.0.113.7")
    return status, content


def standard(event: dict[str, Any]) -> bytes:
    """An event of the company in the envelope of the standard."""
    body = {"type": event["event"], "timestamp": event["created_at"], "data": event["data"]}
    return json.dumps(body).encode()


def rows(hooks: Receiver, sql: str) -> list[tuple[Any, ...]]:
    database = hooks.database
    assert database is not None
    with database.read() as connection:
        return [tuple(row) for row in connection.cursor().execute(sql).fetchall()]


def test_an_event_of_the_standard_is_mirrored_and_heard(hooks: Receiver, company: Company, clock: TurnedClock) -> None:
    """Under the id of its header, with the type and the time of its own envelope; a known type reaches the mirror."""
    facts: list[Event] = []
    causes: list[str | None] = []
    hooks.on("dsync.user.*", name="fact")(lambda event, tx: facts.append(event))
    hooks.on_change("directory_user", name="change")(lambda change, tx: causes.append(change.cause))
    hooks.worker().register()
    made = company.user("created")

    assert post(hooks, standard(made), sent(clock, standard(made))) == (200, b"")
    hooks.drain()

    [fact] = facts
    assert (fact.id, fact.type, fact.source) == ("msg_1", "dsync.user.created", "foreign")
    assert (fact.data, fact.raw) == (made["data"], standard(made))
    assert fact.created_at is not None
    assert fact.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z") == made["created_at"]
    assert causes == ["msg_1"]
    assert rows(hooks, "select event_id, type, reason, signed_ms from hookline_inbox") == [
        ("msg_1", "dsync.user.created", None, START_MS)
    ]
    assert hooks.is_active("directory_user", "user_1", source="foreign")
    assert not hooks.is_active("directory_user", "user_1", source="workos")


def test_the_order_of_its_events_is_that_of_their_timestamps(
    hooks: Receiver, company: Company, clock: TurnedClock
) -> None:
    """A creation that arrives after the deletion stays without effect, as by the other scheme."""
    created, deleted = company.user("created"), company.user("deleted")
    for number, event in enumerate((deleted, created)):
        body = standard(event)
        assert post(hooks, body, sent(clock, body, f"msg_{number}"))[0] == 200
    hooks.drain()

    assert not hooks.is_active("directory_user", "user_1", source="foreign")
    assert rows(hooks, "select outcome from hookline_inbox_outcomes order by seq") == [("applied",), ("stale",)]


def test_an_event_in_workos_own_envelope_is_taken_too(hooks: Receiver, company: Company, clock: TurnedClock) -> None:
    """As our own sender signs it, both ways at once; the signed id is the header's, whatever the body says."""
    facts: list[str | None] = []
    hooks.on("*", name="fact")(lambda event, tx: facts.append(event.id))
    hooks.worker().register()
    body = json.dumps(company.user("created")).encode()

    post(hooks, body, sent(clock, body, "event_000001"))
    post(hooks, body, sent(clock, body, "msg_of_its_own"))
    hooks.drain()

    assert facts == ["event_000001", "msg_of_its_own"]
    assert hooks.is_active("directory_user", "user_1", source="foreign")


def test_repeats_are_known_by_the_signed_id(hooks: Receiver, company: Company, clock: TurnedClock) -> None:
    """Another attempt has another timestamp and the same id; other bytes under it are a conflict."""
    body = standard(company.user("created"))
    post(hooks, body, sent(clock, body))
    clock.advance(60_000)
    post(hooks, body, sent(clock, body))
    other = body.replace(b"Ada", b"Eve")
    assert post(hooks, other, sent(clock, other))[0] == 200

    assert rows(hooks, "select kind, times from hookline_inbox_repeats order by 1") == [
        ("conflict", 1),
        ("duplicate", 1),
    ]
    assert rows(hooks, "select count(*) from hookline_inbox") == [(1,)]


@pytest.mark.parametrize(("body", "why"), [(b"[1]", "not_event"), (b'{"type":"x"}', "not_event"), (b"no", "not_json")])
def test_what_is_no_event_is_kept_under_its_id(hooks: Receiver, clock: TurnedClock, body: bytes, why: str) -> None:
    """It is signed, so it is the source's, and it is not asked to send it again; it is dead from the start."""
    assert post(hooks, body, sent(clock, body))[0] == 200
    hooks.drain()

    assert rows(hooks, "select event_id, type, reason from hookline_inbox") == [("msg_1", None, why)]
    assert rows(hooks, "select outcome, reason from hookline_inbox_outcomes") == [("dead", why)]


def test_refusals_have_the_reasons_of_the_other_scheme(hooks: Receiver, company: Company, clock: TurnedClock) -> None:
    """And its statuses; no header of the one scheme opens a door of the other."""
    body = standard(company.user("created"))
    good = sent(clock, body)
    workos = Signing.of(hooks, "workos")(body)
    late = dict(good)

    answers = [
        post(hooks, body, {}),
        post(hooks, body, {name: value for name, value in good.items() if name != "Webhook-Id"}),
        post(hooks, body, {**good, "Webhook-Signature": "v2,abc"}),
        post(hooks, body, {**good, "Webhook-Id": "msg_2"}),
        post(hooks, body + b" ", good),
        post(hooks, body, workos.headers),
        post(hooks, body, good, "/webhooks/workos"),
    ]
    clock.advance(181_000)
    answers.append(post(hooks, body, late))
    clock.advance(-362_000)
    answers.append(post(hooks, body, late))

    assert answers == [
        (400, b"missing\n"),
        (400, b"missing\n"),
        (400, b"malformed\n"),
        (401, b"mismatch\n"),
        (401, b"mismatch\n"),
        (400, b"missing\n"),
        (400, b"missing\n"),
        (401, b"expired\n"),
        (401, b"future\n"),
    ]
    assert rows(hooks, "select count(*) from hookline_inbox") == [(0,)]


def test_secrets_and_people_are_cut_from_it_as_well(hooks: Receiver, clock: TurnedClock) -> None:
    """At the door by type and place; after a time all but ids, times and states, and `type` and `timestamp` stay."""
    body = (
        b'{"type":"parcel.sent","timestamp":"2026-01-01T00:00:00Z","person":"Ada",'
        b'"data":{"id":"parcel_1","pin":"1234","name":"Ada"}}'
    )
    post(hooks, body, sent(clock, body))
    with hooks.look("foreign") as (queries, connection):
        at_the_door = json.loads(queries.body(connection, "msg_1") or b"")
    hooks.drain()
    clock.advance(2 * DAY_S * 1000)
    hooks.worker().prune()
    with hooks.look("foreign") as (queries, connection):
        later = json.loads(queries.body(connection, "msg_1") or b"")

    assert at_the_door["data"] == {"id": "parcel_1", "pin": "[redacted]", "name": "Ada"}
    assert later == {
        "type": "parcel.sent",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {"id": "parcel_1", "pin": "[redacted]", "name": "[redacted]"},
    }


def test_replays_and_why_read_it_again(hooks: Receiver, company: Company, clock: TurnedClock) -> None:
    """Whoever reads an entry later reads it as its door did."""
    from hookline.receiver.replay import Selection
    from hookline.receiver.why import touches_of
    from hookline.storage import Verbs

    body = standard(company.user("created"))
    post(hooks, body, sent(clock, body))
    hooks.drain()
    heard: list[str | None] = []
    hooks.on("dsync.user.created", name="late")(lambda event, tx: heard.append(event.id))
    worker = hooks.worker()
    worker.register()
    selection = Selection(object_id="user_1")

    assert worker.count_replay("foreign", selection) == 1
    worker.start_replay("foreign", selection, mode="handler", handler="late")
    worker.drain()

    database = hooks.database
    assert database is not None
    verbs = Verbs("hookline.receiver", database.dialect)
    with database.read() as connection:
        found = list(touches_of(verbs, connection, "user_1", source="foreign"))
    assert heard == ["msg_1"]
    assert [(name, one.event_id, one.type) for name, one in found] == [
        ("directory_user", "msg_1", "dsync.user.created")
    ]


def test_a_body_that_reads_both_ways_is_read_as_its_door_did(hooks: Receiver, clock: TurnedClock) -> None:
    """By the scheme of its source, at the door and in the worker."""
    heard: list[tuple[str | None, str]] = []
    hooks.on("*", name="h")(lambda event, tx: heard.append((event.source, event.type)))
    hooks.worker().register()
    body = b'{"type":"parcel.sent","event":"parcel.lost","data":{}}'

    post(hooks, body, sent(clock, body))
    workos = Signing.of(hooks, "workos")(body)
    post(hooks, body, workos.headers, workos.path)
    hooks.drain()

    assert sorted(heard) == [("foreign", "parcel.sent"), ("workos", "parcel.lost")]
    assert rows(hooks, "select source, type from hookline_inbox order by 1") == [
        ("foreign", "parcel.sent"),
        ("workos", "parcel.lost"),
    ]


def test_requests_for_tests_are_signed_by_the_scheme_of_their_source(hooks: Receiver, company: Company) -> None:
    """`Signing.of` asks the source."""
    signing = Signing.of(hooks, "foreign")
    body = standard(company.user("created"))
    requests = [signing(body), signing(Event.from_bytes(json.dumps(company.user("updated")).encode())), signing(body)]

    statuses = [post(hooks, one.body, one.headers, one.path)[0] for one in requests]

    assert statuses == [200, 200, 200]
    kept = [event_id for (event_id,) in rows(hooks, "select event_id from hookline_inbox order by seq")]
    assert kept[0].startswith("msg_")
    assert kept[1:] == ["event_000002"]


@pytest.mark.parametrize("secret", ["whsec_as_workos_shows_it", KEY, "whsec_"])
def test_a_secret_in_the_wrong_form_is_refused_at_once(secret: str) -> None:
    """It would refuse every webhook; the error says which form, and no secret."""
    with pytest.raises(ConfigError, match="standard_webhooks_secret") as refused:
        Source("foreign", [secret], scheme="standard_webhooks")

    assert secret[6:] == "" or secret[6:] not in str(refused.value)


def test_an_unknown_scheme_is_refused() -> None:
    """Naming those there are."""
    with pytest.raises(ConfigError, match="scheme: expected one of workos, standard_webhooks, got 'svix'"):
        Source("foreign", scheme="svix")  # type: ignore[arg-type]

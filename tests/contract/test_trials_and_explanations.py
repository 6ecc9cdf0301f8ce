"""What every database must do for test events and explanations: the verbs they read and write by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hookline.sender.deliver import SCHEDULES
from hookline.sender.explain import explain_event, tell_story
from hookline.sender.queries import PageRequest, concerned_page, past_event
from hookline.sender.store import SenderStore
from hookline.storage import connect
from hookline.storage.migrate import migrate

from .test_sender_store import World


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    database = connect(database_url)
    migrate(database, "sender", "hookline.sender")
    yield World(database, SenderStore(database.dialect))
    database.close()


def test_a_trial_is_stored_where_nobody_takes_it(world: World) -> None:
    """With its state and reason, its first attempt's time, and no due time."""
    world.add_endpoint("we_1")
    event_row = world.add_event("event_1", origin="test", is_fed=False)

    row = world.write(
        world.store.add_trial,
        id="delivery_1",
        environment="production",
        event_row=event_row,
        endpoint_row=world.endpoint("we_1").row_id,
        state="failed",
        attempt=2,
        first_ms=7,
        reason="status_500",
        now_ms=9,
    )

    delivery = world.delivery("delivery_1")
    assert (delivery.row_id, delivery.origin, delivery.state, delivery.reason) == (row, "test", "failed", "status_500")
    assert (delivery.attempt, delivery.first_ms, delivery.due_ms) == (2, 7, None)
    assert (delivery.created_ms, delivery.updated_ms) == (7, 9)


def test_an_event_is_explained_at_every_endpoint(world: World) -> None:
    """Those it was sent to, those that did not ask for it, not those deleted before."""
    for name, asked in (("we_1", "*"), ("we_2", "c.d"), ("we_3", "*")):
        world.add_endpoint(name, asked)
    world.write(world.store.delete_endpoint, "production", "we_3", now_ms=1_500)
    event_row = world.add_event("event_1", event_type="a.b")
    world.add_delivery("delivery_1", event_row, world.endpoint("we_1").row_id, origin="published", state="succeeded")
    world.add_delivery("delivery_2", event_row, world.endpoint("we_1").row_id, origin="replay", state="failed")

    with world.database.read() as connection:
        event = past_event(world.store, connection, "production", "event_1")
        page = concerned_page(world.store, connection, "production", event, None, PageRequest())
        findings = explain_event(world.store, connection, event, page.items)
        gone = concerned_page(world.store, connection, "production", event, "we_3", PageRequest())
        [of_gone] = explain_event(world.store, connection, event, gone.items)
        story = tell_story(world.store, connection, "production", "delivery_1", SCHEDULES)

    assert [(one.endpoint.id, one.verdict, one.code) for one in findings] == [
        ("we_2", "not_sent", "not_subscribed"),
        ("we_1", "sent", "sent"),
    ]
    assert [one.id for one in findings[1].deliveries] == ["delivery_1", "delivery_2"]
    assert of_gone.code == "deleted"
    assert [moment.code for moment in story.moments] == ["published", "made"]


def test_a_sample_of_ones_own_is_read(world: World) -> None:
    """None where there is no such type."""
    statement = (
        "insert into hookline_sender_event_types (environment, name, mode, sample, created_ms, updated_ms)"
        " values ('production', 'a.b', 'off', '{}', 1, 1)"
    )
    world.database.run(lambda tx: tx.cursor().execute(statement))

    assert world.read(world.store.event_type_sample, "production", "a.b") == "{}"
    assert world.read(world.store.event_type_sample, "staging", "a.b") is None

"""Every sample of the catalogue, from the signed request to the row and the handlers."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline.receiver.app import Receiver
from hookline.receiver.resources import EDGES, OPTIONAL, RESOURCES
from hookline.testing import TurnedClock, sample_event, signed_request
from hookline.wire.catalogue import CATALOGUE, matches, sample_created_us
from hookline.wire.event import Event, encode_event

SECRET = "whsec_of_every_sample"
STORY = sorted(CATALOGUE, key=sample_created_us)
TABLES = {name: one.table for name, one in RESOURCES.items()} | {name: one.table for name, one in EDGES.items()}
STATES = [name for name, type_ in CATALOGUE.items() if type_.kind in "FD" and type_.object in RESOURCES]
RELATIONS = [name for name, type_ in CATALOGUE.items() if type_.edge and type_.edge.resource in EDGES]


class Desk:
    """A receiver that is given events as requests, and its database."""

    def __init__(self, path: Path) -> None:
        self.clock = TurnedClock()
        self.hooks = Receiver(f"sqlite:///{path}", secrets=[SECRET], mirror=OPTIONAL, clock=self.clock)
        self._path = path

    def take(self, *events: Event) -> None:
        """Deliver, and work until nothing is due."""
        for event in events:
            request = signed_request(event, SECRET, timestamp_ms=self.clock.now_ms())
            status, _, _ = self.hooks.receive("POST", "/webhooks", request.headers, request.body, "127.0.0.1")
            assert status == 200, event.type
        self.hooks.drain()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self._path)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def filled(self, suffix: str = "") -> dict[str, int]:
        """How many rows each resource has, where it has any."""
        counts = {name: len(self.rows(f"select 1 from {table}{suffix}")) for name, table in TABLES.items()}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "app.db")
    yield desk
    desk.hooks.close()


def shows(row: dict[str, Any], resource: str, payload: dict[str, Any]) -> None:
    """Every column that a text or a flag of the payload has a name for holds it, in the mirror's words; `is_active` and
    `role_slug` hold what is made of other fields; all others are null.
    """
    words = RESOURCES[resource].state_words or {}
    shared = {name: value for name, value in payload.items() if name in row and isinstance(value, str | bool)}
    assert {"id", "created_at", "updated_at"} <= set(shared) or "id" not in payload
    if isinstance(state := shared.get("state"), str):
        shared["state"] = words.get(state, state)
    if "is_active" in row:
        shared["is_active"] = payload.get("state", payload.get("status")) in ("active", "linked")
    if "role_slug" in row and isinstance(payload.get("role"), dict):
        shared["role_slug"] = payload["role"]["slug"]

    of_payload = ["id", *(column for column, _ in RESOURCES[resource].columns)]
    assert {name: row[name] for name in of_payload if "id" in payload or name != "id"} == {
        **dict.fromkeys(of_payload[1:]),
        **shared,
    }


@pytest.mark.parametrize("name", STATES)
def test_a_state_becomes_a_row(desk: Desk, name: str) -> None:
    """Alone, it is one row of its resource with its columns; a deletion is that row, dead."""
    type_, event = CATALOGUE[name], sample_event(name)
    assert type_.object

    desk.take(event)

    assert desk.filled()[type_.object] == 1
    (row,) = desk.rows(f"select * from {TABLES[type_.object]}")
    payload = dict(event.data)
    if name == "dsync.deleted":  # its state is the one before the deletion, and says nothing
        del payload["state"]
        assert row["state"] is None
    shows(row, type_.object, payload)
    assert (row["deleted_at"] is not None) == (type_.kind == "D")
    assert (type_.object in desk.filled("_live")) == (type_.kind == "F")


@pytest.mark.parametrize("name", RELATIONS)
def test_a_relation_becomes_a_row(desk: Desk, name: str) -> None:
    """Alone, it is one row with both ids, alive if it adds; the copies in it become rows if it adds, and else none."""
    type_, event = CATALOGUE[name], sample_event(name)
    assert type_.edge
    edge = EDGES[type_.edge.resource]

    desk.take(event)

    (row,) = desk.rows(f"select * from {edge.table}")
    ids = [event.data.get(column) or event.data[column.removesuffix("_id")]["id"] for _, column in edge.ends]
    assert [row[column] for _, column in edge.ends] == ids
    copies = {copy["object"]: copy for copy in event.data.values() if isinstance(copy, dict)}
    shown = set(copies) if type_.edge.adds else set()
    assert set(desk.filled()) == {edge.name, *shown}
    for resource in shown:
        (copy,) = desk.rows(f"select * from {TABLES[resource]}")
        shows(copy, resource, copies[resource])
    assert (edge.name in desk.filled("_live")) == type_.edge.adds


def test_everything_else_leaves_the_mirror_alone(desk: Desk) -> None:
    """What is not mirrored is kept in the inbox and is no row; with nobody to hear it, it is ignored for no fault."""
    others = [name for name in STORY if name not in {*STATES, *RELATIONS}]

    desk.take(*(sample_event(name) for name in others))

    assert desk.filled() == {}
    assert [row["type"] for row in desk.rows("select type from hookline_inbox order by seq")] == others
    outcomes = desk.rows("select outcome, reason from hookline_inbox_outcomes")
    assert outcomes == [{"outcome": "ignored", "reason": None}] * len(others)


def test_handlers_of_every_pattern_hear_once(desk: Desk) -> None:
    """A handler per name, per prefix and for all: each is called once for what matches, though all comes twice."""
    prefixes = {name.rsplit(".", depth)[0] + ".*" for name in CATALOGUE for depth in range(1, name.count(".") + 1)}
    patterns = [*CATALOGUE, *sorted(prefixes), "*"]
    calls: Counter[tuple[str, str | None]] = Counter()
    for pattern in patterns:

        def hear(event: Event, tx: object, pattern: str = pattern) -> None:
            calls[pattern, event.type] += 1

        desk.hooks.on(pattern, name=pattern)(hear)
    desk.hooks.drain()  # a handler starts at now
    events = [sample_event(name) for name in STORY]

    desk.take(*events)
    desk.take(*events)

    assert calls == {(pattern, name): 1 for pattern in patterns for name in CATALOGUE if matches(pattern, name)}


def test_types_of_tomorrow_are_heard(desk: Desk) -> None:
    """A type that this version does not know is answered 200, kept, and handed to whoever asked for its like."""
    heard: list[tuple[str, str]] = []
    for pattern in ("*", "dsync.*", "dsync.user.*", "dsync.of.tomorrow"):

        def hear(event: Event, tx: object, pattern: str = pattern) -> None:
            heard.append((pattern, event.type))

        desk.hooks.on(pattern, name=pattern, unlisted=True)(hear)
    desk.hooks.drain()
    body = encode_event(
        event_id="event_01HF000000000000000000000T",
        event_type="dsync.of.tomorrow",
        data={"object": "directory_user", "id": "directory_user_of_tomorrow"},
        created_us=1_700_000_000_000_000,
    )

    desk.take(Event.from_bytes(body))

    assert sorted(heard) == [(pattern, "dsync.of.tomorrow") for pattern in ("*", "dsync.*", "dsync.of.tomorrow")]
    assert desk.filled() == {}


@pytest.mark.parametrize("order", ["told", "backwards", "shuffled 1", "shuffled 2", "shuffled 3"])
def test_the_story_ends_in_any_order(desk: Desk, order: str) -> None:
    """It ends with the organization's deletion: whatever order the events come in, nothing is left alive."""
    names = STORY[::-1] if order == "backwards" else list(STORY)
    if order.startswith("shuffled"):
        random.Random(order).shuffle(names)

    for name in names:
        desk.take(sample_event(name))

    assert desk.filled("_live") == {}
    assert set(desk.filled()) == set(TABLES)
    outcomes = Counter(row["outcome"] for row in desk.rows("select outcome from hookline_inbox_outcomes"))
    assert outcomes["applied"] >= len(TABLES)
    assert set(outcomes) <= {"applied", "ignored", "noop", "stale"}

"""What an event says about the mirror."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hookline.receiver.resources import EDGES, RESOURCES, observe
from hookline.wire.catalogue import CATALOGUE
from hookline.wire.event import Event

from .company import START_MS, Company, Desk


def observed(event: dict[str, Any]) -> Any:
    return observe(Event.from_bytes(json.dumps(event).encode()), event.get("id", "sha256:00"), START_MS)


def test_the_list_is_the_tables(desk: Desk) -> None:
    """Every table has the columns of the one list, in its order, and a view that shows them of what is alive."""
    for resource in RESOURCES.values():
        said = ["source", "id", *(column for column, _ in resource.columns), "payload"]
        found = [row[1] for row in desk.rows(f"pragma table_info({resource.table})")]
        shown = [row[1] for row in desk.rows(f"pragma table_info({resource.table}_live)")]
        assert found[: len(said)] == said
        assert shown == said
        assert len(set(said)) == len(said)
    for edge in EDGES.values():
        ends = [column for _, column in edge.ends]
        found = [row[1] for row in desk.rows(f"pragma table_info({edge.table})")]
        assert found[:3] == ["source", *ends]


def test_walks_and_reads_go_by_an_index(desk: Desk) -> None:
    """No parent's children are looked for by reading a whole table."""
    tables = [(one.table, column) for one in RESOURCES.values() for _, column in one.parents]
    for edge in EDGES.values():
        above = (*edge.ends, edge.scope) if edge.scope else edge.ends
        tables += [(edge.table, column) for _, column in above]
    for table, column in tables:
        plan = desk.rows(f"explain query plan select 1 from {table} where source = 's' and {column} = 'x'")
        assert all(f"{column}=?" in row[-1] for row in plan), (table, column, plan)


def test_parents_come_before_children() -> None:
    """The list is in the order in which rows are written and locked."""
    names = [*RESOURCES]
    for name, resource in RESOURCES.items():
        assert all(names.index(parent) < names.index(name) for parent, _ in resource.parents)


def test_parents_are_the_catalogues() -> None:
    """Whatever the catalogue says an object dies with is a parent here."""
    for type_ in CATALOGUE.values():
        if type_.object is not None and type_.object in RESOURCES and type_.kind == "F":
            expected = {(parent.resource, parent.field) for parent in type_.parents}
            assert set(RESOURCES[type_.object].parents) == expected


def test_each_kind_of_event(company: Company) -> None:
    """F is an upsert, D a delete, an added edge has both copies, a removed one none; all else says nothing."""
    assert [seen.kind for seen in observed(company.user("created")).objects] == ["upsert"]
    assert [seen.kind for seen in observed(company.user("deleted")).objects] == ["delete"]
    added = observed(company.member("added"))
    assert [(seen.kind, seen.resource, seen.key) for seen in added.objects] == [
        ("embedded", "directory_group", "group_1"),
        ("embedded", "directory_user", "user_1"),
    ]
    assert (added.edge.kind, added.edge.keys, added.edge.scope_id) == ("add", ("group_1", "user_1"), "dir_1")
    removed = observed(company.member("removed"))
    assert (removed.edge.kind, removed.objects) == ("remove", ())
    assert observed(company.event("dsync.deactivated", {"id": "dir_1"})).objects == ()


@pytest.mark.parametrize("id_", [None, 5, "", "x" * 256, "a\x00b", ["user_1"]])
def test_an_unusable_id_says_why(company: Company, id_: Any) -> None:
    """Without an id that can be a key nothing is mirrored, and the reason names the place, not the value."""
    seen = observed(company.event("dsync.user.created", {**company.user_data("user_1"), "id": id_}))
    edge = observed(company.member("added", user={**company.user_data("user_1"), "id": id_}))

    assert (seen.objects, edge.edge) == ((), None)
    assert seen.ignored.startswith("data.id: expected")
    assert edge.ignored.startswith("data.user.id: expected")


def test_without_a_time_of_its_own_an_event_takes_the_next_best(company: Company) -> None:
    """The id's ULID time, then the object's updated_at, then the arrival stand in, and the clock is uncertain."""
    with_ulid = company.user("created")
    with_ulid.update(id="event_01ARYZ6S41TSV4RRFFQ69G5FAV", created_at=None)
    with_update = company.user("created", updated_at="2026-01-02T03:04:05.006Z")
    with_update.update(created_at="nonsense")
    with_nothing = company.user("created", updated_at=None)
    del with_nothing["created_at"], with_nothing["id"]

    clocks = [observed(event).objects[0] for event in (with_ulid, with_update, with_nothing)]
    assert [seen.uncertain for seen in clocks] == [True] * 3
    assert clocks[0].clock[0] == 1_469_918_176_385_000
    assert clocks[1].clock == (1_767_323_045_006_000, with_update["id"])
    assert clocks[2].clock == (START_MS * 1000, "sha256:00")


def test_wrong_types_leave_columns_null(company: Company) -> None:
    """A field of the wrong type stays in the payload and leaves its column null."""
    event = company.user("created", state=5, emails="x", email=["a"], first_name={"a": 1}, created_at=True)
    payload = observed(event).objects[0].payload
    resource = RESOURCES["directory_user"]
    values = dict(zip((name for name, _ in resource.columns), resource.values(payload), strict=True))

    assert payload["state"] == 5
    assert payload["emails"] == "x"
    assert [values[name] for name in ("state", "email", "first_name", "created_at", "is_active")] == [None] * 4 + [0]


def test_characters_no_database_holds_are_replaced(company: Company) -> None:
    """NUL becomes U+FFFD, in names too; an escaped backslash before u0000 is left alone."""
    event = company.user("created", first_name="A\x00da", last_name="\\u0000", custom_attributes={"a\x00": ["\x00"]})
    payload = observed(event).objects[0].payload

    assert payload["first_name"] == "A\ufffdda"
    assert payload["last_name"] == "\\u0000"
    assert payload["custom_attributes"] == {"a\ufffd": ["\ufffd"]}


HOSTILE: list[dict[str, Any]] = [
    {"first_name": "a\x00b"},
    {"custom_attributes": {"note": "x" * 1_000_000}},
    {"state": 5},
    {"emails": "x"},
    {"directory_id": 7, "organization_id": ["org_1"]},
    {"updated_at": "yesterday", "created_at": "0001-01-01T00:00:00+23:59"},
    {"updated_at": 12},
    {"updated_at": "9999-12-31T23:59:59.999Z"},
    {"raw_attributes": {"deep": [[[[[[{}]]]]]]}},
    {"number": 10**300, "float": 1e308},
    {"previous_attributes": "none"},
    {"first_name": "\u202e\u200b\U0001f600"},
]


@pytest.mark.parametrize("fields", HOSTILE, ids=lambda fields: next(iter(fields)))
def test_hostile_payloads_are_kept_and_poison_nothing(desk: Desk, company: Company, fields: dict[str, Any]) -> None:
    """Whatever a well-formed event holds, it is applied at the first try and its neighbours too."""
    desk.take(company.user("created", "user_0"), company.user("created", **fields), company.user("created", "user_2"))

    assert desk.outcomes()[0] == desk.outcomes()[2] == "applied"
    assert desk.outcomes()[1] == "applied"
    assert desk.ids("directory_users") == ["user_0", "user_1", "user_2"]


def test_repeated_keys_count_once(desk: Desk, company: Company) -> None:
    """Of a repeated key the last one counts, as everywhere."""
    body = json.dumps(company.user("created")).replace(
        '"first_name": "Ada"', '"first_name": "Eve", "first_name": "Ada"'
    )
    desk.take(body.encode())

    assert desk.rows("select id, first_name from hookline_directory_users_live") == [("user_1", "Ada")]


def test_edges_have_a_table() -> None:
    """Every edge's ends are resources of the list."""
    for edge in EDGES.values():
        above = (*edge.ends, edge.scope) if edge.scope else edge.ends
        assert all(name in RESOURCES for name, _ in above)
